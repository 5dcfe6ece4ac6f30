"""One raw row against the rules: its texts, and the bytes of its photo."""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from afmrl_models.catalog.photos import Photos, check_bytes
from afmrl_models.catalog.quarantine import Reason, RowError, storable
from afmrl_models.catalog.raw_rows import RawRow
from afmrl_models.config import ColumnMapping

MAX_ID_CHARACTERS = 256
MAX_FIELD_CHARACTERS = 131_072
_AS_JSON = json.JSONEncoder(ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Listing:
    """The stated fields of a valid row; names as in the listings table."""

    listing_id: str
    product_id: str | None
    title: str
    description: str | None
    category: str | None
    seller: str | None
    image_path: str
    attributes: dict[str, str]
    labels: list[str] | None = None

    def content_hash(self, photo: bytes) -> str:
        """sha256 of all fields and of the sha256 of the photo's bytes."""
        fields = [self.listing_id, self.product_id, self.title, self.description, self.category, self.seller]
        labels = [] if self.labels is None else [self.labels]
        stated = [*fields, self.image_path, sorted(self.attributes.items()), *labels]
        return hashlib.sha256(_AS_JSON(stated).encode() + b"\0" + photo).hexdigest()


def as_text(value: Any) -> str | None:
    """A cell as text: spaces collapsed, whole floats without '.0', lists joined by commas, empty is None."""
    if isinstance(value, str):
        return " ".join(value.split()) or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if math.isnan(value):
            return None
        value = int(value) if value.is_integer() else value
    elif isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    elif isinstance(value, list | tuple):
        value = ", ".join(text for item in value if (text := as_text(item)) is not None)
    elif isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return None if value is None else " ".join(str(value).split()) or None


def stated_id(raw: RawRow, columns: ColumnMapping) -> str | None:
    """The row's listing id as far as it can be read, in a form the quarantine table can hold."""
    text = as_text(raw.values.get(columns.listing_id))
    return None if text is None else text[:MAX_ID_CHARACTERS].encode("utf-8", "backslashreplace").decode()


def check_fields(raw: RawRow, columns: ColumnMapping, table: Path, max_title_characters: int) -> Listing:
    """The row's texts, cleaned. Raises RowError with the first thing that is wrong."""
    if raw.problem is not None:
        raise RowError(*raw.problem)

    def text(column: str | None) -> str | None:
        if column is None:
            return None
        found = as_text(raw.values.get(column))
        if found is not None:
            _check_text(found, column)
        return found

    listing_id = text(columns.listing_id)
    if listing_id is None:
        raise RowError(Reason.MISSING_LISTING_ID, f"column {columns.listing_id!r} is empty")
    if len(listing_id) > MAX_ID_CHARACTERS or not listing_id.isprintable():
        raise RowError(Reason.INVALID_LISTING_ID, f"{len(listing_id)} characters: {listing_id!r}")
    title = text(columns.title)
    if title is None or not any(character.isprintable() and character != " " for character in title):
        raise RowError(Reason.MISSING_TITLE, f"column {columns.title!r} is empty")
    if len(title) > max_title_characters:
        raise RowError(Reason.TITLE_TOO_LONG, f"{len(title)} characters, at most {max_title_characters}")
    if raw.image is None:
        raise RowError(Reason.MISSING_IMAGE_PATH, f"column {columns.image!r} is empty")
    if isinstance(raw.image, str):
        _check_text(raw.image, columns.image)
    return Listing(
        listing_id=listing_id,
        product_id=text(columns.product_id),
        title=title,
        description=text(columns.description),
        category=text(columns.category),
        seller=text(columns.seller),
        image_path=raw.image if isinstance(raw.image, str) else f"{table.name}#{listing_id}",
        attributes=dict(_attributes(raw, columns)),
        labels=_labels(raw, columns.labels),
    )


def read_image(image: str | bytes, photos: Photos) -> bytes:
    """The photo's bytes, from the table or from where its photos are.

    Raises RowError with one of the image_* reasons.
    """
    if isinstance(image, str):
        return photos.read(image)
    check_bytes(len(image), "the photo in the table")
    return image


def _check_text(text: str, column: str) -> None:
    if len(text) > MAX_FIELD_CHARACTERS:
        raise RowError(
            Reason.FIELD_TOO_LONG,
            f"column {column!r}: {len(text):,} characters, at most {MAX_FIELD_CHARACTERS:,}",
        )
    if "\0" in text:
        raise RowError(Reason.UNDECODABLE_TEXT, f"column {column!r} has a NUL character")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise RowError(Reason.UNDECODABLE_TEXT, f"column {column!r}: {storable(ascii(text))}") from None


def _labels(raw: RawRow, column: str | None) -> list[str] | None:
    """The different labels of a list, or the one of a text, sorted; None where there is none."""
    if column is None:
        return None
    stated = raw.values.get(column)
    found = {as_text(value) for value in (stated if isinstance(stated, list | tuple) else [stated])}
    labels = sorted(label for label in found if label is not None)
    for label in labels:
        _check_text(label, column)
    return labels or None


def _attributes(raw: RawRow, columns: ColumnMapping) -> Iterator[tuple[str, str]]:
    """Stated attributes: a column's name and value, or all pairs of a column that holds a mapping."""
    for column in columns.attributes:
        value = raw.values.get(column)
        if isinstance(value, list) and value and all(isinstance(v, tuple) and len(v) == 2 for v in value):
            value = dict(value)  # pyarrow's form of a map
        pairs = value.items() if isinstance(value, dict) else [(column, value)]
        for key, stated in pairs:
            text = as_text(stated)
            if text is not None:
                _check_text(text, column)
                _check_text(str(key), column)
                yield str(key), text
