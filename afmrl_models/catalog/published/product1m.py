"""Product1M's files: lines `id#####title#####url#####url`, with `#####label#;#label` where labelled."""

from collections.abc import Iterator
from pathlib import Path

from afmrl_models.catalog.errors import CatalogError
from afmrl_models.catalog.published.entry import Entry, entry
from afmrl_models.catalog.quarantine import Reason

SEPARATOR = "#####"
LABEL_SEPARATOR = "#;#"
_MAX_LINE = 1 << 20


def read_product1m(path: Path) -> Iterator[Entry]:
    """Every line that is not blank; one that does not have four or five fields comes with its problem.

    Bytes that are not UTF-8 arrive as surrogates (PEP 383). Raises CatalogError for an unreadable file.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
            number = 0
            while text := file.readline(_MAX_LINE):
                number += 1
                if len(text) == _MAX_LINE and not text.endswith("\n"):
                    while (rest := file.readline(_MAX_LINE)) and not rest.endswith("\n"):
                        pass
                    detail = f"{path.name}: line {number} is longer than {_MAX_LINE:,} characters"
                    yield Entry(number, problem=(Reason.MALFORMED_ROW, detail))
                elif text.strip():
                    yield _entry(path, number, text.rstrip("\r\n"))
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read: {error}") from None


def _entry(path: Path, line: int, text: str) -> Entry:
    fields = text.split(SEPARATOR)
    if len(fields) not in (4, 5):
        detail = f"{path.name}: line {line}: {len(fields)} fields separated by {SEPARATOR}, not 4 or 5"
        return Entry(line, problem=(Reason.RAGGED_ROW, detail))
    return entry(line, fields[0], fields[1], fields[4].split(LABEL_SEPARATOR) if len(fields) == 5 else [])
