"""What a night has handed over, opened as a whole: the index, its listings, their photos, the groups."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.inline_photo import jpeg
from afmrl_models.catalog.large_photos import PHOTO_EDGE, LargePhotos, local_originals
from afmrl_models.catalog.schema import read_table
from afmrl_models.config import CatalogConfig
from afmrl_models.errors import UserError
from afmrl_models.retrieval.calibration import CALIBRATION, Calibration
from afmrl_models.retrieval.identical import GROUPS
from afmrl_models.retrieval.index import ABOUT, IndexFileError, ProductIndex, load_index
from afmrl_models.serving.answers import GroupMember, IndexFacts, ListingFacts

logger = logging.getLogger(__name__)

_PHOTOS_KEPT = 4096
_TRIES = 3
_FACTS = ["listing_id", "product_id", "title", "description", "category", "seller", "attributes"]

Stamp = tuple[tuple[int, int, int] | None, ...]


class UnknownIdError(UserError):
    """A listing or a group that is not in the index; the message names it."""


@dataclass(frozen=True)
class Places:
    """Where the pipeline leaves what is served. identical_products need not exist."""

    product_index: Path
    identical_products: Path
    listings: Path
    raw_catalog: Path
    catalog: CatalogConfig

    def stamp(self) -> Stamp:
        """Another one once the index, or the groups, were replaced."""
        return tuple(
            _identity(path) for path in (self.product_index / ABOUT, self.identical_products / CALIBRATION)
        )


@dataclass(frozen=True)
class Released:
    """One state of what is served; later nights do not change it.

    listings: the columns of `ListingFacts`. groups: as `release/identical_products` writes
    them. calibration: None where it is of another model than the index, or was never made.
    """

    index: ProductIndex
    listings: pd.DataFrame
    photos: LargePhotos
    groups: pd.DataFrame
    calibration: Calibration | None
    built_at: float
    stamp: Stamp

    @cached_property
    def group_of(self) -> Mapping[str, str]:
        """The group of each grouped listing."""
        return dict(zip(self.groups["listing_id"], self.groups["group_id"], strict=True))

    @cached_property
    def _listing_row(self) -> Mapping[str, int]:
        return {listing_id: row for row, listing_id in enumerate(self.listings["listing_id"])}

    @cached_property
    def _stated(self) -> Mapping[str, np.ndarray]:
        return {name: self.listings[name].to_numpy(dtype=object) for name in _FACTS}

    def __contains__(self, listing_id: object) -> bool:
        return listing_id in self.index.row_of and listing_id in self._listing_row

    @cached_property
    def jpeg_of(self) -> Callable[[str], bytes]:
        """A listing's photo as JPEG; those last asked for are kept. Raises UnknownIdError."""

        @lru_cache(maxsize=_PHOTOS_KEPT)
        def encoded(listing_id: str) -> bytes:
            if listing_id not in self or listing_id not in self.photos:
                raise UnknownIdError(f"listing {listing_id!r} is not in the index")
            return jpeg(self.photos.get(listing_id))

        return encoded

    def facts(self, listing_id: str) -> ListingFacts:
        """What the catalog says of a listing. Raises UnknownIdError."""
        if listing_id not in self:
            raise UnknownIdError(f"listing {listing_id!r} is not in the index")
        row = self._listing_row[listing_id]
        stated = {name: column[row] for name, column in self._stated.items()}
        return ListingFacts(group_id=self.group_of.get(listing_id), **stated)

    def some(self, count: int) -> list[ListingFacts]:
        """Listings from all over the index, always the same."""
        every = max(1, len(self.index.ids) // count)
        chosen = [listing_id for listing_id in self.index.ids[::every] if listing_id in self]
        return [self.facts(listing_id) for listing_id in chosen[:count]]

    def members(self, group_id: str) -> list[GroupMember]:
        """The listings of a group, the surest first. Raises UnknownIdError."""
        rows = self.groups[self.groups["group_id"] == group_id]
        if rows.empty:
            raise UnknownIdError(f"there is no group {group_id!r}")
        rows = rows.sort_values(["score", "listing_id"], ascending=[False, True])
        return [
            GroupMember(
                **self.facts(row["listing_id"]).model_dump(),
                score=row["score"],
                confidence=row["confidence"],
                reviewed=row["reviewed"],
            )
            for row in rows.to_dict("records")
            if row["listing_id"] in self
        ]

    @cached_property
    def about(self) -> IndexFacts:
        """Whose vectors the index holds, of how many listings, and how it is searched."""
        index = self.index
        return IndexFacts(
            embedder=index.origin.embedder,
            embedder_digest=index.origin.embedder_digest,
            generator=index.origin.generator,
            generator_digest=index.origin.generator_digest,
            listings=len(index),
            dimensions=int(index.vectors.shape[1]),
            recipe=index.recipe.factory,
            exact=index.recipe.exact,
            built_at=pd.Timestamp(self.built_at, unit="s", tz="UTC").isoformat(timespec="seconds"),
            groups=int(self.groups["group_id"].nunique()),
            grouped_listings=len(self.groups),
            calibrated=self.calibration is not None,
        )


def open_released(places: Places, device: str = "cpu") -> Released:
    """Open what lies there now; what a night replaces meanwhile is opened again.

    Raises IndexFileError, CatalogError or UserError naming the file that cannot be used.
    """
    for attempt in range(1, _TRIES + 1):
        stamp = places.stamp()
        try:
            opened = _open(places, stamp, device)
        except (IndexFileError, OSError):
            if attempt == _TRIES or places.stamp() == stamp:
                raise
            continue
        if places.stamp() == stamp:
            return opened
    raise IndexFileError(f"{places.product_index}: is being replaced again and again")


def _open(places: Places, stamp: Stamp, device: str) -> Released:
    index = load_index(places.product_index, device)
    stated = read_table(places.listings / "listings.parquet", [*_FACTS, "image_path"])
    paths = dict(zip(stated["listing_id"], stated.pop("image_path"), strict=True))
    missing = sum(listing_id not in paths for listing_id in index.ids)
    if missing:
        logger.warning("%d listings of the index have left the catalog since: they are not found", missing)
    photos = LargePhotos(
        ImageStore.open(places.listings / "images"),
        paths,
        local_originals(places.catalog, places.raw_catalog),
        PHOTO_EDGE,
    )
    groups, calibration = _grouped(places.identical_products, index)
    return Released(
        index, stated, photos, groups, calibration, (places.product_index / ABOUT).stat().st_mtime, stamp
    )


def _grouped(folder: Path, index: ProductIndex) -> tuple[pd.DataFrame, Calibration | None]:
    if not (folder / CALIBRATION).is_file():
        columns = ["group_id", "listing_id", "score", "reviewed", "confidence"]
        return pd.DataFrame(columns=columns), None
    calibration = Calibration.load(folder)
    groups = pd.read_parquet(folder / GROUPS)
    if calibration.embedder_digest != index.origin.embedder_digest:
        logger.warning("%s is of another model than the index: no confidences until it is made anew", folder)
        return groups, None
    return groups, calibration


def _identity(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
