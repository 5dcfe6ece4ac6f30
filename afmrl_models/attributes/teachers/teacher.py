"""What every teacher is: it reads listings and writes the attributes that the generator is distilled from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import pandas as pd

from afmrl_models.attributes.teachers.answers import Answer
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.schema import PRODUCT_ATTRIBUTES
from afmrl_models.errors import UserError


class TeacherError(UserError):
    """The teacher cannot do its work at all; the message says which one and what to check."""


class Teacher(Protocol):
    """Writes attributes for listings."""

    version: str
    """What `generator_version` says in the teacher's table."""

    def write(
        self, listings: pd.DataFrame, images: ImageStore, progress: bool = False, kept: Path | None = None
    ) -> pd.DataFrame:
        """Write a PRODUCT_ATTRIBUTES frame, one row a listing, in the listings' order.

        listings: rows of LISTINGS. kept: a folder in which a teacher that is asked over a network keeps
        each answer as it comes; a listing answered there with the same content and request is not asked
        again. An answer that is no attribute text is a row with `valid` False, no attributes and the text
        as it came. Raises TeacherError if the teacher cannot work.
        """
        ...


def attributes_table(listings: pd.DataFrame, answers: Sequence[Answer], version: str) -> pd.DataFrame:
    """A PRODUCT_ATTRIBUTES frame of one answer a listing, in the listings' order."""
    columns: dict[str, list[object]] = {
        "listing_id": listings["listing_id"].tolist(),
        "attributes_text": [answer.text for answer in answers],
        "attributes": [answer.attributes for answer in answers],
        "valid": [answer.attributes is not None for answer in answers],
        "generator_version": [version] * len(answers),
        "content_hash": listings["content_hash"].tolist(),
    }
    text_or_map = {name: "object" for name in columns if name != "valid"}
    return pd.DataFrame(
        {
            field.name: pd.Series(columns[field.name], dtype=text_or_map.get(field.name, "bool"))
            for field in PRODUCT_ATTRIBUTES
        }
    )
