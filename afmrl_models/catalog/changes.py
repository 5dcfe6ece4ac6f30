"""What a run found new, changed, unchanged and gone against the run before it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Changes:
    """Listings by what became of them: all of today's are new, changed or unchanged."""

    new: int
    changed: int
    unchanged: int
    deleted: int


def count_changes(ids: Sequence[str], unchanged: np.ndarray, former: Collection[str]) -> Changes:
    """ids: today's listings; unchanged: bool (N,), whether the former result of each still holds.

    former: the listings there were. One that was there and does not hold any more is changed.
    """
    there_before = np.asarray(pd.Index(ids, dtype=object).isin(list(former)))
    still = int((there_before & unchanged).sum())
    seen = int(there_before.sum())
    return Changes(
        new=len(ids) - seen, changed=seen - still, unchanged=still, deleted=len(set(former)) - seen
    )


def compare_tables(former: Path, now: Path, columns: Sequence[str] = ("content_hash",)) -> Changes:
    """Two tables by `listing_id`; a listing is unchanged where all `columns` are equal.

    Where there is no former table, or it cannot be read, all of today's listings are new.
    """
    today = pq.read_table(now, columns=["listing_id", *columns]).to_pandas()
    try:
        before = pq.read_table(former, columns=["listing_id", *columns]).to_pandas()
    except (OSError, pa.ArrowException):
        before = today.iloc[:0]
    found = before.set_index("listing_id").reindex(today["listing_id"])
    equal = (found.to_numpy() == today[list(columns)].to_numpy()).all(axis=1)
    return count_changes(list(today["listing_id"]), equal, list(before["listing_id"]))
