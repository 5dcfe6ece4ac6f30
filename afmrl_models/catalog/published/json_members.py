"""The members of one large JSON object, read one at a time in memory that does not grow."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from afmrl_models.catalog.errors import CatalogError

_CHUNK = 1 << 17
_MAX_MEMBER = 1 << 22
_SPACE = re.compile(r"[ \t\r\n]*")


def json_members(path: Path) -> Iterator[tuple[int, str, Any]]:
    """Line (from 1), key and value of every member of the file's one object, in its order; repeated keys too.

    Raises CatalogError, naming line and character, where the file is no JSON object or breaks off, and for a
    member of over 4 million characters. Bytes that are not UTF-8 arrive as surrogates (PEP 383).
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield from _Window(path, file).members()
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read: {error}") from None


class _Window:
    """The part of the text that is being parsed, and where in the file it starts."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._at = 0
        self._line = 1  # of the character at `_counted`
        self._counted = 0
        self._characters = 0

    def members(self) -> Iterator[tuple[int, str, Any]]:
        if self._next() != "{":
            raise self._error(f"an object {{id: {{title, label, url}}}} in UTF-8 is expected{self._seen()}")
        self._at += 1
        closing = self._next() == "}"
        while not closing:
            line, key, value, end = self._member()
            yield line, key, value
            closing = self._text[end] == "}"
            self._at = end if closing else end + 1
        self._at += 1
        if self._next():
            raise self._error(f"text after the end of the object{self._seen()}")

    def _member(self) -> tuple[int, str, Any, int]:
        """Line, key, value, and where the comma or bracket behind them stands."""
        while True:
            self._next()
            self._count()
            try:
                key, value, end = self._parse()
                return self._line, key, value, end
            except RecursionError:
                raise self._error("nested too deeply") from None
            except ValueError as error:
                # Either the member is broken or it goes on behind the window, which only more text can tell.
                if len(self._text) - self._at > _MAX_MEMBER:
                    size = f"no entry ends within {_MAX_MEMBER:,} characters"
                    raise self._error(f"{size}: {getattr(error, 'msg', error)}") from None
                if not self._refill():
                    where = getattr(error, "pos", self._at)
                    raise self._error(str(getattr(error, "msg", error)), where) from None

    def _parse(self) -> tuple[str, Any, int]:
        text = self._text
        if text[self._at : self._at + 1] != '"':
            raise json.JSONDecodeError("a quoted id is expected", text, self._at)
        key, at = self._decoder.raw_decode(text, self._at)
        at = self._after_space(at)
        if text[at : at + 1] != ":":
            raise json.JSONDecodeError("a colon is expected", text, at)
        value, at = self._decoder.raw_decode(text, self._after_space(at + 1))
        at = self._after_space(at)
        if text[at : at + 1] not in (",", "}"):
            raise json.JSONDecodeError("a comma or a closing bracket is expected", text, at)
        return key, value, at

    def _next(self) -> str:
        """Go to the next character that is no space, and return it; "" at the end of the file."""
        while True:
            self._at = self._after_space(self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._refill():
                return ""

    def _after_space(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return at if found is None else found.end()

    def _refill(self) -> bool:
        """Drop what is behind, append the next piece of the file; False at its end."""
        more = self._file.read(max(_CHUNK, len(self._text) - self._at))
        if not more:
            return False
        self._count()
        self._characters += self._at
        self._text = self._text[self._at :] + more
        self._at = self._counted = 0
        return True

    def _count(self) -> None:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at

    def _seen(self) -> str:
        return f", not {self._text[self._at]!r}" if self._at < len(self._text) else ": the file is empty"

    def _error(self, what: str, at: int | None = None) -> CatalogError:
        at = self._at if at is None else at
        line = self._line + self._text.count("\n", self._counted, at)
        place = f"line {line} (character {self._characters + at + 1:,})"
        return CatalogError(f"{self._path}: {place}: not JSON of this form: {what}")
