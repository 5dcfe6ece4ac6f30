"""The five retrieval tasks of the benchmark (docs/method.md), as metadata."""

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


TASKS: Mapping[TaskName, RetrievalTask] = {
    task.name: task
    for task in (
        RetrievalTask("fine_grained", "multimodal", "multimodal", "product_id", "recall"),
        RetrievalTask("coarse_grained", "multimodal", "multimodal", "category", "map"),
        RetrievalTask("image_to_multimodal", "image", "multimodal", "product_id", "recall"),
        RetrievalTask("image_to_text", "image", "text", "product_id", "recall"),
        RetrievalTask("text_to_image", "text", "image", "product_id", "recall"),
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


def relevant_listings(queries: pd.DataFrame, gallery: pd.DataFrame, same: str) -> dict[str, AbstractSet[str]]:
    """Query id -> the other gallery listings with the query's value in column `same`; null equals nothing.

    Both frames have `listing_id` and the column; every query gets an entry, an empty one if nothing is
    relevant.
    """
    groups: dict[str, set[str]] = {}
    for listing_id, value in zip(gallery["listing_id"], gallery[same], strict=True):
        if not pd.isna(value):
            groups.setdefault(value, set()).add(listing_id)
    return {
        listing_id: Others(groups.get(value, set()) if not pd.isna(value) else set(), listing_id)
        for listing_id, value in zip(queries["listing_id"], queries[same], strict=True)
    }
