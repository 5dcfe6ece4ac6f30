"""Photos for people come from the catalog itself, and from the store where it has them no more."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.catalog.large_photos import LargePhotos, local_originals
from afmrl_models.catalog.photos import PhotoFolder
from afmrl_models.config import CatalogConfig


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    with ImageStoreWriter(tmp_path / "store", 28) as writer:
        for listing_id in ("a", "b", "c"):
            writer.add(listing_id, np.zeros((28, 28, 3), dtype=np.uint8))
    return ImageStore.open(tmp_path / "store")


def test_the_original_is_fitted_into_a_larger_square(store: ImageStore, tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), "red").save(tmp_path / "a.png")
    (tmp_path / "c.png").write_bytes(b"damaged since")
    paths = {"a": "a.png", "b": "gone.png", "c": "c.png"}
    photos = LargePhotos(store, paths, PhotoFolder(tmp_path), 80)
    large = np.asarray(photos.get("a"))
    assert large.shape == (80, 80, 3) and large[40, 40].tolist() == [255, 0, 0]
    assert large[2, 2].tolist() == [255, 255, 255]
    for listing_id in ("b", "c"):
        assert photos.get(listing_id).size == (28, 28)
    with pytest.raises(KeyError, match="nobody"):
        photos.get("nobody")


def test_the_store_s_own_is_taken_where_it_is_no_smaller_or_alone(store: ImageStore, tmp_path: Path) -> None:
    Image.new("RGB", (400, 200), "red").save(tmp_path / "a.png")
    for photos in (
        LargePhotos(store, {"a": "a.png"}, PhotoFolder(tmp_path), 28),
        LargePhotos(store, {"a": "a.png"}, None, 80),
        LargePhotos(store, {"a": "../../etc/hosts"}, PhotoFolder(tmp_path), 80),
    ):
        assert np.asarray(photos.get("a")).max() == 0


def test_where_the_photos_of_a_catalog_lie(tmp_path: Path) -> None:
    def originals(source: dict) -> PhotoFolder | None:
        return local_originals(CatalogConfig.model_validate({"source": source}), tmp_path / "raw")

    table = tmp_path / "listings.csv"
    table.write_text("listing_id,title,image\n", encoding="utf-8")
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    stated = originals({"kind": "table", "path": str(table)})
    assert stated is not None and stated.read("photo.jpg") == b"photo"
    assert originals({"kind": "table", "path": str(tmp_path / "nowhere.csv")}) is None
    url = {"path": "https://shop.example/listings.csv", "allow_remote": ["https://shop.example/"]}
    assert originals({"kind": "table", **url}) is None
    assert originals({"kind": "generated", "products": 9}) is None, "nothing is rendered for it"
