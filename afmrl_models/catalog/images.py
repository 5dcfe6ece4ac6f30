"""The image store: every kept photo as a square of pixels, in one memory-mapped file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from PIL import Image

from afmrl_models.catalog.errors import CatalogError

PIXELS = "pixels.npy"
IDS = "listing_ids.json"
_LEDGER = np.dtype([("source", "u1", (32,)), ("checksum", "<u4")])
_BUFFER = 1 << 20


@dataclass(frozen=True, slots=True)
class Photo:
    """Pixels, uint8 (size, size, 3), the sha256 of the bytes they come from, and their own CRC-32.

    decoded: now, not by an earlier run.
    """

    pixels: np.ndarray
    source: bytes
    checksum: int
    decoded: bool


def ledger_name(decoder: str) -> str:
    """The file that notes where the pixels of a store come from, if this decoder has made them."""
    return f"photos-{decoder}.npy"


class ImageStore:
    """Photos by listing id, decoded once at ingest. Small to pickle: a worker maps the file itself."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            ids = json.loads((path / IDS).read_text(encoding="utf-8"))
            self._pixels: np.ndarray = np.load(path / PIXELS, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise CatalogError(f"{path}: no image store can be read: {error}") from None
        if len(ids) != len(self._pixels):
            raise CatalogError(f"{path}: {len(ids)} listing ids for {len(self._pixels)} photos")
        self._position = {listing_id: i for i, listing_id in enumerate(ids)}

    @classmethod
    def open(cls, path: Path) -> Self:
        """The store in folder `path`. Raises CatalogError if there is none."""
        return cls(path)

    @property
    def size(self) -> int:
        """Edge of the photos in pixels."""
        return int(self._pixels.shape[1])

    @property
    def listing_ids(self) -> list[str]:
        """Ids in the order of the pixels."""
        return list(self._position)

    def __len__(self) -> int:
        return len(self._position)

    def __contains__(self, listing_id: object) -> bool:
        return listing_id in self._position

    def get(self, listing_id: str) -> Image.Image:
        """The listing's photo, RGB, size × size. Raises KeyError for an unknown listing."""
        return Image.fromarray(np.array(self._pixels[self._at(listing_id)]))

    def pixels(self, listing_ids: Sequence[str]) -> np.ndarray:
        """uint8 (N, size, size, 3) in the order asked for; a copy. Raises KeyError for an unknown listing."""
        positions = np.fromiter((self._at(i) for i in listing_ids), dtype=np.int64, count=len(listing_ids))
        return np.asarray(self._pixels[positions])

    def _at(self, listing_id: str) -> int:
        try:
            return self._position[listing_id]
        except KeyError:
            raise KeyError(f"no photo of listing {listing_id!r} in {self.path}") from None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]


class ImageStoreWriter:
    """Appends photos to a new store in a folder of its own; memory does not grow with their number.

    decoder: who has made the pixels; None writes no ledger, so that no later run uses them again.
    """

    def __init__(self, path: Path, size: int, decoder: str | None = None) -> None:
        self._path = path
        self._size = size
        self._decoder = decoder
        self._ids: list[str] = []

    def __enter__(self) -> Self:
        self._path.mkdir(parents=True, exist_ok=True)
        self._file = (self._path / PIXELS).open("wb", buffering=_BUFFER)
        self._header = self._write_header(self._file, "|u1", (self._size, self._size, 3))
        if self._decoder is not None:
            self._ledger = (self._path / ledger_name(self._decoder)).open("wb")
            self._ledger_header = self._write_header(self._ledger, _LEDGER.descr, ())
        return self

    def add(self, listing_id: str, pixels: np.ndarray) -> None:
        """Append one photo, uint8 (size, size, 3)."""
        if pixels.shape != (self._size, self._size, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"{listing_id}: pixels of shape {pixels.shape} and type {pixels.dtype}")
        self._file.write(np.ascontiguousarray(pixels).data)
        self._ids.append(listing_id)

    def add_photo(self, listing_id: str, photo: Photo) -> None:
        """Append one photo, and note in the ledger where it comes from."""
        self.add(listing_id, photo.pixels)
        self._ledger.write(photo.source + photo.checksum.to_bytes(4, "little"))

    def __exit__(self, *_: object) -> None:
        self._close(self._file, self._header, "|u1", (self._size, self._size, 3))
        if self._decoder is not None:
            self._close(self._ledger, self._ledger_header, _LEDGER.descr, ())
        (self._path / IDS).write_text(json.dumps(self._ids, ensure_ascii=False), encoding="utf-8")

    def _close(self, file: BinaryIO, header: int, descr: Any, shape: tuple[int, ...]) -> None:
        # NumPy's header leaves room for the first axis to grow, so that the real count fits in place.
        file.seek(0)
        if self._write_header(file, descr, shape) != header:
            raise RuntimeError("the header of the .npy file changed its length")
        file.close()

    def _write_header(self, file: BinaryIO, descr: Any, shape: tuple[int, ...]) -> int:
        header = {"descr": descr, "fortran_order": False, "shape": (len(self._ids), *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        return file.tell()
