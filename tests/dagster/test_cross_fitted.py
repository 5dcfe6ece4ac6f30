"""A profile with folds has one more asset, whose texts the embedders train with."""

from pathlib import Path

import dagster as dg
from tiny import TINY, configured, execute

from afmrl_dagster.defs.leakage import LEARNED_FROM_TRAINING
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.tables import Tables
from afmrl_models.catalog.schema import read_table


def test_training_listings_have_the_texts_of_those_who_had_not_seen_them(tmp_path: Path) -> None:
    sft = {**TINY["attributes"]["sft"], "steps": 120, "folds": 2}  # type: ignore[index]
    config = configured(tmp_path, attributes={**TINY["attributes"], "sft": sft})  # type: ignore[dict-item]
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        done = execute(config, tmp_path / "home", instance, "*round_0/product_attributes")
    assert done.success
    checked = {e.asset_key.to_user_string() for e in done.get_asset_check_evaluations() if e.passed
               and e.check_name == LEARNED_FROM_TRAINING}  # fmt: skip
    assert "round_0/cross_fitted_attributes" in checked
    tables = Tables(Pipeline(config_path=str(config), home=str(tmp_path / "home")))
    tracking = tables.pipeline.tracking()
    (run,) = tracking.client.search_runs([tracking.experiment_id()], "tags.kind = 'cross_fitted_attributes'")
    assert {"fold_0/train/loss", "fold_1/train/loss", "result/accuracy/type"} <= set(run.data.metrics)
    texts = tables.attribute_table("round_0")
    crossed = read_table(
        tables.pipeline.directory(("round_0", "cross_fitted_attributes")) / "attributes.parquet"
    )
    train = set(tables.of("train")["listing_id"])
    assert set(crossed["listing_id"]) == train
    of_training = texts["listing_id"].isin(train)
    assert set(texts["generator_version"][of_training]) == set(crossed["generator_version"])
    assert all(version.startswith("tiny-generator/") for version in texts["generator_version"][~of_training])
