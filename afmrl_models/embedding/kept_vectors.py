"""Vectors on disk as they come: what a stopped run, or a later night, need not embed again."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np

logger = logging.getLogger(__name__)

_KEY_BYTES = 32


def vector_key(content_hash: str, attributes_text: str | None) -> bytes:
    """sha256 of what a vector is of: a listing's content and the attribute text beside it, None for none."""
    return hashlib.sha256(json.dumps([content_hash, attributes_text]).encode()).digest()


class KeptVectors:
    """float32 vectors under `root`, one folder a request; each vector found by its `vector_key`.

    request: whatever else decides a vector: the embedder's version, the modality, the photos' size. Each
    file is named by the sha256 of its content, written under a temporary name and renamed; one that does not
    have its sha256 is reported and not used.
    """

    def __init__(self, root: Path, request: Sequence[str]) -> None:
        self.folder = root / hashlib.sha256(json.dumps(list(request)).encode()).hexdigest()[:24]
        self._parts: list[np.ndarray] = []
        self._place: dict[bytes, tuple[int, int]] = {}
        for path in sorted(self.folder.glob("*.npy")):
            self._read(path)

    def __contains__(self, key: object) -> bool:
        return key in self._place

    def __len__(self) -> int:
        return len(self._place)

    def keep(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Write vectors (N, D) as one file."""
        part = np.empty(len(keys), dtype=_record(vectors.shape[1]))
        part["key"] = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        part["vector"] = vectors
        self._add(np.load(self._write(part), mmap_mode="r"))

    def vectors(self, keys: Sequence[bytes]) -> np.ndarray:
        """float32 (N, D) in this order; N > 0. Raises KeyError for a vector that is not kept."""
        places = np.array([self._place[key] for key in keys])
        found = np.empty((len(keys), self._parts[0]["vector"].shape[1]), dtype=np.float32)
        for number in np.unique(places[:, 0]):
            rows = places[:, 0] == number
            found[rows] = self._parts[number]["vector"][places[rows, 1]]
        return found

    def forget_all_but(self, keys: Sequence[bytes], vectors: np.ndarray) -> None:
        """Only these vectors stay, in one file; other requests' are removed, too."""
        files = set(self.folder.glob("*.npy"))
        if len(files) > 1 or len(self) > len(set(keys)):
            self._parts, self._place = [], {}
            if len(keys):
                self.keep(keys, vectors)
            for path in files - ({self._newest} if len(keys) else set()):
                path.unlink()
        for other in self.folder.parent.iterdir() if self.folder.parent.is_dir() else ():
            if other != self.folder:
                shutil.rmtree(other)

    def _write(self, part: np.ndarray) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = self.folder / f".{os.getpid()}.partial"
        with partial.open("wb") as file:
            np.save(file, part)
        self._newest = partial.replace(self.folder / f"{_sha256(partial)}.npy")
        return self._newest

    def _read(self, path: Path) -> None:
        if _sha256(path) != path.stem:
            logger.warning("%s is damaged; its vectors are embedded again", path)
            path.unlink()
            return
        self._add(np.load(path, mmap_mode="r"))

    def _add(self, part: np.ndarray) -> None:
        number = len(self._parts)
        self._parts.append(part)
        keys = np.ascontiguousarray(part["key"]).tobytes()
        for row in range(len(part)):
            self._place[keys[row * _KEY_BYTES : (row + 1) * _KEY_BYTES]] = (number, row)


def _record(dimensions: int) -> np.dtype:
    return np.dtype([("key", "u1", (_KEY_BYTES,)), ("vector", "<f4", (dimensions,))])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
