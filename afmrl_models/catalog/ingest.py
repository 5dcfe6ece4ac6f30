"""From a catalog source to its tables: listings, quarantine, and the image store."""

import hashlib
import logging
import os
import shutil
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from afmrl_models.catalog.decoding import decode
from afmrl_models.catalog.errors import CatalogError
from afmrl_models.catalog.images import ImageStoreWriter
from afmrl_models.catalog.quarantine import Quarantined, Reason, RowError
from afmrl_models.catalog.schema import LISTINGS, QUARANTINE, TableWriter
from afmrl_models.catalog.sources import CatalogSource, RawRow, open_source
from afmrl_models.catalog.validation import Listing, check_fields, read_image, stated_id
from afmrl_models.config import CatalogConfig

_LOG = logging.getLogger(__name__)

LISTINGS_FILE = "listings.parquet"
QUARANTINE_FILE = "quarantine.parquet"
FAILED_QUARANTINE_FILE = "quarantine.failed.parquet"
IMAGES_FOLDER = "images"
_ROWS_PER_TASK = 64
_ROWS_PER_WRITE = 8192


@dataclass(frozen=True)
class IngestResult:
    """What became of the rows: `rows_read == kept + sum(quarantined.values())`.

    `digest` is the sha256 of the kept listings' content hashes and of the quarantined rows' reasons,
    in order: equal content in an equal order has an equal digest.
    """

    rows_read: int
    kept: int
    quarantined: dict[str, int]
    digest: str


@dataclass(frozen=True)
class _Kept:
    row: int
    listing: Listing
    content_hash: str
    pixels: np.ndarray


def ingest(config: CatalogConfig, out: Path, workdir: Path, *, progress: bool = False) -> IngestResult:
    """Read, check and decode every row; write listings.parquet, quarantine.parquet and images/ into `out`.

    Photos are decoded on all cores and appended to the store as they come, in the table's order. Of two
    valid rows with one listing id the first is kept. Raises CatalogError for a catalog that cannot be
    read, has no row or no valid row, or has more than `max_quarantined_share` bad ones; what was in
    `out` then stays as it was, and quarantine.failed.parquet lists the bad rows.
    """
    source = open_source(config, workdir, progress=progress)
    total = source.count_rows()
    if total == 0:
        raise CatalogError(f"{source.table}: the catalog is empty: it has no rows")
    out.mkdir(parents=True, exist_ok=True)
    folder = out / f".{IMAGES_FOLDER}.{os.getpid()}.partial"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    failed = out / FAILED_QUARANTINE_FILE
    try:
        with TableWriter(out / LISTINGS_FILE, LISTINGS) as listings:
            with (
                TableWriter(failed, QUARANTINE) as quarantine,
                ImageStoreWriter(folder, config.image_size) as images,
            ):
                sorter = _Sorter(listings, quarantine, images)
                for outcome in tqdm(
                    _outcomes(source, config),
                    total=total,
                    desc="catalog",
                    unit="listing",
                    disable=not progress,
                ):
                    sorter.add(outcome)
                sorter.flush()
            result = sorter.result()
            _judge(source.table, total, result, config.max_quarantined_share, sorter.first_of_reason, failed)
            _replace_folder(folder, out / IMAGES_FOLDER)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    failed.replace(out / QUARANTINE_FILE)
    _LOG.info("%s: %d rows kept, quarantined: %s", source.table, result.kept, result.quarantined or "none")
    return result


