"""Chunks of written attributes on disk: what a stopped run, or a later one, need not write again."""

import hashlib
import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa

from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES, read_table, write_table

logger = logging.getLogger(__name__)

ListingContent = tuple[str, str]
"""listing_id and content_hash: the same photo, title and everything else of the same listing."""


class AttributeChunks:
    """Rows of PRODUCT_ATTRIBUTES under `root`, one folder a request (generator version, keys, length limit).

    A chunk is written under a temporary name and renamed. One that cannot be read, has other columns or is
    another version's is reported and not used.
    """

    def __init__(self, root: Path, version: str, keys: Sequence[str], max_new_tokens: int) -> None:
        self.folder = root / _digest([version, *keys, str(max_new_tokens)])
        self.version = version
        self.rows: dict[ListingContent, tuple] = {}
        for path in sorted(self.folder.glob("*.parquet")):
            self._read(path)

    def __contains__(self, content: object) -> bool:
        return content in self.rows

    def keep(self, rows: pd.DataFrame) -> None:
        """Write rows as one chunk."""
        contents = list(zip(rows["listing_id"], rows["content_hash"], strict=True))
        write_table(rows, PRODUCT_ATTRIBUTES, self.folder / f"{_digest(contents)}.parquet")
        self._add(rows)

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

    def _add(self, rows: pd.DataFrame) -> None:
        contents = zip(rows["listing_id"], rows["content_hash"], strict=True)
        ordered = rows[PRODUCT_ATTRIBUTES.names].itertuples(index=False, name=None)
        self.rows.update(zip(contents, ordered, strict=True))


def _digest(parts: Sequence[str] | Sequence[ListingContent]) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]
