"""One entry of a published file, in a form both formats share."""

from dataclasses import dataclass
from typing import Any

from afmrl_models.catalog.quarantine import Reason
from afmrl_models.catalog.validation import as_text


@dataclass(frozen=True)
class Entry:
    """An id, a title and labels as the file states them, or what is wrong with its line (from 1)."""

    line: int
    listing_id: str | None = None
    title: str | None = None
    labels: tuple[str, ...] = ()
    problem: tuple[Reason, str] | None = None


def entry(line: int, listing_id: str, title: str | None, labels: list[Any]) -> Entry:
    """The entry with its texts cleaned; one with a NUL, or whose id names no file, comes with its problem."""
    cleaned = as_text(listing_id)
    texts = tuple(dict.fromkeys(text for label in labels if (text := as_text(label)) is not None))
    problem = None
    if any("\0" in text for text in (listing_id, title or "", *texts)):
        problem = Reason.MALFORMED_ROW, f"line {line}: it contains a NUL"
        cleaned = None if cleaned is None else cleaned.replace("\0", "")
    elif cleaned is not None and (cleaned in (".", "..") or "/" in cleaned or "\\" in cleaned):
        problem = Reason.INVALID_LISTING_ID, f"line {line}: {cleaned!r} cannot be the name of a photo"
    return Entry(line, cleaned, as_text(title), texts, problem)