class _Sorter:
    """Sends each outcome to its table, finds duplicate ids, and counts."""

    def __init__(self, listings: TableWriter, quarantine: TableWriter, images: ImageStoreWriter) -> None:
        self._listings = listings
        self._quarantine = quarantine
        self._images = images
        self._row_of: dict[str, int] = {}
        self._kept_rows: list[dict[str, object]] = []
        self._bad_rows: list[dict[str, object]] = []
        self._counts: Counter[Reason] = Counter()
        self._read = 0
        self._digest = hashlib.sha256()
        self.first_of_reason: dict[Reason, Quarantined] = {}

    def add(self, outcome: _Kept | Quarantined) -> None:
        self._read += 1
        if isinstance(outcome, _Kept):
            listing_id = outcome.listing.listing_id
            earlier = self._row_of.setdefault(listing_id, outcome.row)
            if earlier != outcome.row:
                detail = f"row {earlier} has this id and was kept"
                outcome = Quarantined(outcome.row, listing_id, Reason.DUPLICATE_LISTING_ID, detail)
        if isinstance(outcome, _Kept):
            self._images.add(listing_id, outcome.pixels)
            self._kept_rows.append(asdict(outcome.listing) | {"content_hash": outcome.content_hash})
            self._digest.update(outcome.content_hash.encode())
        else:
            self._bad_rows.append(asdict(outcome))
            self._counts[outcome.reason] += 1
            self.first_of_reason.setdefault(outcome.reason, outcome)
            self._digest.update(f"{outcome.listing_id} {outcome.reason}\n".encode())
        if len(self._kept_rows) + len(self._bad_rows) >= _ROWS_PER_WRITE:
            self.flush()

    def flush(self) -> None:
        for rows, writer in ((self._kept_rows, self._listings), (self._bad_rows, self._quarantine)):
            if rows:
                writer.write(pd.DataFrame(rows))
                rows.clear()

    def result(self) -> IngestResult:
        counts = {reason.value: self._counts[reason] for reason in Reason if self._counts[reason]}
        return IngestResult(self._read, len(self._row_of), counts, self._digest.hexdigest())


def _outcomes(source: CatalogSource, config: CatalogConfig) -> Iterator[_Kept | Quarantined]:
    """Every row checked and its photo decoded, in order; a bounded number of rows is under way at once."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    check = partial(_check_rows, source=source, size=config.image_size, max_title=config.max_title_characters)
    rows = source.rows()
    pending: deque[Future[list[_Kept | Quarantined]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="catalog") as pool:
        try:
            while task := list(islice(rows, _ROWS_PER_TASK)):
                pending.append(pool.submit(check, task))
                if len(pending) > 2 * workers:
                    yield from pending.popleft().result()
            while pending:
                yield from pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _check_rows(
    rows: list[RawRow], source: CatalogSource, size: int, max_title: int
) -> list[_Kept | Quarantined]:
    return [_check_row(raw, source, size, max_title) for raw in rows]


def _check_row(raw: RawRow, source: CatalogSource, size: int, max_title: int) -> _Kept | Quarantined:
    try:
        listing = check_fields(raw, source.columns, source.table, max_title)
        image = read_image(raw.image or b"", source.images_root)
        return _Kept(raw.row, listing, listing.content_hash(image), decode(image, size))
    except RowError as error:
        return Quarantined(raw.row, stated_id(raw, source.columns), error.reason, error.detail)


def _judge(
    table: Path,
    total: int,
    result: IngestResult,
    max_share: float,
    examples: dict[Reason, Quarantined],
    quarantine: Path,
) -> None:
    """Raise CatalogError if the table changed, or too little of it can be used."""
    bad = sum(result.quarantined.values())
    if result.rows_read != total:
        raise CatalogError(
            f"{table}: it had {total} rows, then {result.rows_read}: it changed while being read"
        )
    if result.rows_read != result.kept + bad:
        raise RuntimeError(f"{table}: {result.rows_read} rows read, {result.kept} kept, {bad} quarantined")
    if result.kept and bad <= max_share * total:
        return
    lines = [
        f"  {result.quarantined[reason]} × {reason}: {reason.description} First: row {example.row}, "
        f"listing {example.listing_id!r}: {example.detail}"
        for reason, example in sorted(examples.items(), key=lambda item: -result.quarantined[item[0]])
    ]
    what = (
        f"{bad} of {total} rows were quarantined, more than catalog.max_quarantined_share = {max_share:g}"
        if result.kept
        else f"no valid row among {total}"
    )
    raise CatalogError("\n".join([f"{table}: {what} (all in {quarantine})", *lines]))


def _replace_folder(new: Path, target: Path) -> None:
    """Put `new` where `target` is; readers that hold the old files open keep them."""
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
