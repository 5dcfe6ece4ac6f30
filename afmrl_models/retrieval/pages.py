"""The look of the pages people read: one style sheet, templates that escape, photos inside the page."""

import base64
import io
from importlib.resources import files

import jinja2
from PIL import Image

STYLE = files(__package__).joinpath("page.css").read_text(encoding="utf-8")


def templates(package: str) -> jinja2.Environment:
    """Templates of a package, and those of this one; everything put into them is escaped.

    `style` is the sheet, for pages that need no other file.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(name, package_path="") for name in dict.fromkeys([package, __package__])]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["style"] = STYLE
    return environment


def jpeg(photo: Image.Image, edge: int | None = None, quality: int = 82) -> bytes:
    """A photo as JPEG, no larger than `edge` × `edge` pixels."""
    small = photo.convert("RGB")
    if edge is not None:
        small.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def photo_uri(photo: Image.Image, edge: int | None = None) -> str:
    """A photo as the data URI of a JPEG, for the src of an <img>."""
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(photo, edge)).decode("ascii")
