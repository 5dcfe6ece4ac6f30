"""The files of a published benchmark as one catalog: held-out files first, then the training files."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import pandas as pd

from afmrl_models.catalog.errors import CatalogError
from afmrl_models.catalog.photos import PhotoFolder
from afmrl_models.catalog.published.entry import Entry
from afmrl_models.catalog.published.m5product import read_m5product
from afmrl_models.catalog.published.product1m import read_product1m
from afmrl_models.catalog.quarantine import Reason
from afmrl_models.catalog.raw_rows import RawRow
from afmrl_models.config import ColumnMapping, M5ProductSource, PublishedSource

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
# What a set of labels is called as a product: listings that show the same products are the same.
_BUNDLE = "#;#"


@dataclass(frozen=True)
class PublishedCatalog:
    """Files that exist (see `open_published`); `limit` is the number of entries read from each."""

    table: Path
    images_root: Path
    source: PublishedSource
    limit: int | None = None

    @cached_property
    def photos(self) -> PhotoFolder:
        """Reads the photos below `images_root`."""
        return PhotoFolder(self.images_root)

    @property
    def columns(self) -> ColumnMapping:
        """The names under which `rows` gives its values."""
        return ColumnMapping(
            product_id="product" if self._by_product else None,
            category=None if self._by_product else "category",
            labels="labels" if self._by_product else None,
        )

    def count_rows(self) -> int:
        """How many rows `rows` yields."""
        return sum(1 for _ in self._entries())

    def digest(self) -> str:
        """sha256 of the files' names, roles and bytes, and of the name and size of every photo they name."""
        stated = self.source.model_dump_json(exclude={"path", "images"})
        digest = hashlib.sha256(f"{stated} {self.limit}\n".encode())
        for name in self._files():
            with (self.table / name).open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        for raw in self.rows():
            if isinstance(raw.image, str):
                size = self.photos.size(raw.image)
                digest.update(f"{raw.image}\0{size}\n".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def rows(self) -> Iterator[RawRow]:
        """All entries; a listing that equal entries of two held-out files state is one row.

        Raises CatalogError for a training entry whose id or product is held out, unless they are quarantined.
        """
        for row, entry in enumerate(self._entries(), start=1):
            values: dict[str, object] = {"listing_id": entry.listing_id, "title": entry.title}
            if self._by_product:
                values |= {"product": _BUNDLE.join(sorted(entry.labels)), "labels": list(entry.labels)}
            else:
                values["category"] = entry.labels[0] if entry.labels else None
            image = None if entry.problem or entry.listing_id is None else self._photo(entry.listing_id)
            yield RawRow(row, values, image, entry.problem)

    def held_out(self) -> pd.DataFrame:
        """`listing_id`, `split` and `role` as the held-out files say; a listing may have several roles."""
        rows: dict[tuple[str, str, str], None] = {}
        for name, roles in self._files().items():
            for entry in self._read(name) if roles else ():
                if entry.listing_id is not None:
                    rows |= dict.fromkeys((entry.listing_id, *role) for role in roles)
        return pd.DataFrame(list(rows), columns=["listing_id", "split", "role"], dtype=object)

    @property
    def _by_product(self) -> bool:
        return not isinstance(self.source, M5ProductSource) or self.source.label == "product"

    def _files(self) -> dict[str, list[tuple[str, str]]]:
        """File name to its (split, role)s, none for a training file; in the order they are read."""
        files: dict[str, list[tuple[str, str]]] = {}
        for split, held_out in (("test", self.source.test), ("validation", self.source.validation)):
            if held_out is not None:
                files.setdefault(held_out.gallery, []).append((split, "gallery"))
                files.setdefault(held_out.query, []).append((split, "query"))
        return files | {name: files.get(name, []) for name in self.source.train}

    def _read(self, name: str) -> Iterator[Entry]:
        read: Callable[[Path], Iterator[Entry]] = (
            read_m5product if isinstance(self.source, M5ProductSource) else read_product1m
        )
        empty = True
        for entry in islice(read(self.table / name), self.limit):
            empty = False
            yield entry
        if empty:
            raise CatalogError(f"{self.table / name}: the file has no entries")

    def _entries(self) -> Iterator[Entry]:
        held_out = _HeldOut()
        for name, roles in self._files().items():
            for entry in self._read(name):
                if roles:
                    if not held_out.add(name, entry):
                        yield self._labelled(name, entry)
                elif (clash := held_out.clash(name, entry, self._by_product)) is None:
                    yield entry
                elif self.source.overlap == "error":
                    raise CatalogError(
                        f"{self.table / name}: {clash}; training on it would leak: take it out of one of the "
                        "files, or set catalog.source.overlap to quarantine"
                    )
                else:
                    yield _with(entry, Reason.HELD_OUT_ELSEWHERE, clash)

    def _labelled(self, name: str, entry: Entry) -> Entry:
        if entry.labels or entry.problem or not self._by_product:
            return entry
        return _with(entry, Reason.MISSING_LABEL, f"{name}: line {entry.line}")

    def _photo(self, listing_id: str) -> str:
        names = [listing_id + suffix for suffix in PHOTO_SUFFIXES]
        root = self.images_root
        # pathlib's exists() raises for a name that is too long, and is slow four times a listing.
        return next((name for name in names if os.path.exists(f"{root}/{name}")), names[0])  # noqa: PTH110


class _HeldOut:
    """What the held-out files state: all that must be remembered while training files stream by."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, str | None, tuple[str, ...]]] = {}
        self._labels: dict[str, str] = {}

    def add(self, name: str, entry: Entry) -> bool:
        """Remember the entry; True if another held-out file stated the same before."""
        self._labels |= {label: name for label in entry.labels if label not in self._labels}
        if entry.listing_id is None:
            return False
        file, *stated = self._entries.setdefault(entry.listing_id, (name, entry.title, entry.labels))
        return file != name and stated == [entry.title, entry.labels]

    def clash(self, name: str, entry: Entry, by_product: bool) -> str | None:
        """How a training entry overlaps with what is held out; None if it does not."""
        if entry.listing_id in self._entries:
            file = self._entries[entry.listing_id][0]
            return f"line {entry.line}: listing {entry.listing_id!r} is also in {file}"
        shared = (
            next((label for label in entry.labels if label in self._labels), None) if by_product else None
        )
        if shared is None:
            return None
        where = self._labels[shared]
        return f"line {entry.line}: listing {entry.listing_id!r} shows {shared!r}, which is in {where}"


def _with(entry: Entry, reason: Reason, detail: str) -> Entry:
    return Entry(entry.line, entry.listing_id, entry.title, entry.labels, (reason, detail))


def open_published(source: PublishedSource, limit: int | None = None) -> PublishedCatalog:
    """The benchmark in its folder; every file the profile names must exist, and none be of two kinds.

    Raises CatalogError naming the file, the key, and the files there are.
    """
    folder = source.path
    if not folder.is_dir():
        raise CatalogError(f"{folder}: no such folder (catalog.source.path)")
    named = [(name, f"train[{position}]") for position, name in enumerate(source.train)]
    trained = set(source.train)
    for split in ("validation", "test"):
        held_out = getattr(source, split)
        for role in ("query", "gallery") if held_out else ():
            name = getattr(held_out, role)
            named.append((name, f"{split}.{role}"))
            if name in trained:
                raise CatalogError(
                    f"{folder / name}: it is both catalog.source.train and catalog.source.{split}.{role}"
                )
    for name, key in named:
        if not (folder / name).is_file():
            there = ", ".join(sorted(path.name for path in folder.iterdir() if path.is_file())) or "none"
            raise CatalogError(f"{folder / name}: no such file (catalog.source.{key}); there are: {there}")
    images = folder / "images" if source.images is None else source.images
    if not images.is_dir():
        raise CatalogError(f"{images}: no such folder of photos (catalog.source.images)")
    return PublishedCatalog(folder, images, source, limit)
