"""Written attributes on disk as they come: what a stopped run, or a later one, need not write again."""

import hashlib
import json
import logging
import os
import shutil
import threading
import zlib
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
    many rows is a Parquet file named by the sha256 of its bytes, written under a temporary name and renamed;
    single rows are lines of a journal, each after its CRC-32, with the operating system when `note` returns.
    What is damaged, has other columns or is another version's is reported and not used. Threads may share it.
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
        self._write(rows)
        self._add(rows)

    def note(self, row: pd.DataFrame) -> None:
        """Append one row to this process's journal; a process that dies afterwards loses nothing."""
        values = row[PRODUCT_ATTRIBUTES.names].astype(object).to_dict("records")[0]
        line = json.dumps({**values, "valid": bool(values["valid"])}, ensure_ascii=False).encode()
        with self._lock:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / f"{os.getpid()}.jsonl").open("ab") as journal:
                # A line that a killed process left half ends here.
                start = b"\n" if journal.tell() else b""
                journal.write(start + b"%08x " % zlib.crc32(line) + line)
            self._add(row)

    def table(self, wanted: Sequence[ListingContent]) -> pd.DataFrame:
        """The kept rows of these listings, in this order. Raises KeyError for one that is not kept."""
        return pd.DataFrame([self.rows[content] for content in wanted], columns=PRODUCT_ATTRIBUTES.names)

    def forget_all_but(self, rows: pd.DataFrame) -> None:
        """Only these rows stay, in one chunk; what another generator, or another request, wrote goes, too."""
        files = {*self.folder.glob("*.parquet"), *self.folder.glob("*.jsonl")}
        if len(files) > 1 or len(self.rows) > len(rows):
            self.rows = {}
            self._add(rows)
            stays = {self._write(rows)} if len(rows) else set()
            for path in files - stays:
                path.unlink()
        for other in self.folder.parent.iterdir() if self.folder.parent.is_dir() else ():
            if other != self.folder:
                shutil.rmtree(other)

    def _write(self, rows: pd.DataFrame) -> Path:
        partial = self.folder / f".{os.getpid()}.chunk"
        write_table(rows, PRODUCT_ATTRIBUTES, partial)
        return partial.replace(self.folder / f"{_sha256(partial)}.parquet")

    def _read(self, path: Path) -> None:
        if _sha256(path) != path.stem:
            logger.warning("%s is damaged and is written again", path)
            path.unlink()
            return
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
            checksum, _, document = line.partition(b" ")
            try:
                row = json.loads(document)
                if int(checksum, 16) != zlib.crc32(document):
                    raise ValueError("another checksum")
                rows.append(tuple(row[name] for name in PRODUCT_ATTRIBUTES.names))
            except (ValueError, KeyError, TypeError):
                logger.warning("%s, line %d is damaged and is written again", path, number)
        self._add(pd.DataFrame(rows, columns=PRODUCT_ATTRIBUTES.names))

    def _add(self, rows: pd.DataFrame) -> None:
        contents = zip(rows["listing_id"], rows["content_hash"], strict=True)
        ordered = rows[PRODUCT_ATTRIBUTES.names].itertuples(index=False, name=None)
        self.rows.update(zip(contents, ordered, strict=True))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
