"""RAR's reward: how well the embedder finds a query's true matches with the sampled text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from sentence_transformers import SentenceTransformer

from afmrl_models.attributes.grammar import AttributeTextError, parse
from afmrl_models.catalog.images import ImageStore
from afmrl_models.config import RewardMetric
from afmrl_models.embedding.embedder import encode_listings
from afmrl_models.embedding.inputs import embedder_input, listing_text
from afmrl_models.errors import UserError
from afmrl_models.retrieval.metrics import query_metrics
from afmrl_models.retrieval.search import Gallery

GalleryScope = Literal["all", "category"]


@dataclass(frozen=True)
class Scored:
    """Rewards of a batch of attribute texts, one value a text."""

    rewards: np.ndarray  # float32 (N,)
    valid: np.ndarray  # bool (N,): the text obeys the grammar


class RetrievalReward:
    """A measure of the ranking of a listing's true matches, as a reward for its attribute text.

    Stage 2 of docs/method.md. The query is photo + title + text; the gallery holds photo + title of every
    training listing, embedded once, with `gallery_attributes` where given and without attribute text
    otherwise. True matches are the other listings of the query's product; the query's own listing is never
    retrieved.

    The measures are those of the evaluation, at k. `set_recall` is the *fraction* of the true matches within
    the top k, not the hit rate: where a product has many listings, it tells more texts apart. It stays below
    1 for a product with more than k further listings, which group-normalised advantages do not notice. `mrr`
    and `ndcg` also tell apart texts that find a match at different ranks: with one true match a recall
    rewards the texts of most groups alike, and teaches nothing.

    A text that `grammar.parse` refuses gets `invalid_reward` and is never embedded. Equal similarities rank
    by listing id. `scope="category"` searches, and looks for true matches, only among the listings of the
    query's category.
    """

    def __init__(
        self,
        embedder: SentenceTransformer,
        listings: pd.DataFrame,
        images: ImageStore,
        *,
        k: int,
        invalid_reward: float,
        metric: RewardMetric = "set_recall",
        scope: GalleryScope = "all",
        batch_size: int = 64,
        gallery: np.ndarray | None = None,
        gallery_attributes: Mapping[str, str] | None = None,
    ) -> None:
        """`listings`: the training split; `gallery`: its vectors (N, D) in that order, embedded here if null.

        Raises ValueError if no listing has a true match, SearchError for repeated ids or a gallery of another
        shape.
        """
        listings = listings.reset_index(drop=True)
        if gallery is None:
            gallery = encode_listings(
                embedder, listings, images, "multimodal", gallery_attributes, batch_size
            )
        self.k = k
        self.metric = metric
        self.invalid_reward = invalid_reward
        self._embedder = embedder.eval().requires_grad_(False)
        self._images = images
        self._batch_size = batch_size
        self._titles = dict(zip(listings["listing_id"], listings["title"], strict=True))
        ids = listings["listing_id"].to_numpy(dtype=object)
        scopes = pd.Series("", index=listings.index) if scope == "all" else listings["category"]
        self._galleries: dict[str, Gallery] = {
            str(name): Gallery(gallery[rows], ids[rows].tolist(), device=str(embedder.device))
            for name, rows in scopes.groupby(scopes, sort=False).indices.items()
        }
        self._scope_of: dict[str, str] = {}
        self._matches: dict[str, frozenset[str]] = {}
        for (name, _), members in listings.groupby([scopes, "product_id"], sort=False)["listing_id"]:
            if len(members) > 1:
                for listing_id in members:
                    self._scope_of[listing_id] = str(name)
                    self._matches[listing_id] = frozenset(members) - {listing_id}
        if not self._matches:
            raise UserError(
                "RAR rewards finding a product's other listings, but no product has two training listings; "
                "map catalog.source.columns.product_id, or select round_0 alone"
            )

    @property
    def query_ids(self) -> list[str]:
        """Listings with a true match in the gallery, in the order of the listings."""
        return [listing_id for listing_id in self._titles if listing_id in self._matches]

    @property
    def gallery_ids(self) -> list[str]:
        """The listings that are searched."""
        return [listing_id for gallery in self._galleries.values() for listing_id in gallery.ids]

    def matches(self, listing_id: str) -> frozenset[str]:
        """The listings that a query for this one should find."""
        return self._matches[listing_id]

    def score(self, listing_ids: Sequence[str], texts: Sequence[str]) -> Scored:
        """Reward of each (listing, attribute text). Raises KeyError for a listing without a true match."""
        for listing_id in listing_ids:
            if listing_id not in self._matches:
                raise KeyError(f"listing {listing_id!r} has no true match in the gallery")
        valid = np.array([_is_valid(text) for text in texts], dtype=bool)
        rewards = np.full(len(texts), self.invalid_reward, dtype=np.float32)
        queries = [(i, t) for i, t, good in zip(listing_ids, texts, valid, strict=True) if good]
        if queries:
            distinct = list(dict.fromkeys(queries))  # a group often repeats a text: embed it once
            found = self.retrieve([i for i, _ in distinct], [t for _, t in distinct])
            measured = {
                query: self._measure(query[0], top) for query, top in zip(distinct, found, strict=True)
            }
            rewards[valid] = [measured[query] for query in queries]
        return Scored(rewards, valid)

    def _measure(self, listing_id: str, top: Sequence[str]) -> float:
        matches = self._matches[listing_id]
        hits = [found in matches for found in top]
        return query_metrics(hits, len(matches), [self.k])[f"{self.metric}_at_{self.k}"]

    def retrieve(self, listing_ids: Sequence[str], texts: Sequence[str]) -> list[list[str]]:
        """The ids of the k best gallery listings for each query (listing, attribute text), best first."""
        inputs = [
            embedder_input(
                "multimodal", self._images.get(listing_id), listing_text(self._titles[listing_id], text)
            )
            for listing_id, text in zip(listing_ids, texts, strict=True)
        ]
        vectors = self._embedder.encode(
            inputs, batch_size=self._batch_size, convert_to_numpy=True, show_progress_bar=False
        )
        found: list[list[str]] = [[] for _ in listing_ids]
        scopes = pd.Series([self._scope_of[listing_id] for listing_id in listing_ids])
        for name, rows in scopes.groupby(scopes, sort=False).indices.items():
            gallery = self._galleries[str(name)]
            near = gallery.search(vectors[rows], self.k, query_ids=[listing_ids[row] for row in rows])
            for row, top in zip(rows, gallery.ids_of(near), strict=True):
                found[row] = top
        return found

    def __call__(self, completions: Sequence[Any], listing_id: Sequence[str], **_: Any) -> list[float]:
        """The form TRL calls: completions, and the rows' `listing_id` column."""
        return self.score(
            listing_id, [completion_text(completion) for completion in completions]
        ).rewards.tolist()


def completion_text(completion: Any) -> str:
    """The text of one completion: plain, or TRL's list with one assistant message."""
    return completion if isinstance(completion, str) else completion[0]["content"]


def _is_valid(text: str) -> bool:
    try:
        parse(text)
    except AttributeTextError:
        return False
    return True
