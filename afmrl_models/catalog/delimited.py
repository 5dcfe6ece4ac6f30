"""CSV and TSV records, where one broken quote costs one row and never the rows after it."""

import csv
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from afmrl_models.catalog.table_files import open_text, read_line

MAX_LINES_PER_RECORD = 1000


@dataclass(frozen=True)
class Record:
    """One record: its first line in the file (from 1), and its fields or what is wrong with it."""

    line: int
    fields: list[str]
    problem: str | None = None


class _Lines:
    """Physical lines of a file that can be given back, so that parsing resumes after a broken quote."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._returned: deque[str] = deque()
        self._taken: list[str] = []
        self._first = 1

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self._taken) >= MAX_LINES_PER_RECORD:
            raise csv.Error(f"a quote is still open after {MAX_LINES_PER_RECORD} lines")
        line = self._returned.popleft() if self._returned else read_line(self._file)
        if not line:
            raise StopIteration
        self._taken.append(line)
        return line

    @property
    def several(self) -> bool:
        return len(self._taken) > 1

    def finish(self, keep: int | None = None) -> int:
        """End the record after `keep` lines (None: all), give back the rest; return its first line."""
        keep = len(self._taken) if keep is None else keep
        self._returned.extendleft(reversed(self._taken[keep:]))
        self._taken.clear()
        first, self._first = self._first, self._first + keep
        return first


def read_records(path: Path, delimiter: str) -> Iterator[Record]:
    """Every record of the file, the header first; blank lines are no records.

    A record that spans lines and then does not parse, or does not have the header's number of
    fields, had a stray quote: its first line becomes a record with a problem, and reading goes on
    with the second line. Bytes that are not UTF-8 arrive as surrogates (PEP 383).
    """
    with open_text(path) as file:
        lines = _Lines(file)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        width: int | None = None
        while True:
            try:
                fields = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield Record(lines.finish(keep=1), [], str(error))
                continue
            if not fields:
                lines.finish()
            elif lines.several and width is not None and len(fields) != width:
                yield Record(lines.finish(keep=1), [], "a quote is opened and not closed")
            else:
                width = len(fields) if width is None else width
                yield Record(lines.finish(), fields)
