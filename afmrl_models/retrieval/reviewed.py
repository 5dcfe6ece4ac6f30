"""The team's answers: pairs of listings that a person called the same product, or different ones.

A table outside all assets, so that no run replaces it: left_id, right_id, decision (same, different, or
empty: withdrawn), decided_at. Every answer is kept; the last one of a pair counts, in whichever order it
names the two.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from afmrl_models.errors import UserError

REVIEWED = "reviewed_pairs.csv"
COLUMNS = ["left_id", "right_id", "decision", "decided_at"]
_DECISIONS = ("same", "different", "")

Pair = tuple[str, str]


class ReviewError(UserError):
    """A table of answers that cannot be read; the message names the file and the row."""


@dataclass(frozen=True)
class Reviewed:
    """Pairs of listing ids, the smaller first, by what a person said of them."""

    same: frozenset[Pair]
    different: frozenset[Pair]

    def __contains__(self, pair: object) -> bool:
        return pair in self.same or pair in self.different

    def __len__(self) -> int:
        return len(self.same) + len(self.different)


def ordered(a: str, b: str) -> Pair:
    """The pair with the smaller id first."""
    return (a, b) if a <= b else (b, a)


def read_reviewed(path: Path) -> Reviewed:
    """The answers in force; none where the file does not exist. Raises ReviewError naming file and row."""
    decisions: dict[Pair, str] = {}
    for row in _read(path).itertuples():
        decisions[ordered(str(row.left_id), str(row.right_id))] = str(row.decision)
    return Reviewed(
        frozenset(pair for pair, decision in decisions.items() if decision == "same"),
        frozenset(pair for pair, decision in decisions.items() if decision == "different"),
    )


def record_reviews(path: Path, answers: Sequence[tuple[str, str, str]]) -> None:
    """Append answers (left_id, right_id, decision); several processes may do so at once.

    Raises ReviewError for a decision that is none, a pair of one listing, or a file that cannot be read.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    new = pd.DataFrame([(*answer, now) for answer in answers], columns=COLUMNS, dtype=object)
    _check(new, "the answer")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        rows = pd.concat([_read(path), new], ignore_index=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        if path.suffix == ".parquet":
            rows.to_parquet(partial, index=False)
        else:
            rows.to_csv(partial, index=False)
        partial.replace(path)


def harvest(pairs: pd.DataFrame, path: Path) -> int:
    """Take over the decisions that a person wrote into last night's `ambiguous_pairs`; how many.

    pairs: left_id, right_id, decision (null: none yet).
    """
    pairs = pairs.assign(decision=_clean(pairs["decision"]))
    known = read_reviewed(path)
    in_force = {"same": known.same, "different": known.different}
    columns = (pairs[name].tolist() for name in ("left_id", "right_id", "decision"))
    answers = [
        (left, right, decision)
        for left, right, decision in zip(*columns, strict=True)
        if decision and ordered(left, right) not in in_force.get(decision, ())
    ]
    if answers:
        record_reviews(path, answers)
    return len(answers)


def hand_in(answers: Path, path: Path) -> int:
    """Take over the answers of another file (CSV or Parquet) that are not in force yet; how many.

    Raises ReviewError naming file and row; then none is taken over.
    """
    if not answers.is_file():
        raise ReviewError(f"{answers}: no such file")
    return harvest(_read(answers), path)


def _read(path: Path) -> pd.DataFrame:
    if not path.exists():
        return pd.DataFrame(columns=COLUMNS, dtype=object)
    try:
        if path.suffix == ".parquet":
            rows = pd.read_parquet(path)
        else:
            rows = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ReviewError(f"{path}: cannot be read: {error}") from None
    missing = [name for name in COLUMNS[:3] if name not in rows]
    if missing:
        raise ReviewError(f"{path}: has no column {', '.join(missing)}")
    rows = rows.astype(object).assign(decision=_clean(rows["decision"]))
    _check(rows, str(path))
    return rows


def _clean(decisions: pd.Series) -> pd.Series:
    return decisions.astype(object).where(decisions.notna(), "").map(lambda said: str(said).strip().lower())


def _check(rows: pd.DataFrame, where: str) -> None:
    columns = (rows[name].tolist() for name in COLUMNS[:3])
    for number, (left, right, decision) in enumerate(zip(*columns, strict=True), start=1):
        if decision not in _DECISIONS:
            raise ReviewError(f"{where}: row {number}: {decision!r} is neither same nor different")
        if not left or not right or left == right:
            raise ReviewError(f"{where}: row {number}: needs the ids of two listings")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
