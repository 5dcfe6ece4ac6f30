"""AGCL as a sentence-transformers loss with gradient caching."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.losses.gradcache import CachedLossMixin
from sentence_transformers.sentence_transformer.losses import CachedMultipleNegativesRankingLoss
from sentence_transformers.util import all_gather, all_gather_with_grad, cos_sim, get_rank
from torch import Tensor

from afmrl_models.attributes.bm25 import BM25
from afmrl_models.embedding.agcl import Bm25Scale, agcl_losses, check_settings


class AGCLLoss(CachedMultipleNegativesRankingLoss):
    """The library's cached InfoNCE with AGCL's weights and mask in place of the plain softmax.

    Everything but `calculate_loss` is the library's: GradCache in mini-batches, so that gradients are those
    of the whole batch. Inputs are (anchor, positive) or (anchor, positive, negative_1, ..., negative_n);
    `labels` is an integer tensor (B, columns) that says which training listing each input is: its row in
    `products` and in `bm25`.
    """

    def __init__(
        self,
        model: SentenceTransformer,
        bm25: BM25,
        products: Sequence[str | None],
        *,
        temperature: float = 0.05,
        margin: float = 0.1,
        bm25_scale: Bm25Scale = "self",
        similarity_fct: Callable[[Tensor, Tensor], Tensor] = cos_sim,
        mini_batch_size: int = 32,
        gather_across_devices: bool = False,
        show_progress_bar: bool = False,
    ) -> None:
        """`bm25` holds the attribute texts of all training listings, `products` their product ids.

        Rows with the same product id, and a row and itself, are never negatives of each other; None is its
        own product. Raises ValueError when the two have different lengths or a setting has no meaning.
        """
        check_settings(temperature, margin, bm25_scale)
        if len(bm25) != len(products):
            raise ValueError(f"bm25 holds {len(bm25)} listings, products {len(products)}")
        super().__init__(
            model,
            scale=1 / temperature,
            similarity_fct=similarity_fct,
            mini_batch_size=mini_batch_size,
            gather_across_devices=gather_across_devices,
            show_progress_bar=show_progress_bar,
        )
        self.bm25 = bm25
        self.margin = margin
        self.bm25_scale: Bm25Scale = bm25_scale
        self.products = torch.from_numpy(product_numbers(products))

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor) -> Tensor:
        """The loss of one batch, a scalar. Raises ValueError on labels that do not name every listing."""
        features = list(sentence_features)
        if labels is None or labels.shape[1:] != (len(features),) or labels.is_floating_point():
            found = "none" if labels is None else f"{labels.dtype} {tuple(labels.shape)}"
            raise ValueError(
                f"AGCL needs each input's row as integer labels (B, {len(features)}), not {found}"
            )
        return super().forward(features, labels)

    def calculate_loss(
        self, reps: list[list[Tensor]], labels: Tensor | None = None, *, with_backward: bool = False
    ) -> Tensor:
        """The mean over this device's queries, in blocks of `mini_batch_size` rows of the matrix."""
        assert labels is not None  # forward has checked
        queries = torch.cat(reps[0])
        columns = [torch.cat(column) for column in reps[1:]]
        rows = labels.cpu()
        query_rows, column_rows = rows[:, 0], [*rows[:, 1:].T]
        offset = 0
        if self.gather_across_devices:
            # Queries stay this device's own: every other device answers for its own.
            offset = get_rank() * len(queries)
            columns = [all_gather_with_grad(column) for column in columns]
            column_rows = [all_gather(row.to(labels.device).contiguous()).cpu() for row in column_rows]
        candidates, candidate_rows = torch.cat(columns), torch.cat(column_rows)
        candidate_products = self.products[candidate_rows]

        total = torch.zeros((), device=queries.device, dtype=torch.float32)
        for begin in range(0, len(queries), self.mini_batch_size):
            block = query_rows[begin : begin + self.mini_batch_size]
            same_product = self.products[block].unsqueeze(1) == candidate_products
            losses = agcl_losses(
                self.similarity_fct(queries[begin : begin + self.mini_batch_size], candidates),
                self.bm25.scores(block.tolist(), candidate_rows.tolist()),
                torch.arange(offset + begin, offset + begin + len(block), device=queries.device),
                temperature=self.temperature,
                margin=self.margin,
                same_product=same_product.to(queries.device, non_blocking=True),
                bm25_scale=self.bm25_scale,
            )
            loss = losses.sum() / len(queries)
            if with_backward:
                loss.backward()
                loss = loss.detach()
            total = total + loss
        return total

    def get_config_dict(self) -> dict[str, Any]:
        """The settings a run is recorded with."""
        library = super().get_config_dict()
        kept = ("similarity_fct", "mini_batch_size", "mini_batch_num_tokens", "gather_across_devices")
        return {
            "temperature": self.temperature,
            "margin": self.margin,
            "bm25_scale": self.bm25_scale,
            "bm25_k1": self.bm25.k1,
            "bm25_b": self.bm25.b,
            **{name: library[name] for name in kept},
        }


class KeptActivations(CachedLossMixin):
    """Put before one of the library's cached losses, keeps all activations instead of embedding twice.

    The same loss and gradients a third faster, with the memory of a plain loss. Mini-batches remain: each is
    padded only to its own longest text.
    """

    uses_gradient_cache = False

    def forward_cached(
        self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None
    ) -> Tensor:
        """The loss with its whole graph, in place of the library's forward pass with a cache."""
        with_grad = torch.is_grad_enabled()
        reps = [
            [rep for rep, _ in self.embed_minibatch_iter(column, with_grad, copy_random_state=False)]
            for column in sentence_features
        ]
        return self.calculate_loss(reps, labels)


class UncachedAGCLLoss(KeptActivations, AGCLLoss):
    """`AGCLLoss` without gradient caching."""


class UncachedMultipleNegativesRankingLoss(KeptActivations, CachedMultipleNegativesRankingLoss):
    """The library's cached InfoNCE without gradient caching."""


def product_numbers(products: Sequence[str | None]) -> np.ndarray:
    """An int64 number for each row, equal where the product id is; a row without one has its own."""
    numbers: dict[str | int, int] = {}
    keys = (row if id_ is None or id_ != id_ else str(id_) for row, id_ in enumerate(products))
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int64)
