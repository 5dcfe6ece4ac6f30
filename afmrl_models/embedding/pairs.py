"""Which listings are paired in which training step.

A batch holds pairs of one kind, so that a query cannot tell its positive by the modality. No product is in a
batch twice: in-batch candidates are negatives to the baseline's loss, whatever they show. A batch therefore
has at most as many pairs as there are products of its kind; with fewer products than `batch_size` it is
smaller. The plan depends on the listings, the settings and the seed alone, so that both losses train on the
same batches.

Random batches hold few look-alikes. With `neighbours` above 1 a batch is made of groups of products that are
alike in their attributes (highest BM25 for the text of the first, as AGCL compares them) or to the embedder
that training starts from (`neighbours_by`), and so of harder negatives.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from afmrl_models.config import EmbedderTraining, Modality, PairKind
from afmrl_models.errors import UserError

logger = logging.getLogger(__name__)

MODALITIES: dict[PairKind, tuple[Modality, Modality]] = {
    "same_product": ("multimodal", "multimodal"),
    "image_to_text": ("image", "text"),
    "image_to_multimodal": ("image", "multimodal"),
}


@dataclass(frozen=True)
class PairBatch:
    """One step's pairs: row numbers of listings, and whether each side shows its attribute text."""

    kind: PairKind
    anchors: np.ndarray  # int64 (B,)
    positives: np.ndarray  # int64 (B,)
    anchor_attributes: np.ndarray  # bool (B,)
    positive_attributes: np.ndarray  # bool (B,)


# Rows of listings: one, and candidates (C,) -> how alike they are, (C,).
Likeness = Callable[[int, np.ndarray], np.ndarray]

# Neighbours are looked for among so many products at most: time stays linear in the catalog.
_CANDIDATES = 4096


def plan_batches(
    products: np.ndarray, config: EmbedderTraining, steps: int, seed: int, likeness: Likeness | None = None
) -> list[PairBatch]:
    """The batches of `steps` training steps.

    products: (N,) the product number of every listing. likeness: needed where `config.neighbours` is above 1.
    A positive is another listing of the anchor's product; a product with one listing joins only the kinds
    whose query is a photo, with that listing on both sides.
    Every product of a kind is drawn once before any is drawn again.
    Raises ValueError when fewer than two products are left to tell apart.
    """
    rng = np.random.default_rng(seed)
    order = np.argsort(products, kind="stable")
    numbers, starts, counts = np.unique(products[order], return_index=True, return_counts=True)
    groups = np.arange(len(numbers))
    members = {kind: groups[counts > 1] if kind == "same_product" else groups for kind in MODALITIES}
    shares = {kind: config.pair_kinds.get(kind, 0.0) for kind in MODALITIES}
    if shares["same_product"] > 0 and len(members["same_product"]) < 2:
        logger.warning(
            "%d of %d products have two listings: same_product pairs are left out of training",
            len(members["same_product"]),
            len(numbers),
        )
        shares["same_product"] = 0.0
    if sum(shares.values()) == 0:
        raise UserError("pair_kinds: no product has two listings, and no other kind has a share")
    if len(numbers) < 2:
        raise UserError(f"training pairs need at least two products, the training split has {len(numbers)}")

    first_rows = order[starts]

    def alike(product: int, candidates: np.ndarray) -> np.ndarray:
        if likeness is None:
            raise ValueError("batches of neighbours need the likeness of listings")
        return likeness(int(first_rows[product]), first_rows[candidates])

    streams = {kind: _ProductStream(members[kind], rng, config.neighbours, alike) for kind in MODALITIES}
    batches = []
    for kind in _schedule(shares, steps, rng):
        drawn = streams[kind].take(config.batch_size)
        first = rng.integers(0, counts[drawn])
        # Any of the product's other listings, or the same one where there is no other.
        other = (first + 1 + rng.integers(0, np.maximum(counts[drawn] - 1, 1))) % counts[drawn]
        batches.append(
            PairBatch(
                kind,
                order[starts[drawn] + first],
                order[starts[drawn] + other],
                rng.random(len(drawn)) >= config.attribute_dropout,
                rng.random(len(drawn)) >= config.gallery_attribute_dropout,
            )
        )
    smallest = min(len(batch.anchors) for batch in batches)
    if smallest < config.batch_size:
        logger.warning(
            "batch_size is %d, but a batch has at most one pair of a product: some batches have %d pairs",
            config.batch_size,
            smallest,
        )
    return batches


def _schedule(shares: dict[PairKind, float], steps: int, rng: np.random.Generator) -> Sequence[PairKind]:
    """The kind of each step: shares of the steps by largest remainder, in random order."""
    kinds = list(shares)
    exact = np.array([shares[kind] for kind in kinds]) / sum(shares.values()) * steps
    whole = np.floor(exact + 1e-9).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: steps - whole.sum()]] += 1
    return [kinds[index] for index in rng.permutation(np.repeat(np.arange(len(kinds)), whole))]


class _ProductStream:
    """Products in random order, again and again; with `together` above 1, in groups of neighbours."""

    def __init__(self, members: np.ndarray, rng: np.random.Generator, together: int, alike: Likeness) -> None:
        self.members, self.rng = members, rng
        self.together, self.alike = together, alike
        self.waiting = members[:0]

    def take(self, count: int) -> np.ndarray:
        """The next `count` products, all different; all of them where there are not so many."""
        taken = self._next(count)
        missing = min(count, len(self.members)) - len(taken)
        if missing > 0:
            fresh = self.rng.permutation(self.members)
            self.waiting = fresh[~np.isin(fresh, taken)]
            added = self._next(missing)
            self.waiting = fresh[~np.isin(fresh, added)]
            taken = np.concatenate([taken, added])
        return taken

    def _next(self, count: int) -> np.ndarray:
        """Up to `count` of those waiting."""
        if self.together == 1:
            taken, self.waiting = self.waiting[:count], self.waiting[count:]
            return taken
        groups = [self.waiting[:0]]
        while count > 0 and len(self.waiting):
            first, others = self.waiting[0], self.waiting[1 : 1 + _CANDIDATES]
            near = np.argsort(-self.alike(int(first), others), kind="stable")
            group = np.concatenate([[first], others[near[: min(self.together, count) - 1]]])
            groups.append(group)
            self.waiting = self.waiting[~np.isin(self.waiting, group)]
            count -= len(group)
        return np.concatenate(groups)
