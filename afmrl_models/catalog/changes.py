"""What a run found new, changed, unchanged and gone against the run before it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
    known = set(former)
    there_before = np.array([listing_id in known for listing_id in ids], dtype=bool)
    still, seen = int((there_before & unchanged).sum()), int(there_before.sum())
    return Changes(new=len(ids) - seen, changed=seen - still, unchanged=still, deleted=len(known) - seen)


def compare_tables(former: Path, now: Path, columns: Sequence[str] = ("content_hash",)) -> Changes:
    """Two tables by `listing_id`; a listing is unchanged where all `columns` are equal.

    Where there is no former table, or it cannot be read, all of today's listings are new.
    """
    names = ["listing_id", *columns]
    today = pq.read_table(now, columns=names)
    try:
        before = pq.read_table(former, columns=names)
    except (OSError, pa.ArrowException):
        before = today.slice(0, 0)
    there_before = pc.index_in(today["listing_id"], value_set=before["listing_id"])
    equal = there_before.is_valid()
    for name in columns:
        same = pc.equal(before[name].take(there_before), today[name])
        equal = pc.and_(equal, pc.fill_null(same, False))
    still, seen = pc.sum(equal).as_py() or 0, len(there_before) - there_before.null_count
    return Changes(new=len(today) - seen, changed=seen - still, unchanged=still, deleted=len(before) - seen)
