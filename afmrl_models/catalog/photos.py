"""Where the photos of a table are: a folder that no path may leave."""

import errno
import os
import re
import stat
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from afmrl_models.catalog.quarantine import Reason, RowError

MAX_BYTES = 64 * 2**20
_REMOTE = re.compile(r"(?i)^(?:[a-z][a-z0-9+.-]*://|//|data:)")
# Strings, not Path objects: this runs once a photo, and Path costs more than opening the file.
# A pipe or a device named as a photo must not block the run.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)


class Photos(Protocol):
    """Reads the photos that the rows of a table name."""

    def read(self, stated: str) -> bytes:
        """The photo's bytes. Raises RowError with one of the image_* reasons."""

    def size(self, stated: str) -> int:
        """Bytes of the photo as its place states them, -1 where there is none; nothing is read."""

    @property
    def waits(self) -> bool:
        """Whether reading waits for a network: more photos than cores are then read at once."""


class PhotoFolder:
    """Photos in a local folder.

    A path may be absolute if it lies under the folder; '..' and symbolic links may not leave it. The
    folder itself may be a link.
    """

    waits = False

    def __init__(self, root: Path) -> None:
        self._top = os.path.normpath(root.absolute())
        self._below = self._top.rstrip(os.sep) + os.sep
        self._real = os.path.realpath(self._top)
        # A folder is resolved once, not for each of its photos.
        self._leads_inside = lru_cache(maxsize=4096)(self._resolves_inside)

    def read(self, stated: str) -> bytes:
        """The bytes of a regular file of at most 64 MiB."""
        if is_remote(stated):
            raise RowError(Reason.IMAGE_REMOTE, stated)
        try:
            return self._read(self._place(stated), stated)
        except FileNotFoundError:
            raise RowError(Reason.IMAGE_NOT_FOUND, f"no file {stated!r} in {self._top!r}") from None
        except PermissionError as error:
            raise RowError(Reason.IMAGE_UNREADABLE, f"{stated!r}: {error.strerror}") from None
        except (OSError, ValueError) as error:  # name too long, a null byte in it, a loop of links, …
            raise RowError(Reason.IMAGE_NOT_FOUND, f"{stated!r}: {error}") from None

    def size(self, stated: str) -> int:
        """Bytes of the file; -1 if there is none, or if it lies outside."""
        try:
            return os.stat(self._place(stated)).st_size  # noqa: PTH116
        except (OSError, ValueError, RowError):
            return -1

    def _place(self, stated: str) -> str:
        """The path below the folder; '..' is resolved as text, before the file system is asked."""
        path = os.path.normpath(os.path.join(self._top, stated))  # noqa: PTH118
        if path == self._top:
            raise RowError(Reason.IMAGE_NOT_FOUND, f"{stated!r} is the root of the photos itself")
        if not path.startswith(self._below):
            raise RowError(Reason.IMAGE_OUTSIDE_ROOT, f"{stated!r} leaves the root of the photos")
        if not self._leads_inside(os.path.dirname(path)):  # noqa: PTH120
            raise RowError(Reason.IMAGE_OUTSIDE_ROOT, f"{stated!r} follows a link out of the root")
        return path

    def _resolves_inside(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._real or real.startswith(self._real.rstrip(os.sep) + os.sep)

    def _read(self, path: str, stated: str) -> bytes:
        try:
            file = os.open(path, _FLAGS | _NOFOLLOW)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            if not self._resolves_inside(path):
                raise RowError(Reason.IMAGE_OUTSIDE_ROOT, f"{stated!r} is a link out of the root") from None
            file = os.open(path, _FLAGS)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                raise RowError(Reason.IMAGE_NOT_FOUND, f"{stated!r} is not a file")
            check_bytes(status.st_size, stated)
            data = os.read(file, status.st_size + 1)
            while len(data) < status.st_size and (more := os.read(file, status.st_size - len(data))):
                data += more
            return data
        finally:
            os.close(file)


def is_remote(stated: str) -> bool:
    """Whether a stated place is a URL of any kind, not a path."""
    return _REMOTE.match(stated) is not None


def check_bytes(count: int, stated: str) -> None:
    """Raises RowError (image_too_large) for more bytes than a photo has."""
    if count > MAX_BYTES:
        raise RowError(Reason.IMAGE_TOO_LARGE, f"{stated!r}: {count:,} bytes, at most {MAX_BYTES:,}")
