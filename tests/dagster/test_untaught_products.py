"""A profile with attributes.sft.share below 1: RAR reads the training products that distillation left."""

from pathlib import Path

import dagster as dg
from tiny import TINY, configured, execute

from afmrl_dagster.resources import Pipeline
from afmrl_dagster.tables import Tables
from afmrl_models.catalog.learned_from import read_record


def test_rar_reads_the_training_products_that_distillation_left(tmp_path: Path) -> None:
    sft = {**TINY["attributes"]["sft"], "share": 0.6, "key_dropout": 0.3}  # type: ignore[index]
    config = configured(tmp_path, attributes={**TINY["attributes"], "sft": sft})  # type: ignore[dict-item]
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        assert execute(config, tmp_path / "home", instance, "*round_1/attribute_generator").success
    pipeline = Pipeline(config_path=str(config), home=str(tmp_path / "home"))
    products = Tables(pipeline).of("train").set_index("listing_id")["product_id"]

    def read(number: int, what: str) -> set[str]:
        record = read_record(pipeline.directory((f"round_{number}", "attribute_generator")))
        return set(products[record["listing_id"][record["what"].str.contains(what)]])

    taught, rewarded = read(0, "distillation"), read(1, "RAR")
    assert taught and rewarded and not taught & rewarded
