"""Assets of two nights with a few changes between them: what their metadata say, and what they wrote."""

from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import yaml

from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.defs.rounds.generators import generator_key
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.seeds import EVERYTHING
from afmrl_dagster.tables import Tables
from afmrl_models.config import BackboneConfig

SMALL = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=350)
PROFILE = {
    "name": "nights",
    "device": "cpu",
    "attributes": {"keys": ["type", "colour"]},
}
INDEXED = ("catalog/raw_catalog", "catalog/listings", "catalog/splits", "release/product_index")
WRITTEN = ("attributes/teacher_attributes", "round_0/product_attributes")
COUNT = 24


class House:
    """A shop, an embedder with random weights as if it had been trained and released, and its nights."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from afmrl_models.backbones.small import build_embedder
        from afmrl_models.catalog.generated import generate_catalog
        from afmrl_models.embedding.embedder import new_embedder, save_embedder

        self.shop = folder / "shop"
        generate_catalog(12, 0, self.shop, processes=1)
        self.rows = pd.read_csv(self.shop / "listings.csv", dtype=str, keep_default_na=False).head(COUNT)
        columns = {"seller": "seller", "attributes": ["type", "colour"]}
        source = {"kind": "table", "path": str(self.shop / "listings.csv"), "columns": columns}
        config = folder / "profile.yaml"
        config.write_text(yaml.safe_dump({**PROFILE, "catalog": {"source": source, "image_size": 28}}))
        self.definitions = build_definitions(config, folder / "home")
        self.pipeline = Pipeline(config_path=str(config), home=str(folder / "home"))
        titles = list(self.rows["title"])
        self.pipeline.directory(generator_key(0)).mkdir(parents=True)
        self.use_generator(1)
        base = build_embedder(SMALL, titles, 28, folder / "base", 0)
        self.embedder = folder / "embedder"
        save_embedder(new_embedder(base, SMALL, "cpu"), self.embedder)

        from afmrl_models.registry import models
        from afmrl_models.registry.promotion import trust

        champion = models.ModelVersion("nights-embedder", 1, "", str(self.embedder))
        monkeypatch.setattr(models, "get_alias", lambda *_: champion)
        monkeypatch.setattr(trust, "trusted_directory", lambda _, version: Path(version.uri))
        monkeypatch.setattr(Pipeline, "tracking", lambda _: None)

    def use_generator(self, version: int) -> None:
        from afmrl_dagster.runs import remember_version
        from afmrl_models.registry.models import ModelVersion

        directory = self.pipeline.directory(generator_key(0))
        remember_version(directory, ModelVersion("nights-generator", version, "", str(directory)))

    def night(self) -> dict[str, dict[str, int]]:
        """Counts of every asset that counts listings."""
        self.rows.to_csv(self.shop / "listings.csv", index=False)
        found = {}
        for assets in (INDEXED, WRITTEN):
            for event in self.execute(assets).get_asset_materialization_events():
                stated = event.materialization.metadata
                if "seconds" in stated:
                    kinds = ("new", "changed", "unchanged", "deleted")
                    counts = {kind: stated[f"{kind}_listings"].value for kind in kinds}
                    found[event.asset_key.to_user_string()] = counts
                    assert stated["seconds"].value > 0
        return found

    def execute(self, assets: tuple[str, ...]) -> dg.ExecuteInProcessResult:
        selection = dg.AssetSelection.assets(*(asset.split("/") for asset in assets)).without_checks()
        with dg.DagsterInstance.ephemeral() as instance:
            return self.definitions.resolve_job_def(EVERYTHING).execute_in_process(
                instance=instance,
                asset_selection=sorted(selection.resolve(self.definitions.resolve_asset_graph())),
            )


def test_two_nights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from afmrl_models.attributes.generator import AttributeGenerator, Writing
    from afmrl_models.embedding import catalog_vectors
    from afmrl_models.embedding.embedder import encode_listings, load_embedder
    from afmrl_models.retrieval.index import load_index

    house = House(tmp_path, monkeypatch)
    asked: dict[str, list[str]] = {"written": [], "embedded": []}

    class Scripted:
        def write(self, listings, *_):
            asked["written"] += list(listings["listing_id"])
            return [Writing(f"type: {title[:8]}; colour: red", True) for title in listings["title"]]

    def noted_encode(model, listings, *rest):
        asked["embedded"] += list(listings["listing_id"])
        return encode_listings(model, listings, *rest)

    monkeypatch.setattr(AttributeGenerator, "load", lambda *_: Scripted())
    monkeypatch.setattr(catalog_vectors, "encode_listings", noted_encode)

    first = house.night()
    new = {"new": COUNT, "changed": 0, "unchanged": 0, "deleted": 0}
    assert first["catalog/listings"] == first["release/product_index"] == new
    assert len(asked["embedded"]) == COUNT
    before = Tables(house.pipeline).attribute_table("round_0").set_index("listing_id")
    assert sorted(asked["written"]) == sorted(before.index)

    # Of a product in the training split, one listing changes and the other one goes.
    product = Tables(house.pipeline).of("train")["product_id"].iloc[0]
    changed, deleted = house.rows.index[house.rows["product_id"] == product][:2]
    changed_id = house.rows.loc[changed, "listing_id"]
    house.rows.loc[changed, "title"] += " and more"
    house.rows = house.rows.drop(index=deleted)
    asked["written"], asked["embedded"] = [], []
    second = house.night()
    some = {"new": 0, "changed": 1, "unchanged": COUNT - 2, "deleted": 1}
    assert second["catalog/listings"] == second["release/product_index"] == some
    assert second["round_0/product_attributes"] == {**some, "unchanged": len(before) - 2}
    assert asked == {"written": [changed_id], "embedded": [changed_id]}

    tables = Tables(house.pipeline)
    index = load_index(house.pipeline.directory(("release", "product_index")))
    assert index.ids == list(tables.listings["listing_id"]) == list(house.rows["listing_id"])
    model = load_embedder(house.embedder, "cpu")
    full = encode_listings(model, tables.listings, tables.images, "multimodal", None, 256)
    np.testing.assert_allclose(index.vectors, full, atol=2e-5)

    house.use_generator(2)
    asked["written"], asked["embedded"] = [], []
    third = house.night()
    assert len(asked["written"]) == third["round_0/product_attributes"]["changed"] == len(before) - 1
    assert asked["embedded"] == []
    assert third["catalog/listings"]["unchanged"] == COUNT - 1
