"""What ingestion reads: raw rows, and the catalog they come from."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from afmrl_models.catalog.photos import Photos
from afmrl_models.catalog.quarantine import Reason
from afmrl_models.config import ColumnMapping


@dataclass(frozen=True)
class RawRow:
    """One row as the table states it.

    `row` counts the table's rows from 1 (a header is none). `values` goes by column name. `image` is
    the stated path, the bytes of the photo, or None. `problem` is set if the row could not be read.
    """

    row: int
    values: dict[str, Any] = field(default_factory=dict)
    image: str | bytes | None = None
    problem: tuple[Reason, str] | None = None


class CatalogSource(Protocol):
    """Where raw rows come from."""

    @property
    def table(self) -> Path:
        """The table's file; errors name it."""

    @property
    def photos(self) -> Photos:
        """Reads the photos that rows name; no name may lead out of their root."""

    @property
    def columns(self) -> ColumnMapping:
        """Which column holds what; every named column exists."""

    def count_rows(self) -> int:
        """How many rows `rows` yields."""

    def digest(self) -> str:
        """sha256 of the table's bytes and of the name and size of every photo it names."""

    def rows(self) -> Iterator[RawRow]:
        """All rows in the table's order, unreadable ones included (with their problem)."""
