"""What became of each row: a kept listing with its photo, or a quarantined one; and the tables of both."""

import hashlib
import io
from collections import Counter
from dataclasses import dataclass, field, fields
from pathlib import Path

import numpy as np
from PIL import Image

from afmrl_models.catalog.changes import Changes
from afmrl_models.catalog.images import ImageStoreWriter, Photo
from afmrl_models.catalog.quarantine import Quarantined, Reason
from afmrl_models.catalog.schema import QUARANTINE_EXAMPLES, TableWriter
from afmrl_models.catalog.validation import Listing

EXAMPLES_PER_REASON = 3
_ROWS_PER_WRITE = 8192


@dataclass(frozen=True)
class IngestResult:
    """What became of the rows: `rows_read == kept + sum(quarantined.values())`.

    `digest` is the sha256 of the kept listings' content hashes and of the quarantined rows' reasons,
    in order: equal content in an equal order has an equal digest. `decoded` counts the kept listings whose
    photo this run has decoded, the others' an earlier one had; `changes` are against the earlier run.
    """

    rows_read: int
    kept: int
    quarantined: dict[str, int]
    digest: str
    decoded: int = field(compare=False)
    changes: Changes = field(compare=False)


@dataclass(frozen=True, slots=True)
class Kept:
    """A valid row: its listing, the sha256 of all of it, and its photo."""

    row: int
    listing: Listing
    content_hash: str
    photo: Photo


@dataclass(frozen=True, slots=True)
class Refused:
    """A bad row, and its photo if that much could be decoded."""

    quarantined: Quarantined
    pixels: np.ndarray | None


class Sorter:
    """Sends each outcome to its table, in order; finds duplicate ids; counts; keeps a few examples."""

    def __init__(self, listings: TableWriter, quarantine: TableWriter, images: ImageStoreWriter) -> None:
        self._listings = listings
        self._quarantine = quarantine
        self._images = images
        self._row_of: dict[str, int] = {}
        self._kept: list[tuple[Listing, str]] = []
        self._bad: list[Quarantined] = []
        self._counts: Counter[Reason] = Counter()
        self._read = 0
        self._decoded = 0
        self._digest = hashlib.sha256()
        self.examples: dict[Reason, list[Refused]] = {}

    def add(self, outcome: Kept | Refused) -> None:
        """Count and store one row; of two valid rows with one id, the second is refused here."""
        self._read += 1
        if isinstance(outcome, Kept):
            listing_id = outcome.listing.listing_id
            earlier = self._row_of.setdefault(listing_id, outcome.row)
            if earlier != outcome.row:
                detail = f"row {earlier} has this id and was kept"
                duplicate = Quarantined(outcome.row, listing_id, Reason.DUPLICATE_LISTING_ID, detail)
                outcome = Refused(duplicate, outcome.photo.pixels)
        if isinstance(outcome, Kept):
            self._images.add_photo(listing_id, outcome.photo)
            self._decoded += outcome.photo.decoded
            self._kept.append((outcome.listing, outcome.content_hash))
            self._digest.update(outcome.content_hash.encode())
        else:
            bad = outcome.quarantined
            self._bad.append(bad)
            self._counts[bad.reason] += 1
            self._digest.update(f"{bad.listing_id} {bad.reason}\n".encode())
            examples = self.examples.setdefault(bad.reason, [])
            if len(examples) < EXAMPLES_PER_REASON:
                examples.append(outcome)
        if len(self._kept) + len(self._bad) >= _ROWS_PER_WRITE:
            self.flush()

    def flush(self) -> None:
        """Write what is held back; to be called once more after the last row."""
        if self._kept:
            columns: dict[str, list[object]] = {
                name: [getattr(listing, name) for listing, _ in self._kept] for name in Listing.__slots__
            }
            self._listings.write_columns(columns | {"content_hash": [digest for _, digest in self._kept]})
            self._kept.clear()
        if self._bad:
            names = [field.name for field in fields(Quarantined)]
            self._quarantine.write_columns({n: [getattr(bad, n) for bad in self._bad] for n in names})
            self._bad.clear()

    def result(self, changes: Changes) -> IngestResult:
        """The counts of all rows, and what changed against the run before."""
        counts = {reason.value: self._counts[reason] for reason in Reason if self._counts[reason]}
        digest = self._digest.hexdigest()
        return IngestResult(self._read, len(self._row_of), counts, digest, self._decoded, changes)


def write_examples(examples: dict[Reason, list[Refused]], path: Path) -> None:
    """The first rows of every reason, with their photos (PNG) where they could be decoded."""
    chosen = [example for reason in Reason for example in examples.get(reason, [])]
    names = [field.name for field in fields(Quarantined)]
    columns: dict[str, list[object]] = {
        name: [getattr(example.quarantined, name) for example in chosen] for name in names
    }
    with TableWriter(path, QUARANTINE_EXAMPLES) as writer:
        writer.write_columns(columns | {"photo": [_png(example.pixels) for example in chosen]})


def _png(pixels: np.ndarray | None) -> bytes | None:
    if pixels is None:
        return None
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
