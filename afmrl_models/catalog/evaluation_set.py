"""The frozen evaluation set: what promotion judges on stays the same while the catalog changes.

A copy of the test split of one night: its listings, roles and photos, with a digest. Later nights never train
on its products, and judge on it even where the catalog has changed or lost the listings.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from afmrl_models.catalog.errors import CatalogError
from afmrl_models.catalog.images import PIXELS, ImageStore, ImageStoreWriter
from afmrl_models.catalog.schema import LISTINGS, SPLITS, read_table, write_table
from afmrl_models.catalog.splits import QUERY, TEST, listings_of_the_same_products

_LISTINGS, _SPLITS, _ABOUT, _PHOTOS = "listings.parquet", "splits.parquet", "about.json", "images"
RENEW = "freeze a new one with `afmrl freeze-evaluation`"


@dataclass(frozen=True)
class EvaluationSet:
    """Listings, their roles (`splits`, all of the test split) and photos, as they were at `frozen_at`."""

    listings: pd.DataFrame
    splits: pd.DataFrame
    images: ImageStore
    digest: str
    frozen_at: str

    @property
    def queries(self) -> pd.DataFrame:
        """The listings that are searched with."""
        asked = self.splits.loc[self.splits["role"] == QUERY, "listing_id"]
        return self.listings[self.listings["listing_id"].isin(set(asked))].reset_index(drop=True)

    def holds(self, listings: pd.DataFrame) -> set[str]:
        """Ids of those listings whose product is in the set: nothing may learn from them."""
        return listings_of_the_same_products(listings, self.listings)

    def drift(self, listings: pd.DataFrame) -> dict[str, int]:
        """How many of its listings the catalog still shows as they were, shows otherwise, or has lost."""
        content = dict(zip(listings["listing_id"], listings["content_hash"], strict=True))
        now = self.listings["listing_id"].map(content.get)
        same, lost = now == self.listings["content_hash"], now.isna()
        return {
            "unchanged": int(same.sum()),
            "changed_in_the_catalog": int((~same & ~lost).sum()),
            "gone_from_the_catalog": int(lost.sum()),
        }


def freeze_evaluation_set(
    listings: pd.DataFrame, splits: pd.DataFrame, images: ImageStore, out: Path
) -> None:
    """Copy the test split into the empty folder `out`. Raises CatalogError where it is empty."""
    held = splits[(splits["split"] == TEST) & splits["listing_id"].isin(set(listings["listing_id"]))]
    frozen = listings[listings["listing_id"].isin(set(held["listing_id"]))].reset_index(drop=True)
    if frozen.empty:
        raise CatalogError("evaluation set: the test split has no listing; materialize catalog/splits")
    write_table(frozen, LISTINGS, out / _LISTINGS)
    write_table(held, SPLITS, out / _SPLITS)
    with ImageStoreWriter(out / _PHOTOS, images.size) as writer:
        for listing_id in frozen["listing_id"]:
            writer.add(listing_id, images.pixels([listing_id])[0])
    about = {
        "digest": _digest(frozen, held, images.size),
        "pixels": _sha256(out / _PHOTOS / PIXELS),
        "frozen_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    (out / _ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")


def open_evaluation_set(folder: Path) -> EvaluationSet | None:
    """The set in `folder`, None where none was frozen yet. Raises CatalogError where it is damaged."""
    return _open(folder) if folder.exists() else None


def demand_photo_size(frozen: EvaluationSet, size: int) -> None:
    """Raise CatalogError where the profile now asks for photos of another size than the frozen ones."""
    if frozen.images.size != size:
        raise CatalogError(
            f"catalog.image_size is {size}, but the evaluation set was frozen with photos of "
            f"{frozen.images.size} pixels: {RENEW}"
        )


def _open(folder: Path) -> EvaluationSet:
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        listings, splits = read_table(folder / _LISTINGS), read_table(folder / _SPLITS)
        images = ImageStore.open(folder / _PHOTOS)
        whole = _digest(listings, splits, images.size) == about["digest"]
        whole = whole and _sha256(folder / _PHOTOS / PIXELS) == about["pixels"]
        found = EvaluationSet(listings, splits, images, about["digest"], about["frozen_at"])
    except (OSError, ValueError, KeyError, CatalogError) as error:
        raise CatalogError(f"{folder}: the evaluation set cannot be read ({error}): {RENEW}") from None
    if not whole:
        raise CatalogError(
            f"{folder}: the evaluation set is not what was frozen on {about['frozen_at']}: restore it, "
            f"or {RENEW}"
        )
    return found


def _digest(listings: pd.DataFrame, splits: pd.DataFrame, size: int) -> str:
    """12 hexadecimal digits over the listings' contents (texts and photos), their roles, the photos' size."""
    content = dict(zip(listings["listing_id"], listings["content_hash"], strict=True))
    rows = sorted(
        f"{listing_id} {content[listing_id]} {role}"
        for listing_id, role in zip(splits["listing_id"], splits["role"], strict=True)
    )
    return hashlib.sha256("\n".join([str(size), *rows]).encode()).hexdigest()[:12]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
