"""Written attributes on disk as they come: what a stopped run, or a later one, need not write again."""

import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES, read_table, write_table

logger = logging.getLogger(__name__)

ListingContent = tuple[str, str]
"""listing_id and content_hash: the same photo, title and everything else of the same listing."""


class AttributeChunks:
    """Rows of PRODUCT_ATTRIBUTES under `root`, one folder a request.

    version, request: who writes, and whatever else decides a text: prompt, keys, length limit. A chunk of
    many rows is a Parquet file, written under a temporary name and renamed; single rows are lines of a
    journal, with the operating system when `note` returns. What cannot be read, has other columns or is
    another version's is reported and not used. Threads may share it.
    """

    def __init__(self, root: Path, version: str, request: Sequence[str]) -> None:
        self.folder = root / _digest([version, *request])
        self.version = version
        self.rows: dict[ListingContent, tuple] = {}
        self._lock = threading.Lock()
        for path in sorted(self.folder.glob("*.parquet")):
            self._read(path)
        for path in sorted(self.folder.glob("*.jsonl")):
            self._read_journal(path)

    def __contains__(self, content: object) -> bool:
        return content in self.rows

    def keep(self, rows: pd.DataFrame) -> None:
        """Write rows as one chunk."""
        contents = list(zip(rows["listing_id"], rows["content_hash"], strict=True))
        write_table(rows, PRODUCT_ATTRIBUTES, self.folder / f"{_digest(contents)}.parquet")
        self._add(rows)

    def note(self, row: pd.DataFrame) -> None:
        """Append one row to this process's journal; a process that dies afterwards loses nothing."""
        values = row[PRODUCT_ATTRIBUTES.names].astype(object).to_dict("records")[0]
        line = json.dumps({**values, "valid": bool(values["valid"])}, ensure_ascii=False)
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / f"{os.getpid()}.jsonl").open("ab") as journal:
                # A line that a killed process left half ends here.
                start = b"\n" if journal.tell() else b""
                journal.write(start + line.encode())
            self._add(row)

    def table(self, wanted: Sequence[ListingContent]) -> pd.DataFrame:
        """The kept rows of these listings, in this order. Raises KeyError for one that is not kept."""
        return pd.DataFrame([self.rows[content] for content in wanted], columns=PRODUCT_ATTRIBUTES.names)

    def forget_other_requests(self) -> None:
        """Remove what former generators, or the same with other keys, have written."""
        for other in self.folder.parent.iterdir() if self.folder.parent.is_dir() else ():
            if other != self.folder:
                shutil.rmtree(other)

    def _read(self, path: Path) -> None:
        try:
            rows = read_table(path)
        except (OSError, pa.ArrowException) as error:
            logger.warning("%s cannot be read and is written again: %s", path, error)
            return
        if list(rows.columns) != PRODUCT_ATTRIBUTES.names or set(rows["generator_version"]) - {self.version}:
            logger.warning("%s is no chunk of generator version %s and is not used", path, self.version)
            return
        self._add(rows)

    def _read_journal(self, path: Path) -> None:
        rows = []
        for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
            try:
                row = json.loads(line)
                rows.append(tuple(row[name] for name in PRODUCT_ATTRIBUTES.names))
            except (ValueError, KeyError, TypeError):
                logger.warning("%s, line %d is cut off and is written again", path, number)
        self._add(pd.DataFrame(rows, columns=PRODUCT_ATTRIBUTES.names))

    def _add(self, rows: pd.DataFrame) -> None:
        contents = zip(rows["listing_id"], rows["content_hash"], strict=True)
        ordered = rows[PRODUCT_ATTRIBUTES.names].itertuples(index=False, name=None)
        self.rows.update(zip(contents, ordered, strict=True))


def _digest(parts: Sequence[str] | Sequence[ListingContent]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
