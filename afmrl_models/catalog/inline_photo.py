"""Photos as JPEGs for people to look at, and inside an HTML page that needs no other file."""

import base64
import io

from PIL import Image


def inline_photo(photo: Image.Image, edge: int | None = None) -> str:
    """A `data:` address of the photo as JPEG, shrunk to at most `edge` pixels."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(photo, edge)).decode("ascii")


def jpeg(photo: Image.Image, edge: int | None = None) -> bytes:
    """The photo as JPEG, shrunk to at most `edge` pixels."""
    shown = photo.convert("RGB")
    if edge is not None:
        shown.thumbnail((edge, edge))
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()
