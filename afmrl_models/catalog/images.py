"""The image store: every kept photo as a square of pixels, in one memory-mapped file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from PIL import Image

from afmrl_models.catalog.errors import CatalogError

PIXELS = "pixels.npy"
IDS = "listing_ids.json"


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
    """Appends photos to a new store in a folder of its own; memory does not grow with their number."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._ids: list[str] = []

    def __enter__(self) -> Self:
        self._path.mkdir(parents=True, exist_ok=True)
        self._file = (self._path / PIXELS).open("wb")
        self._header = self._write_header()
        return self

    def add(self, listing_id: str, pixels: np.ndarray) -> None:
        """Append one photo, uint8 (size, size, 3)."""
        if pixels.shape != (self._size, self._size, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"{listing_id}: pixels of shape {pixels.shape} and type {pixels.dtype}")
        self._file.write(np.ascontiguousarray(pixels).data)
        self._ids.append(listing_id)

    def __exit__(self, *_: object) -> None:
        # NumPy's header leaves room for the first axis to grow, so that the real count fits in place.
        self._file.seek(0)
        if self._write_header() != self._header:
            raise RuntimeError("the header of the .npy file changed its length")
        self._file.close()
        (self._path / IDS).write_text(json.dumps(self._ids, ensure_ascii=False), encoding="utf-8")

    def _write_header(self) -> int:
        shape = (len(self._ids), self._size, self._size, 3)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        return self._file.tell()
