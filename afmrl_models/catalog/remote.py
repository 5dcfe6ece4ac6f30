"""Tables and photos behind URLs: read through fsspec, only below the prefixes the profile allows."""

import hashlib
import posixpath
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import fsspec

from afmrl_models.catalog.errors import CatalogError
from afmrl_models.catalog.photos import MAX_BYTES, check_bytes, is_remote
from afmrl_models.catalog.quarantine import Reason, RowError

_TRIES = 3
_SECONDS = 60
_WEB = ("http", "https")


class RemotePhotos:
    """Photos below a root (a URL), or rows' own URLs below one of the allowed prefixes.

    Redirects are not followed: they could lead anywhere. '..' may not leave the root or the prefix.
    """

    waits = True

    def __init__(self, root: str | None, allowed: Sequence[str]) -> None:
        self._root = None if root is None else root.rstrip("/") + "/"
        self._allowed = allowed

    def read(self, stated: str) -> bytes:
        """At most 64 MiB from the URL; three tries before it is given up."""
        url = self._place(stated)
        for attempt in range(_TRIES):
            try:
                return self._fetch(url, stated)
            except RowError:
                raise
            except Exception as error:  # every file system behind fsspec has its own
                if _is_absent(error):
                    raise RowError(Reason.IMAGE_NOT_FOUND, f"nothing at {url}") from None
                if attempt + 1 == _TRIES:
                    detail = f"{url}: {type(error).__name__}: {error.__cause__ or error}"
                    raise RowError(Reason.IMAGE_NOT_FETCHED, detail) from None
        raise AssertionError("unreachable")

    def size(self, stated: str) -> int:
        """Always -1: no server is asked; a changed photo behind its old URL shows at the next ingest."""
        return -1

    def _place(self, stated: str) -> str:
        if is_remote(stated):
            if not is_allowed(stated, self._allowed):
                raise RowError(Reason.IMAGE_REMOTE, stated)
            return stated
        if self._root is None:
            raise RowError(Reason.IMAGE_NOT_FOUND, f"{stated!r} is no URL, and there is no root of photos")
        path = posixpath.normpath(stated)
        if path.startswith(("/", "../")) or path in ("..", "."):
            raise RowError(Reason.IMAGE_OUTSIDE_ROOT, f"{stated!r} leaves the root of the photos")
        if not is_allowed(self._root + path, [self._root]):
            raise RowError(Reason.IMAGE_OUTSIDE_ROOT, f"{stated!r} leaves the root of the photos")
        return self._root + path

    def _fetch(self, url: str, stated: str) -> bytes:
        system, path = _file_system(url)
        with system.open(path, "rb", **_streamed(url)) as file:
            data: bytes = file.read(MAX_BYTES + 1)
        check_bytes(len(data), stated)
        return data


class LocalOrRemotePhotos:
    """A local folder whose table may also state URLs that the profile allows."""

    waits = True

    def __init__(self, folder: Any, remote: RemotePhotos) -> None:
        self._folder = folder
        self._remote = remote

    def read(self, stated: str) -> bytes:
        """From the folder, or from the URL."""
        photos = self._remote if is_remote(stated) else self._folder
        data: bytes = photos.read(stated)
        return data

    def size(self, stated: str) -> int:
        """Of a file in the folder; -1 for a URL."""
        return -1 if is_remote(stated) else int(self._folder.size(stated))


def is_allowed(url: str, prefixes: Sequence[str]) -> bool:
    """Whether the URL lies below a prefix: same scheme, same host, and a path that no '..' leads out."""
    parts = urlsplit(url)
    path = posixpath.normpath(unquote(parts.path) or "/")
    if "\\" in url or "@" in parts.netloc or any(ord(character) < 33 for character in url):
        return False
    for prefix in prefixes:
        wanted = urlsplit(prefix)
        top = wanted.path.rstrip("/")
        same = (parts.scheme.lower(), parts.netloc.lower()) == (wanted.scheme.lower(), wanted.netloc.lower())
        if same and (path == top or path.startswith(top + "/")):
            return True
    return False


def fetch_table(url: str, workdir: Path) -> Path:
    """A copy of the table in `workdir`, fetched anew each time it is opened, under its own name.

    Raises CatalogError naming the URL.
    """
    name = posixpath.basename(urlsplit(url).path)
    if not name:
        raise CatalogError(
            f"{url}: a URL of a table names a file, such as listings.csv (catalog.source.path)"
        )
    folder = workdir / f"remote-{hashlib.sha256(url.encode()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{name}.partial"
    try:
        system, path = _file_system(url)
        with (
            system.open(path, "rb", **({"block_size": 0} if _is_web(url) else {})) as file,
            partial.open("wb") as copy,
        ):
            shutil.copyfileobj(file, copy, 1 << 20)
    except Exception as error:  # every file system behind fsspec has its own
        if _is_absent(error):
            raise CatalogError(f"{url}: no such file (catalog.source.path)") from error
        detail = f"{type(error).__name__}: {error.__cause__ or error}"
        raise CatalogError(f"{url}: cannot be read: {detail}") from error
    return partial.replace(folder / name)


def _file_system(url: str) -> tuple[Any, str]:
    if not _is_web(url):
        system, path = fsspec.core.url_to_fs(url)
        return system, path
    import aiohttp

    timeout = {"timeout": aiohttp.ClientTimeout(total=_SECONDS)}
    return fsspec.filesystem("http", client_kwargs=timeout, allow_redirects=False), url


def _is_absent(error: Exception) -> bool:
    """Whether there is nothing at the URL; fsspec calls every failed request of the web so."""
    status = getattr(error.__cause__, "status", 404 if error.__cause__ is None else None)
    return isinstance(error, FileNotFoundError) and status in (404, 410)


def _streamed(url: str) -> dict[str, int]:
    """What keeps fsspec from asking an HTTP server for ranges, which many do not know."""
    return {"block_size": 0} if _is_web(url) else {}


def _is_web(url: str) -> bool:
    return urlsplit(url).scheme.lower() in _WEB
