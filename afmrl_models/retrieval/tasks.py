"""The five retrieval tasks of the benchmark, and a sixth among look-alikes (docs/results.md), as metadata."""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from afmrl_models.config.profile import Modality, TaskName


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


def relevant_listings(
    queries: pd.DataFrame, gallery: pd.DataFrame, same: str, within: str | None = None
) -> dict[str, AbstractSet[str]]:
    """Query id -> the other gallery listings with the query's value in column `same`; null equals nothing.

    With `within`, they also share the value of that column. Both frames have `listing_id` and the columns;
    every query gets an entry, an empty one if nothing is relevant.
    """
    columns = [same] if within is None else [same, within]
    groups: dict[tuple[str, ...], set[str]] = {}
    for listing_id, *values in gallery[["listing_id", *columns]].itertuples(index=False):
        if not any(map(pd.isna, values)):
            groups.setdefault(tuple(values), set()).add(listing_id)
    return {
        listing_id: Others(groups.get(tuple(values), set()), listing_id)
        for listing_id, *values in queries[["listing_id", *columns]].itertuples(index=False)
    }
