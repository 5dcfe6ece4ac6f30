"""From a query to the nearest listings, and how likely each is the same product."""

from collections.abc import Sequence
from time import perf_counter

import numpy as np

from afmrl_models.retrieval.search import exact_scores
from afmrl_models.serving.answers import Answer, Result, SearchedWith
from afmrl_models.serving.encoder import QueryEncoder
from afmrl_models.serving.query import Query, QueryError
from afmrl_models.serving.released import Released

MAX_RESULTS = 100
# No listing has it: an id is one line of text.
_NOBODY = "\n"


class Searcher:
    """Searches one released state.

    neighbours: how near a listing must be to be linked, as `identical_products.neighbours` says.
    """

    def __init__(self, released: Released, encoder: QueryEncoder, neighbours: int) -> None:
        self.released, self.encoder = released, encoder
        self._neighbours = neighbours
        self._always: tuple[str, ...] = ()
        if released.calibration is None:
            self._always += ("No confidences: release/identical_products was not made for these vectors.",)
        if (since := encoder.champion_since()) is not None:
            self._always += (
                f"The champion is {since}; the index is still of {released.index.origin.embedder}: "
                "materialize release/product_index.",
            )

    def search(self, query: Query, k: int, *, with_generator: bool = True) -> Answer:
        """The k nearest listings of a photo, a text or both. Raises QueryError, BusyError."""
        _demand(k)
        started = perf_counter()
        encoded = self.encoder.encode(query, with_generator=with_generator)
        notes = list(encoded.notes)
        if self.released.calibration is None:
            pass  # said of every search
        elif encoded.as_listed is None:
            notes.append(_why_no_confidence(query))
        elif encoded.attributes is not None and self.released.index.origin.generator is None:
            notes.append(
                "Similarity is that of photo, text and attributes; confidence that of photo and text, which "
                "is what indexed listings show."
            )
        return self._answer(
            encoded.vector,
            encoded.as_listed,
            _NOBODY,
            k,
            SearchedWith(
                photo=query.photo is not None,
                text=query.text,
                attributes=encoded.attributes,
                attributes_by=encoded.attributes_by,
            ),
            notes,
            started,
        )

    def nearest(self, listing_id: str, k: int) -> Answer:
        """The k nearest other listings of one in the index; no model is asked. Raises UnknownIdError."""
        _demand(k)
        started = perf_counter()
        facts, index = self.released.facts(listing_id), self.released.index
        vector = np.asarray(index.vectors[index.row_of[listing_id]])
        by = index.origin.generator
        query = SearchedWith(
            listing_id=listing_id, photo=True, text=facts.title, attributes=None, attributes_by=None
        )
        notes = [] if by is None else [f"The listing's vector shows attributes that {by} wrote, too."]
        return self._answer(vector, vector, listing_id, k, query, notes, started)

    def _answer(
        self,
        vector: np.ndarray,
        as_listed: np.ndarray | None,
        query_id: str,
        k: int,
        query: SearchedWith,
        notes: list[str],
        started: float,
    ) -> Answer:
        released = self.released
        rows, scores = self._present(vector, query_id, k)
        confidences, linked = self._judged(as_listed, query_id, rows)
        results = [
            Result(
                rank=rank,
                similarity=float(score),
                confidence=confidence,
                linked=link,
                **released.facts(released.index.ids[row]).model_dump(),
            )
            for rank, (row, score, confidence, link) in enumerate(
                zip(rows.tolist(), scores.tolist(), confidences, linked, strict=True), start=1
            )
        ]
        return Answer(
            query=query,
            results=results,
            notes=[*notes, *self._always],
            index=released.about,
            seconds=perf_counter() - started,
        )

    def _present(self, vector: np.ndarray, query_id: str, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows and scores of the k best listings that the catalog still has."""
        index, wanted = self.released.index, k
        while True:
            found = index.search(vector[None], min(wanted, max(1, len(index))), query_ids=[query_id])
            rows, scores = found.positions[0], found.scores[0]
            kept = np.array([row >= 0 and index.ids[row] in self.released for row in rows.tolist()], bool)
            if kept.sum() >= k or wanted >= len(index):
                return rows[kept][:k], scores[kept][:k]
            wanted *= 4

    def _judged(
        self, as_listed: np.ndarray | None, query_id: str, rows: np.ndarray
    ) -> tuple[Sequence[float | None], Sequence[bool | None]]:
        """Confidence of each row, where it is linked; a link is mutual, as in `mutual_links`."""
        calibration, index = self.released.calibration, self.released.index
        if as_listed is None or calibration is None or not len(rows):
            return [None] * len(rows), [None] * len(rows)
        vectors = np.vstack([as_listed[None], index.vectors[rows]])
        ids = [query_id, *(index.ids[row] for row in rows.tolist())]
        near = index.search(vectors, self._neighbours, query_ids=ids)
        # As similar as the last of the nearest is near enough; where there are fewer, everything is near.
        least = np.where(near.positions[:, -1] >= 0, near.scores[:, -1], -np.inf)
        scores = exact_scores(as_listed[None], index.vectors, rows[None])[0]
        linked = (scores >= least[0]) & (scores >= least[1:])
        confidences = calibration.curve(scores)
        return (
            [float(c) if link else None for c, link in zip(confidences, linked, strict=True)],
            [bool(link) for link in linked],
        )


def _why_no_confidence(query: Query) -> str:
    if query.photo is None or query.text is None:
        alone = "text" if query.photo is None else "photo"
        return f"No confidences: they are calibrated for a photo with a title, and this is a {alone} alone."
    return "No confidences: indexed listings show the generator's attributes, and this query does not."


def _demand(k: int) -> None:
    if not 1 <= k <= MAX_RESULTS:
        raise QueryError(f"k must be from 1 to {MAX_RESULTS}, got {k}")
