"""The frozen evaluation set over nights in which the catalog changes."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from afmrl_models.catalog import CatalogError, split_products
from afmrl_models.catalog.evaluation_set import (
    EvaluationSet,
    demand_photo_size,
    freeze_evaluation_set,
    open_evaluation_set,
)
from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.catalog.learned_from import leaks
from afmrl_models.config import SplitsConfig

SIZE = 28
CONFIG = SplitsConfig(test=0.2, validation=0.1)


def catalog(products: range, offers: int = 2) -> pd.DataFrame:
    rows = [(f"l{p}-{o}", f"p{p}") for p in products for o in range(offers)]
    frame = pd.DataFrame(rows, columns=["listing_id", "product_id"], dtype=object)
    nothing = pd.Series([None] * len(frame), dtype=object)
    others = ("description", "category", "seller", "attributes", "labels")
    return frame.assign(
        title=frame["listing_id"],
        image_path=frame["listing_id"],
        content_hash="hash of " + frame["listing_id"],
        **dict.fromkeys(others, nothing),
    )


@pytest.fixture
def frozen(tmp_path: Path) -> EvaluationSet:
    listings = catalog(range(100))
    rng = np.random.default_rng(0)
    with ImageStoreWriter(tmp_path / "images", SIZE) as writer:
        for listing_id in listings["listing_id"]:
            writer.add(listing_id, rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8))
    (tmp_path / "set").mkdir()
    splits = split_products(listings, CONFIG)
    freeze_evaluation_set(listings, splits, ImageStore.open(tmp_path / "images"), tmp_path / "set")
    found = open_evaluation_set(tmp_path / "set")
    assert found is not None
    return found


def test_it_is_the_test_split_with_its_photos(frozen: EvaluationSet, tmp_path: Path) -> None:
    splits = split_products(catalog(range(100)), CONFIG)
    held = splits[splits["split"] == "test"].reset_index(drop=True)
    pd.testing.assert_frame_equal(frozen.splits.reset_index(drop=True), held)
    assert set(frozen.queries["listing_id"]) == set(held.loc[held["role"] == "query", "listing_id"])
    ids = list(frozen.listings["listing_id"])
    store = ImageStore.open(tmp_path / "images")
    np.testing.assert_array_equal(frozen.images.pixels(ids), store.pixels(ids))
    assert open_evaluation_set(tmp_path / "none") is None


@pytest.mark.parametrize("tonight", [range(40), range(400), range(95, 300)])
def test_its_products_are_never_dealt_to_training(frozen: EvaluationSet, tonight: range) -> None:
    """Whatever the dealing would be: another seed, more products, most of them gone."""
    listings = catalog(tonight, offers=3)
    dealt = split_products(listings, CONFIG.model_copy(update={"seed": 7}), frozen.listings)
    split_of = dict(zip(dealt["listing_id"], dealt["split"], strict=True))
    products = set(frozen.listings["product_id"])
    held = listings[listings["product_id"].isin(products)]["listing_id"]
    assert {split_of[listing_id] for listing_id in held} <= {"test"}
    assert {"train", "validation"} <= set(dealt["split"])
    assert frozen.holds(listings) == set(held)


def test_a_listing_given_to_another_product_keeps_both_out_of_training(frozen: EvaluationSet) -> None:
    listings = catalog(range(100))
    first = frozen.listings.iloc[0]
    other = next(p for p in listings["product_id"] if p not in set(frozen.listings["product_id"]))
    listings.loc[listings["listing_id"] == first["listing_id"], "product_id"] = other
    dealt = split_products(listings, CONFIG, frozen.listings).merge(listings, on="listing_id")
    assert set(dealt.loc[dealt["product_id"].isin([other, first["product_id"]]), "split"]) == {"test"}


def test_a_set_that_leaves_nothing_to_learn_from_is_refused(frozen: EvaluationSet) -> None:
    few = frozen.listings[frozen.listings["product_id"].isin(frozen.listings["product_id"].unique()[:5])]
    with pytest.raises(CatalogError, match="5 of 5 products are in the frozen evaluation set"):
        split_products(few, CONFIG, frozen.listings)


def test_learning_from_its_products_is_a_leak_even_where_the_splits_allow_it(frozen: EvaluationSet) -> None:
    listings = catalog(range(100), offers=3)
    splits = pd.DataFrame({"listing_id": listings["listing_id"], "split": "train", "role": None})
    product = frozen.listings.iloc[0]["product_id"]
    new_offer, gone = f"l{product[1:]}-2", frozen.listings.iloc[-1]["listing_id"]
    free = next(i for i in listings["listing_id"] if i not in frozen.holds(listings))
    listings = listings[listings["product_id"] != frozen.listings.iloc[-1]["product_id"]]
    record = pd.DataFrame({"listing_id": [free, new_offer, gone], "what": "training pairs"})
    assert leaks(record.head(2), listings, splits).empty
    found = leaks(record, listings, splits, frozen)
    assert list(found["listing_id"]) == [new_offer, gone]
    assert set(found["split"]) == {"frozen evaluation"}


def test_what_the_catalog_has_made_of_it_is_counted(frozen: EvaluationSet) -> None:
    listings = catalog(range(100))
    ids = list(frozen.listings["listing_id"])
    listings.loc[listings["listing_id"] == ids[0], "content_hash"] = "another"
    listings = listings[listings["listing_id"] != ids[1]]
    counts = {"unchanged": len(ids) - 2, "changed_in_the_catalog": 1, "gone_from_the_catalog": 1}
    assert frozen.drift(listings) == counts


def test_a_damaged_set_and_photos_of_another_size_are_refused(frozen: EvaluationSet, tmp_path: Path) -> None:
    demand_photo_size(frozen, SIZE)
    with pytest.raises(CatalogError, match=r"catalog\.image_size is 56.*photos of 28 pixels"):
        demand_photo_size(frozen, 56)
    pixels = tmp_path / "set" / "images" / "pixels.npy"
    content = pixels.read_bytes()
    pixels.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CatalogError, match="is not what was frozen on"):
        open_evaluation_set(tmp_path / "set")
    about = json.loads((tmp_path / "set" / "about.json").read_text())
    (tmp_path / "set" / "about.json").write_text(json.dumps({**about, "digest": "0"}))
    pixels.write_bytes(content)
    with pytest.raises(CatalogError, match="is not what was frozen on"):
        open_evaluation_set(tmp_path / "set")
    (tmp_path / "set" / "about.json").unlink()
    with pytest.raises(CatalogError, match="cannot be read"):
        open_evaluation_set(tmp_path / "set")
