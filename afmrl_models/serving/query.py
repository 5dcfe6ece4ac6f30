"""What a person asks with: a photo, a text, attributes; checked as a catalog's rows are."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from afmrl_models.attributes.grammar import AttributeTextError, parse, render
from afmrl_models.catalog.decoding import decode
from afmrl_models.catalog.large_photos import PHOTO_EDGE
from afmrl_models.catalog.quarantine import Reason, RowError
from afmrl_models.catalog.validation import as_text
from afmrl_models.errors import UserError

MAX_CHARACTERS = 2000
MAX_UPLOAD_BYTES = 16 * 2**20


class QueryError(UserError):
    """A query that cannot be searched with; the message says what of it."""


class PhotoTooLargeError(QueryError):
    """A photo of more bytes or pixels than are decoded."""


@dataclass(frozen=True)
class Query:
    """photo: uint8 (size, size, 3), as the embedder sees photos; shown: the same, larger, for people."""

    photo: np.ndarray | None = None
    shown: Image.Image | None = None
    text: str | None = None
    attributes: str | None = None


def read_query(
    size: int,
    *,
    photo: bytes | None = None,
    text: str | None = None,
    attributes: str | None = None,
) -> Query:
    """Decode and check what is given: a photo or a text or both, and attributes if any.

    size: edge of the square the embedder was trained on. Photos are read by the code that ingestion uses.
    Raises QueryError.
    """
    if photo is None and text is None:
        raise QueryError("a search needs a photo, a text, or both")
    pixels, shown = None, None
    if photo is not None:
        if len(photo) > MAX_UPLOAD_BYTES:
            raise PhotoTooLargeError(f"the photo has {len(photo):,} bytes, at most {MAX_UPLOAD_BYTES:,}")
        try:
            pixels = decode(photo, size)
            shown = Image.fromarray(decode(photo, max(size, PHOTO_EDGE)))
        except RowError as error:
            kind = PhotoTooLargeError if error.reason is Reason.IMAGE_TOO_LARGE else QueryError
            raise kind(f"the photo cannot be used: {error.detail}") from None
    return Query(pixels, shown, _text(text), _attributes(attributes))


def _text(text: str | None) -> str | None:
    if text is None:
        return None
    if len(text) > MAX_CHARACTERS:
        raise QueryError(f"the text has {len(text):,} characters, at most {MAX_CHARACTERS:,}")
    if "\0" in text or not _is_unicode(text):
        raise QueryError("the text is not valid Unicode, or holds a NUL")
    clean = as_text(text)
    if clean is None or not any(letter.isprintable() and letter != " " for letter in clean):
        raise QueryError("the text is empty")
    return clean


def _attributes(attributes: str | None) -> str | None:
    if attributes is None or not attributes.strip():
        return None
    try:
        return render(parse(attributes))
    except AttributeTextError as error:
        raise QueryError(f"attributes: {error}; write them as in 'colour: red; material: leather'") from None


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
