"""Why a row is not kept: a closed set of reasons, each with a sentence for people."""

from dataclasses import dataclass
from enum import StrEnum

MAX_DETAIL_CHARACTERS = 300


class Reason(StrEnum):
    """Codes of the quarantine table; `description` says what each means."""

    MALFORMED_ROW = "malformed_row"
    RAGGED_ROW = "ragged_row"
    UNDECODABLE_TEXT = "undecodable_text"
    FIELD_TOO_LONG = "field_too_long"
    MISSING_LISTING_ID = "missing_listing_id"
    INVALID_LISTING_ID = "invalid_listing_id"
    DUPLICATE_LISTING_ID = "duplicate_listing_id"
    HELD_OUT_ELSEWHERE = "held_out_elsewhere"
    MISSING_LABEL = "missing_label"
    MISSING_TITLE = "missing_title"
    TITLE_TOO_LONG = "title_too_long"
    MISSING_IMAGE_PATH = "missing_image_path"
    IMAGE_REMOTE = "image_remote"
    IMAGE_OUTSIDE_ROOT = "image_outside_root"
    IMAGE_NOT_FOUND = "image_not_found"
    IMAGE_NOT_FETCHED = "image_not_fetched"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_UNREADABLE = "image_unreadable"

    @property
    def description(self) -> str:
        """One sentence on what is wrong with such a row."""
        return DESCRIPTIONS[self]

    @property
    def concerns_photo(self) -> bool:
        """Whether it is the photo that is missing or bad, so that there is none to show."""
        return self.value.startswith("image_") or self is Reason.MISSING_IMAGE_PATH


DESCRIPTIONS: dict[Reason, str] = {
    Reason.MALFORMED_ROW: "The row cannot be parsed: broken quoting or JSON, or a line of over 16 MiB.",
    Reason.RAGGED_ROW: "The row has more or fewer fields than the header.",
    Reason.UNDECODABLE_TEXT: "A text of the row is not valid in the table's encoding, or holds a NUL.",
    Reason.FIELD_TOO_LONG: "A field has over 131,072 characters.",
    Reason.MISSING_LISTING_ID: "The listing id is empty.",
    Reason.INVALID_LISTING_ID: (
        "The listing id has control characters or over 256 characters, or cannot name the photo it must name."
    ),
    Reason.DUPLICATE_LISTING_ID: "An earlier row with this listing id was kept; the first valid row stays.",
    Reason.HELD_OUT_ELSEWHERE: "The training row's id or product is also in a held-out file.",
    Reason.MISSING_LABEL: "The row is held out and has no label: nothing could be relevant to it.",
    Reason.MISSING_TITLE: "The title is empty or has no visible character.",
    Reason.TITLE_TOO_LONG: "The title is longer than catalog.max_title_characters.",
    Reason.MISSING_IMAGE_PATH: "The row states no photo.",
    Reason.IMAGE_REMOTE: "The photo is a URL that catalog.source.allow_remote does not allow.",
    Reason.IMAGE_OUTSIDE_ROOT: "The photo's path, or a link on it, leaves the root of the photos.",
    Reason.IMAGE_NOT_FOUND: "There is no such file under the root of the photos.",
    Reason.IMAGE_NOT_FETCHED: "The photo's server gave an error, or no answer, three times.",
    Reason.IMAGE_TOO_LARGE: "The photo has too many bytes or pixels to be decoded safely.",
    Reason.IMAGE_UNREADABLE: "The photo is empty, truncated, or not an image of a known format.",
}


@dataclass(frozen=True)
class Quarantined:
    """One row of the quarantine table."""

    row: int
    listing_id: str | None
    reason: Reason
    detail: str


class RowError(Exception):
    """Raised while one row is checked; ingest turns it into a Quarantined row."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = storable(detail)


def storable(text: str) -> str:
    """The text cut to a length, with what UTF-8 cannot hold written as escapes."""
    return text[:MAX_DETAIL_CHARACTERS].encode("utf-8", "backslashreplace").decode("utf-8")
