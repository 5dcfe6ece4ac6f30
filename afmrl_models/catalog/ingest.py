"""From a catalog source to its tables: listings, quarantine, and the image store."""

import logging
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from afmrl_models.catalog.changes import Changes, compare_tables
from afmrl_models.catalog.decoding import decode
from afmrl_models.catalog.errors import CatalogError
from afmrl_models.catalog.former_photos import FormerPhotos, decoded_once, decoder_version
from afmrl_models.catalog.images import ImageStoreWriter
from afmrl_models.catalog.outcomes import IngestResult, Kept, Refused, Sorter, write_examples
from afmrl_models.catalog.quarantine import Quarantined, Reason, RowError
from afmrl_models.catalog.raw_rows import CatalogSource, RawRow
from afmrl_models.catalog.schema import LISTINGS, QUARANTINE, TableWriter
from afmrl_models.catalog.sources import open_source
from afmrl_models.catalog.staging import staged
from afmrl_models.catalog.validation import check_fields, read_image, stated_id
from afmrl_models.config import CatalogConfig

_LOG = logging.getLogger(__name__)

LISTINGS_FILE = "listings.parquet"
QUARANTINE_FILE = "quarantine.parquet"
EXAMPLES_FILE = "quarantine_examples.parquet"
FAILED_QUARANTINE_FILE = "quarantine.failed.parquet"
IMAGES_FOLDER = "images"
_ROWS_PER_TASK = 64
_REMOTE_WORKERS = 16


def ingest(
    config: CatalogConfig,
    out: Path,
    workdir: Path,
    *,
    former: Path | None = None,
    refused: Path | None = None,
    workers: int | None = None,
    progress: bool = False,
) -> IngestResult:
    """Read, check and decode every row; write the tables and images/ into `out`, all of them or none.

    Photos are decoded by `workers` threads (None: one a core) and appended to the store as they come, in
    the table's order: the output does not depend on the number of workers. Of two valid rows with one
    listing id the first is kept. Raises CatalogError for a catalog that cannot be read, has no row or no
    valid row, has more than `max_quarantined_share` bad ones, or misses more than `max_deleted_share` of the
    earlier run's listings; what was in `out` then stays as it was, and quarantine.failed.parquet lists the
    bad rows.

    former: an earlier run's folder (`out` itself, if it is there). Every photo is read and hashed; bytes that
    the earlier run decoded with the same decoder to the same size are not decoded again, their checked pixels
    are copied. The files written are the same, byte for byte, as without it.

    refused: the folder for quarantine.failed.parquet; None: `out`.
    """
    source = open_source(config, workdir, progress=progress)
    total = source.count_rows()
    if total == 0:
        raise CatalogError(f"{source.table}: the catalog is empty: it has no rows")
    failed = (refused or out) / FAILED_QUARANTINE_FILE
    with staged(out, (QUARANTINE_FILE, EXAMPLES_FILE, IMAGES_FOLDER, LISTINGS_FILE)) as folder:
        with (
            TableWriter(folder / LISTINGS_FILE, LISTINGS) as listings,
            TableWriter(folder / QUARANTINE_FILE, QUARANTINE) as quarantine,
            ImageStoreWriter(folder / IMAGES_FOLDER, config.image_size, decoder_version()) as images,
        ):
            sorter = Sorter(listings, quarantine, images)
            known = FormerPhotos(None if former is None else former / IMAGES_FOLDER, config.image_size)
            outcomes = _outcomes(source, config, known, workers or _workers(source))
            for outcome in tqdm(outcomes, total=total, desc="catalog", unit="listing", disable=not progress):
                sorter.add(outcome)
            sorter.flush()
        before = (out if former is None else former) / LISTINGS_FILE
        result = sorter.result(compare_tables(before, folder / LISTINGS_FILE))
        try:
            _judge(source.table, total, result, config.max_quarantined_share, sorter.examples, failed)
            if config.source.kind != "generated" and config.limit is None:  # whose size a person has set
                _demand_former_listings(source.table, result.changes, config.max_deleted_share)
        except CatalogError:
            (folder / QUARANTINE_FILE).replace(failed)
            raise
        write_examples(sorter.examples, folder / EXAMPLES_FILE)
        failed.unlink(missing_ok=True)
    _LOG.info("%s: %d rows kept, quarantined: %s", source.table, result.kept, result.quarantined or "none")
    return result


def _workers(source: CatalogSource) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores, _REMOTE_WORKERS) if source.photos.waits else cores


def _outcomes(
    source: CatalogSource, config: CatalogConfig, former: FormerPhotos, workers: int
) -> Iterator[Kept | Refused]:
    """Every row checked and its photo decoded, in order; a bounded number of rows is under way at once."""
    check = partial(
        _check_rows,
        source=source,
        size=config.image_size,
        max_title=config.max_title_characters,
        former=former,
    )
    rows = source.rows()
    pending: deque[Future[list[Kept | Refused]]] = deque()
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
    rows: list[RawRow], source: CatalogSource, size: int, max_title: int, former: FormerPhotos
) -> list[Kept | Refused]:
    return [_check_row(raw, source, size, max_title, former) for raw in rows]


def _check_row(
    raw: RawRow, source: CatalogSource, size: int, max_title: int, former: FormerPhotos
) -> Kept | Refused:
    pixels = None
    try:
        listing = check_fields(raw, source.columns, source.table, max_title)
        image = read_image(raw.image or b"", source.photos)
        photo = decoded_once(image, size, former)
        return Kept(raw.row, listing, listing.content_hash(photo.source), photo)
    except RowError as error:
        bad = Quarantined(raw.row, stated_id(raw, source.columns), error.reason, error.detail)
        if not bad.reason.concerns_photo and raw.image is not None:
            with suppress(RowError):
                pixels = decode(read_image(raw.image, source.photos), size)
        return Refused(bad, pixels)
    except RecursionError:
        detail = "lists in lists, too deep to be a text"
        return Refused(Quarantined(raw.row, None, Reason.MALFORMED_ROW, detail), None)


def _demand_former_listings(table: Path, changes: Changes, max_share: float) -> None:
    """Raise CatalogError if too many of the last run's listings are gone."""
    before = changes.changed + changes.unchanged + changes.deleted
    if changes.deleted > max_share * before:
        raise CatalogError(
            f"{table}: {changes.deleted} of the last run's {before} listings are not in it any more, more "
            f"than catalog.max_deleted_share = {max_share:g}: is the export whole? If they are gone for "
            "good, run once with that setting at 1"
        )


def _judge(
    table: Path,
    total: int,
    result: IngestResult,
    max_share: float,
    examples: dict[Reason, list[Refused]],
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
        f"  {result.quarantined[reason]} × {reason}: {reason.description} First: row {first.row}, "
        f"listing {first.listing_id!r}: {first.detail}"
        for reason, first in sorted(
            ((reason, refused[0].quarantined) for reason, refused in examples.items()),
            key=lambda item: -result.quarantined[item[0]],
        )
    ]
    what = (
        f"{bad} of {total} rows were quarantined, more than catalog.max_quarantined_share = {max_share:g}"
        if result.kept
        else f"no valid row among {total}"
    )
    raise CatalogError("\n".join([f"{table}: {what} (all in {quarantine})", *lines]))
