"""M5Product's files: one JSON object, `{"<id>": {"title": …, "label": …, "url": …}, …}`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from afmrl_models.catalog.published.entry import Entry, entry
from afmrl_models.catalog.published.json_members import json_members
from afmrl_models.catalog.quarantine import Reason


def read_m5product(path: Path) -> Iterator[Entry]:
    """Every member of the object, one at a time; a member of another form comes with its problem.

    Raises CatalogError, naming the line, for a file that is not one JSON object.
    """
    for line, listing_id, value in json_members(path):
        problem = _problem(value)
        if problem is not None:
            yield Entry(
                line, listing_id, problem=(Reason.MALFORMED_ROW, f"{path.name}: line {line}: {problem}")
            )
            continue
        title, label = value.get("title"), value.get("label")
        labels = label if isinstance(label, list) else [label]
        yield entry(line, listing_id, None if title is None else str(title), labels)


def _problem(value: Any) -> str | None:
    if not isinstance(value, dict):
        return f"an object with title and label is expected, this is {type(value).__name__}"
    for key, stated in (("title", value.get("title")), ("label", value.get("label"))):
        several = stated if key == "label" and isinstance(stated, list) else [stated]
        for one in several:
            if isinstance(one, bool) or not isinstance(one, str | int | float | None):
                return f"{key!r} is no text but {type(one).__name__}"
    return None
