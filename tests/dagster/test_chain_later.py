"""After a finished run of the chain: another night, other settings, and what must stop it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import Chain, configured, execute, failures

from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.defs.models.assets import BASE_GENERATOR
from afmrl_dagster.tables import TEACHER, Tables
from afmrl_models.retrieval.evaluation import Evaluation


def test_a_second_night_compares_the_challenger_with_the_champion(chain: Chain) -> None:
    result = execute(chain.config, chain.home, chain.instance, "key:release/champion")
    assert failures(result) == []


def test_a_catalog_without_product_ids_is_judged_by_category_and_stops_before_rar(
    chain: Chain, tmp_path: Path
) -> None:
    (table,) = chain.pipeline.directory(("catalog", "raw_catalog")).rglob("listings.csv")
    columns = {"product_id": None, "attributes": ["type", "colour"]}
    source = {"kind": "table", "path": str(table), "columns": columns}
    config = configured(tmp_path, catalog={"source": source, "image_size": 28})
    result = execute(config, tmp_path / "home", chain.instance)
    (failure,) = failures(result)
    assert (
        failure.startswith("round_1__attribute_generator")
        and "map catalog.source.columns.product_id" in failure
    )
    pipeline = build_definitions(config, tmp_path / "home").resources["pipeline"]  # type: ignore[index]
    metrics = Evaluation.load(pipeline.directory(("baseline", "retrieval_metrics")) / "baseline")
    assert "coarse_grained/recall_at_1" in metrics.metrics
    assert "fine_grained" in metrics.left_out
    assert not [name for name in metrics.metrics if name.startswith("fine_grained")]


def test_a_test_listing_smuggled_into_a_step_is_named_and_stops_what_follows(
    chain: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    smuggled = chain.tables.of("test").iloc[0]
    honest = Tables.of

    def of(self: Tables, *splits: str, role: str | None = None) -> pd.DataFrame:
        rows = honest(self, *splits, role=role)
        return pd.concat([rows, smuggled.to_frame().T], ignore_index=True) if splits == ("train",) else rows

    home = tmp_path / "home"
    shutil.copytree(chain.home / "tiny" / "catalog", home / "tiny" / "catalog")
    monkeypatch.setattr(Tables, "of", of)
    selection = " or ".join(
        f'key:"{"/".join(key)}"' for key in (BASE_GENERATOR, TEACHER, ("round_0", "attribute_generator"))
    )
    result = execute(chain.config, home, chain.instance, selection)
    verdicts = {e.asset_key.to_user_string(): e for e in result.get_asset_check_evaluations()}
    assert set(verdicts) == {"models/base_generator", "attributes/teacher_attributes"}
    for asset, verdict in verdicts.items():
        assert not verdict.passed
        for named in (asset, smuggled["listing_id"], smuggled["product_id"], "test split"):
            assert named in verdict.description
        assert smuggled["listing_id"] in verdict.metadata["leaked"].value
    made = {e.asset_key.to_user_string() for e in result.get_asset_materialization_events()}
    assert "round_0/attribute_generator" not in made


def test_a_table_that_misses_the_grammar_is_refused_before_training(chain: Chain) -> None:
    steward = [
        {"name": "validity_rate", "expect": "texts_parse", "description": "all parse", "mostly": 1.0},
        {"name": "rows", "expect": "row_count", "description": "more than there are", "min": 100_000},
    ]
    config = configured(chain.home.parent, expectations=steward)
    before = chain.tables.attribute_table("round_0")
    selection = 'key:"round_0/product_attributes" or key:"round_0/embedder"'
    result = execute(config, chain.home, chain.instance, selection)
    verdicts = {e.check_name: e.passed for e in result.get_asset_check_evaluations()}
    assert not verdicts["rows"]
    assert not [e for e in result.get_asset_materialization_events() if e.asset_key.path[-1] == "embedder"]
    pd.testing.assert_frame_equal(chain.tables.attribute_table("round_0"), before)
    configured(chain.home.parent)


def test_an_index_whose_listings_show_attributes_holds_what_the_champion_makes_of_them(chain: Chain) -> None:
    from afmrl_models.embedding.embedder import encode_listings, load_embedder
    from afmrl_models.registry.models import get_alias, local_directory
    from afmrl_models.retrieval.index import load_index

    config = configured(chain.home.parent, evaluation={"bootstrap": 100, "enrich": ["both"]})
    shown = []
    for _ in range(2):
        result = execute(config, chain.home, chain.instance, 'key:"release/product_index"')
        assert failures(result) == []
        (event,) = result.asset_materializations_for_node("release__product_index")
        shown.append(event.metadata)
    configured(chain.home.parent)

    listings, tracking = chain.tables.listings, chain.pipeline.tracking()
    generator = get_alias(tracking, "tiny-generator", "champion")
    index = load_index(chain.pipeline.directory(("release", "product_index")))
    assert generator is not None and index.origin.generator == generator.uri
    assert f"{generator.name} version {generator.version} writes" in str(shown[0]["listings_show"].value)
    assert shown[1]["vectors_kept"].value == len(listings) == len(index.ids)

    scratch = chain.pipeline.scratch(("release", "product_index"))
    written = pd.read_parquet(scratch / "attributes.parquet").set_index("listing_id")
    assert set(written.index) == set(listings["listing_id"]) and written["valid"].any()
    texts = dict(written.loc[written["valid"], "attributes_text"])
    model = load_embedder(local_directory(tracking, "models:/tiny-embedder@champion"), "cpu")
    images = chain.tables.images
    with_texts = encode_listings(model, listings, images, "multimodal", texts, 16)
    np.testing.assert_allclose(index.vectors, with_texts, atol=2e-5)
    without = encode_listings(model, listings, images, "multimodal", None, 16)
    moved = np.abs(index.vectors - without).max(axis=1) > 1e-4
    assert moved[listings["listing_id"].isin(texts)].all()
    assert not moved[~listings["listing_id"].isin(texts)].any()
