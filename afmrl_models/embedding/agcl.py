"""AGCL, attribute-guided contrastive learning (AFMRL, arXiv 2604.20135, stage 1), from similarities."""

from typing import Literal

import torch
from torch import Tensor

Bm25Scale = Literal["self", "raw"]


def agcl_loss(
    similarity: Tensor,
    bm25: Tensor,
    *,
    temperature: float,
    margin: float,
    same_product: Tensor | None = None,
    bm25_scale: Bm25Scale = "self",
) -> Tensor:
    """The mean AGCL loss of Q queries against D >= Q candidates, a scalar.

        L_i = -log( w_ii e^(s_ii/t) / (w_ii e^(s_ii/t) + sum over j in N_i of w_ij e^(s_ij/t)) )
        w_ij = exp(1 + tanh(B_ij)),  N_i = { j != i : s_ij <= s_ii + margin and j is not i's product }

    similarity: (Q, D) cosine similarities; query i's positive is candidate i. Half precision is upcast.
    bm25: (Q, D) raw scores of query i's attributes against candidate j's.
    same_product: (Q, D) bool; True where candidate j is known to be query i's product, never a negative then.
    bm25_scale: "raw" takes B_ij as given (the paper), "self" takes B_ij / B_ii, and 0 where B_ii is 0.
    Neither the weights nor the choice of negatives carries a gradient.

    Raises ValueError on shapes that do not fit and on settings without a meaning.
    """
    if similarity.ndim != 2 or not 0 < similarity.shape[0] <= similarity.shape[1]:
        raise ValueError(f"similarity must be (Q, D) with 0 < Q <= D, not {tuple(similarity.shape)}")
    positives = torch.arange(len(similarity), device=similarity.device)
    return agcl_losses(
        similarity,
        bm25,
        positives,
        temperature=temperature,
        margin=margin,
        same_product=same_product,
        bm25_scale=bm25_scale,
    ).mean()


def agcl_losses(
    similarity: Tensor,
    bm25: Tensor,
    positives: Tensor,
    *,
    temperature: float,
    margin: float,
    same_product: Tensor | None = None,
    bm25_scale: Bm25Scale = "self",
) -> Tensor:
    """The AGCL loss of each query, (Q,), where query i's positive is candidate positives[i]; see `agcl_loss`.

    A block of a larger batch's queries gives the same losses as the whole batch does.
    """
    check_settings(temperature, margin, bm25_scale)
    for name, matrix in (("bm25", bm25), ("same_product", same_product)):
        if matrix is not None and matrix.shape != similarity.shape:
            raise ValueError(f"{name} is {tuple(matrix.shape)}, similarity is {tuple(similarity.shape)}")
    if not similarity.is_floating_point():
        raise ValueError(f"similarity must be floating point, not {similarity.dtype}")
    if similarity.dtype in (torch.float16, torch.bfloat16):
        similarity = similarity.float()

    column = positives.unsqueeze(1)
    with torch.no_grad():
        scores = bm25.to(similarity)
        if bm25_scale == "self":
            own = scores.gather(1, column)
            scores = torch.where(own > 0, scores / own, 0.0)
        log_weights = 1 + scores.tanh()
        # "Above", not "not at most": a similarity that is not a number stays in and shows up in the loss.
        left_out = similarity > similarity.gather(1, column) + margin
        if same_product is not None:
            left_out |= same_product
        left_out.scatter_(1, column, False)

    logits = similarity / temperature + log_weights
    positive = logits.gather(1, column).squeeze(1)
    return logits.masked_fill(left_out, -torch.inf).logsumexp(dim=1) - positive


def check_settings(temperature: float, margin: float, bm25_scale: str) -> None:
    """Raise ValueError on a temperature, margin or scale that has no meaning."""
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, not {temperature}")
    if not margin >= 0:
        raise ValueError(f"margin must not be negative, not {margin}")
    if bm25_scale not in ("self", "raw"):
        raise ValueError(f"bm25_scale must be 'self' or 'raw', not {bm25_scale!r}")
