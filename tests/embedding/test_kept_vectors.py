"""A night embeds what is new; kept vectors are bit for bit the same, and nothing damaged is trusted."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from afmrl_models.embedding import catalog_vectors
from afmrl_models.embedding.catalog_vectors import CatalogVectors, embed_catalog
from afmrl_models.embedding.embedder import encode_listings, new_embedder
from afmrl_models.embedding.kept_vectors import KeptVectors, vector_key
from afmrl_models.retrieval.calibration import calibrate
from afmrl_models.retrieval.identical import group_identical
from afmrl_models.retrieval.links import mutual_links
from afmrl_models.retrieval.search import Gallery

# What vectors of one listing may differ by when it shared a batch with others (see docs/scale.md).
ROUNDING = 2e-5


@pytest.fixture(scope="module")
def model(small_catalog):
    return new_embedder(small_catalog.base, small_catalog.backbone, "cpu")


@pytest.fixture(scope="module")
def listings(small_catalog) -> pd.DataFrame:
    return small_catalog.listings.assign(
        content_hash=[f"hash-{i}" for i in small_catalog.listings.listing_id]
    )


class Nights:
    """Embeds catalogs one after the other into one folder, and notes which listings were embedded."""

    def __init__(self, model, catalog, folder: Path) -> None:
        self.model, self.catalog, self.folder = model, catalog, folder
        self.embedded: list[str] = []
        self.loaded = 0

    def embed(self, listings, attributes=None, modality="multimodal", version="m/1") -> CatalogVectors:
        def load():
            self.loaded += 1
            return self.model

        return embed_catalog(
            load, listings, self.catalog.images, modality, attributes, 5, version, self.folder
        )


@pytest.fixture
def nights(model, small_catalog, tmp_path, monkeypatch) -> Nights:
    nights = Nights(model, small_catalog, tmp_path / "vectors")

    def noted(model, listings, *rest):
        nights.embedded += list(listings["listing_id"])
        return encode_listings(model, listings, *rest)

    monkeypatch.setattr(catalog_vectors, "encode_listings", noted)
    return nights


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_only_new_and_changed_listings_are_embedded_and_deleted_ones_are_gone(
    nights, listings, small_catalog
):
    first = nights.embed(listings)
    assert not first.kept.any() and nights.embedded == list(listings["listing_id"])
    np.testing.assert_array_equal(
        first.vectors,
        encode_listings(nights.model, listings, small_catalog.images, "multimodal", None, 5),
    )
    tonight = listings.iloc[3:].iloc[::-1].reset_index(drop=True)
    tonight.loc[4, ["title", "content_hash"]] = ["another title", "changed"]
    nights.embedded.clear()
    second = nights.embed(tonight)
    assert nights.embedded == [tonight["listing_id"][4]]
    assert second.kept.tolist() == [row != 4 for row in range(len(tonight))]
    same = [row for row in range(len(tonight)) if row != 4]
    np.testing.assert_array_equal(second.vectors[same], first.vectors[3:][::-1][same])
    full = encode_listings(nights.model, tonight, small_catalog.images, "multimodal", None, 5)
    np.testing.assert_allclose(second.vectors, full, atol=ROUNDING)
    assert len(KeptVectors(nights.folder, ["m/1", "multimodal", "56"])) == len(tonight)
    assert len(files(nights.folder)) == 1


def test_nothing_new_needs_no_model(nights, listings):
    first = nights.embed(listings)
    left = files(nights.folder)
    again = nights.embed(listings)
    assert again.kept.all() and nights.loaded == 1
    np.testing.assert_array_equal(again.vectors, first.vectors)
    assert files(nights.folder) == left


@pytest.mark.parametrize(
    "changed",
    [{"version": "m/2"}, {"modality": "text"}, {"attributes": {"mug-red-0": "colour: red"}}],
)
def test_whatever_decides_a_vector_is_part_of_its_key(nights, listings, changed):
    nights.embed(listings)
    nights.embedded.clear()
    nights.embed(listings, **changed)
    assert nights.embedded == (["mug-red-0"] if "attributes" in changed else list(listings["listing_id"]))
    assert len(files(nights.folder)) == 1


@pytest.mark.parametrize("harm", ["flipped", "cut", "emptied"])
def test_damaged_vectors_are_embedded_again(nights, listings, harm, caplog):
    first = nights.embed(listings)
    [path] = files(nights.folder)
    data = bytearray(path.read_bytes())
    data[-7] ^= 1
    path.write_bytes({"flipped": bytes(data), "cut": bytes(data[:-9]), "emptied": b""}[harm])
    with caplog.at_level(logging.WARNING):
        again = nights.embed(listings)
    assert f"{path} is damaged" in caplog.text
    assert not again.kept.any()
    np.testing.assert_array_equal(again.vectors, first.vectors)


def test_a_stopped_run_resumes(nights, listings, monkeypatch):
    monkeypatch.setattr(catalog_vectors, "_LISTINGS_A_FILE", 10)
    noted = catalog_vectors.encode_listings

    def stopped(model, part, *rest):
        if len(nights.embedded) >= 20:
            raise KeyboardInterrupt
        return noted(model, part, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(catalog_vectors, "encode_listings", stopped)
        with pytest.raises(KeyboardInterrupt):
            nights.embed(listings)
    nights.embedded.clear()
    resumed = nights.embed(listings)
    assert nights.embedded == list(listings["listing_id"][20:])
    assert resumed.kept.sum() == 20 and len(files(nights.folder)) == 1


def test_the_groups_are_those_of_a_full_run(nights, listings, small_catalog, tmp_path):
    nights.embed(listings.iloc[:18])
    incremental = nights.embed(listings).vectors
    nights.folder = tmp_path / "full"
    full = nights.embed(listings).vectors

    def groups(vectors):
        gallery = Gallery(vectors, list(listings["listing_id"]))
        links = mutual_links(gallery, 5)
        products = list(listings["product_id"])
        calibration = calibrate(links, products, np.ones(len(products), dtype=bool), 0.05)
        return calibration, group_identical(gallery, links, calibration.threshold).groups

    (ours, found), (theirs, expected) = groups(incremental), groups(full)
    assert len(found) > 0
    assert found[["group_id", "listing_id"]].equals(expected[["group_id", "listing_id"]])
    assert [row[1:] for row in ours.reachable] == [row[1:] for row in theirs.reachable]


def test_no_listings_and_unknown_keys(nights, listings):
    nights.embed(listings)
    none = nights.embed(listings.iloc[:0])
    assert none.vectors.shape == (0, 32) and len(none.kept) == 0
    assert not files(nights.folder)
    kept = KeptVectors(nights.folder, ["m/1", "multimodal", "56"])
    with pytest.raises(KeyError):
        kept.vectors([vector_key("nothing", None)])
    assert vector_key("a", None) != vector_key("a", "None") != vector_key("a", "")
