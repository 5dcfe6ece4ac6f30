"""The five retrieval tasks of the benchmark, and a sixth among look-alikes (docs/results.md), as metadata."""

from collections.abc import Collection, Hashable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from afmrl_models.config import Modality
from afmrl_models.config.tasks import TaskName


@dataclass(frozen=True)
class RetrievalTask:
    """What is searched with, what is searched, and which gallery listings are right."""

    name: TaskName
    query: Modality
    gallery: Modality
    same: Literal["product_id", "category"]  # the column a relevant listing shares with the query
    headline: str  # the metric this task is known by, without `_at_k`
    within: Literal["category"] | None = None  # only listings that share it with the query are candidates


TASKS: Mapping[TaskName, RetrievalTask] = {
    task.name: task
    for task in (
        RetrievalTask("fine_grained", "multimodal", "multimodal", "product_id", "recall"),
        RetrievalTask("coarse_grained", "multimodal", "multimodal", "category", "map"),
        RetrievalTask("image_to_multimodal", "image", "multimodal", "product_id", "recall"),
        RetrievalTask("image_to_text", "image", "text", "product_id", "recall"),
        RetrievalTask("text_to_image", "text", "image", "product_id", "recall"),
        RetrievalTask(
            "fine_grained_in_category", "multimodal", "multimodal", "product_id", "recall", within="category"
        ),
    )
}


class Others(AbstractSet[str]):
    """The members of a shared set except one: judgements of n queries without n copies of the set."""

    def __init__(self, members: AbstractSet[str], left_out: str) -> None:
        self._members = members
        self._left_out = left_out

    def __contains__(self, item: object) -> bool:
        return item != self._left_out and item in self._members

    def __iter__(self) -> Iterator[str]:
        return (item for item in self._members if item != self._left_out)

    def __len__(self) -> int:
        return len(self._members) - (self._left_out in self._members)


def sharing_a_label(
    queries: Mapping[str, Collection[Hashable]], gallery: Mapping[str, Collection[Hashable]]
) -> dict[str, AbstractSet[str]]:
    """Query id -> the other gallery listings that have at least one of its labels; listing id -> labels.

    Every query gets an entry, an empty one if nothing is relevant.
    """
    holders: dict[Hashable, set[str]] = {}
    for listing_id, labels in gallery.items():
        for label in labels:
            holders.setdefault(label, set()).add(listing_id)
    # One set serves all queries of equal labels: with few labels it is most of the gallery.
    unions: dict[frozenset[Hashable], set[str]] = {}
    relevant: dict[str, AbstractSet[str]] = {}
    for listing_id, labels in queries.items():
        known = frozenset(label for label in labels if label in holders)
        if known not in unions:
            sets = [holders[label] for label in known]
            unions[known] = sets[0] if len(sets) == 1 else set().union(*sets)
        relevant[listing_id] = Others(unions[known], listing_id)
    return relevant


def relevant_listings(
    queries: pd.DataFrame, gallery: pd.DataFrame, same: str, within: str | None = None
) -> dict[str, AbstractSet[str]]:
    """Query id -> the other gallery listings with the query's value in column `same`; null equals nothing.

    Where the listings have `labels`, a shared label stands for the same `product_id`. With `within`, they
    also share the value of that column. Both frames have `listing_id` and the columns; every query gets an
    entry, an empty one if nothing is relevant.
    """
    sides = (queries, gallery)
    if same == "product_id" and any("labels" in side and side["labels"].notna().any() for side in sides):
        same = "labels"
    return sharing_a_label(_shared_values(queries, same, within), _shared_values(gallery, same, within))


def _shared_values(side: pd.DataFrame, same: str, within: str | None) -> dict[str, list[Hashable]]:
    scopes = side[within] if within is not None else [""] * len(side)
    return {
        listing_id: []
        if stated is None
        or scope is None
        or pd.isna(scope)
        or (not isinstance(stated, list) and pd.isna(stated))
        else [(value, scope) for value in (stated if isinstance(stated, list) else [stated])]
        for listing_id, stated, scope in zip(side["listing_id"], side[same], scopes, strict=True)
    }
