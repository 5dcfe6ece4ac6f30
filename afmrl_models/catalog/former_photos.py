"""Photos that an earlier run has decoded, found by the hash of their bytes.

Beside the pixels of a store lies its ledger: of each photo the sha256 of the bytes it was decoded from, and
a checksum of its pixels. The ledger's name has the decoder's version: another decoder finds no ledger.
"""

import hashlib
import logging
import zlib
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import numpy as np

from afmrl_models.catalog.decoding import decode
from afmrl_models.catalog.images import PIXELS, Photo, ledger_name

_LOG = logging.getLogger(__name__)

_SOURCES = ("decoding.py", "jpeg.py")
_LIBRARIES = ("numpy", "pillow", "simplejpeg", "torch")


@cache
def decoder_version() -> str:
    """16 digits of the sha256 of all that decides a photo's pixels: our sources, the libraries' versions."""
    digest = hashlib.sha256()
    for source in _SOURCES:
        digest.update(files("afmrl_models.catalog").joinpath(source).read_bytes() + b"\0")
    digest.update(" ".join(f"{library} {version(library)}" for library in _LIBRARIES).encode())
    return digest.hexdigest()[:16]


class FormerPhotos:
    """The decoded photos of the store in `folder`; none if it is not there, or cannot be trusted.

    A store of another size or decoder is left alone. One that is cut off or does not fit its ledger is
    reported and not used; a photo whose pixels do not have the noted checksum is decoded again. Threads may
    share it. Memory: 16 bytes a photo, the rest is mapped.
    """

    def __init__(self, folder: Path | None, size: int) -> None:
        self._keys = np.zeros(0, dtype=np.uint64)
        ledger = None if folder is None else folder / ledger_name(decoder_version())
        if folder is None or ledger is None or not ledger.is_file():
            return
        try:
            self._pixels = np.asarray(np.load(folder / PIXELS, mmap_mode="r"))
            self._ledger = np.asarray(np.load(ledger, mmap_mode="r"))
        except (OSError, EOFError, ValueError) as error:
            _LOG.warning("%s cannot be read; its photos are decoded again: %s", folder, error)
            return
        if len(self._pixels) != len(self._ledger):
            _LOG.warning(
                "%s: %d photos, its ledger has %d; all are decoded again",
                folder,
                len(self._pixels),
                len(self._ledger),
            )
            return
        if self._pixels.shape[1:] != (size, size, 3):
            return
        keys = np.frombuffer(np.ascontiguousarray(self._ledger["source"][:, :8]), dtype=np.uint64)
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._folder = folder

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, source: bytes) -> Photo | None:
        """The photo decoded from bytes with this sha256; its pixels are the stored ones, not a copy."""
        key = np.frombuffer(source[:8], dtype=np.uint64)[0]
        place = int(self._keys.searchsorted(key))
        while place < len(self._keys) and self._keys[place] == key:
            row = int(self._order[place])
            noted = self._ledger[row]
            if noted["source"].tobytes() == source:
                pixels = self._pixels[row]
                checksum = zlib.crc32(pixels.data)
                if checksum == noted["checksum"]:
                    return Photo(pixels, source, checksum, decoded=False)
                _LOG.warning("%s: photo %d is damaged and is decoded again", self._folder, row)
            place += 1
        return None


def decoded_once(image: bytes, size: int, former: FormerPhotos) -> Photo:
    """The photo, decoded now unless an earlier run has decoded the same bytes. Raises as `decode` does."""
    source = hashlib.sha256(image).digest()
    found = former.find(source)
    if found is not None:
        return found
    pixels = decode(image, size)
    return Photo(pixels, source, zlib.crc32(pixels.data), decoded=True)
