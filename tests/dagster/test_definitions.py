"""The code location: its keys, job and schedule are an agreement; it loads without heavy libraries."""

import json
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.project import shipped_profile
from afmrl_models.config import load_profile
from afmrl_models.errors import UserError

KEYS = """\
attributes/teacher_attributes baseline/embedder baseline/retrieval_metrics
catalog/evaluation_set catalog/listings catalog/raw_catalog catalog/splits
models/base_embedder models/base_generator
release/ablation release/champion release/generator_quality release/identical_products release/product_index
round_0/attribute_generator round_0/embedder round_0/product_attributes round_0/retrieval_metrics
round_1/attribute_generator round_1/embedder round_1/product_attributes round_1/retrieval_metrics"""
HEAVY = [
    "torch",
    "transformers",
    "trl",
    "sentence_transformers",
    "mlflow",
    "great_expectations",
    "faiss",
    "pandas",
    "sklearn",
]


@pytest.fixture
def definitions(tmp_path: Path) -> dg.Definitions:
    return build_definitions(shipped_profile("demo"), tmp_path)


def test_asset_keys_are_stable(definitions: dg.Definitions) -> None:
    keys = definitions.resolve_asset_graph().get_all_asset_keys()
    assert sorted(key.to_user_string() for key in keys) == sorted(KEYS.split())


def test_every_asset_is_described_grouped_by_its_prefix_and_of_a_kind(definitions: dg.Definitions) -> None:
    for spec in definitions.resolve_all_asset_specs():
        assert spec.description, spec.key
        assert spec.group_name == spec.key.path[0]
        assert spec.kinds, spec.key
        assert len(spec.description) > 60, f"{spec.key} says too little for a newcomer"
        assert list(spec.owners) == ["team:catalog"]
        assert spec.tags["afmrl/makes"] in {"table", "model", "judgement"}


def test_owners_come_from_the_profile_and_are_of_a_form_that_dagster_takes(tmp_path: Path) -> None:
    config = tmp_path / "owned.yaml"
    plain = "name: owned\ncatalog: {source: {kind: generated}}\nowners: [%s]\n"
    config.write_text(plain % "a.person@shop.example", encoding="utf-8")
    specs = build_definitions(config, tmp_path).resolve_all_asset_specs()
    assert {owner for spec in specs for owner in spec.owners} == {"a.person@shop.example"}
    config.write_text(plain % "somebody", encoding="utf-8")
    with pytest.raises(UserError, match="owners"):
        build_definitions(config, tmp_path)


def test_checks_that_guard_a_step_block_it(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    checks = {(key.asset_key.to_user_string(), key.name) for key in graph.asset_check_keys}
    assert {
        ("catalog/listings", "rows_accounted"),
        ("catalog/splits", "products_in_one_split"),
        ("round_0/product_attributes", "validity_rate"),
        ("round_1/product_attributes", "row_count"),
        ("release/product_index", "vectors_are_sound"),
    } <= checks
    warn = {key.name for key in graph.asset_check_keys if not graph.get(key).blocking}
    profile = load_profile(shipped_profile("demo"))
    warnings = {entry.name for entry in profile.expectations if entry.severity == "warning"}
    assert warnings and warn == warnings | {"versions_are_sound", "equal_budget"}


def test_one_job_for_everything_and_a_nightly_schedule_that_is_off(definitions: dg.Definitions) -> None:
    job = definitions.resolve_job_def("everything")
    assert len(job.asset_layer.executable_asset_keys) == len(KEYS.split())
    schedule = definitions.resolve_schedule_def("nightly")
    assert schedule.cron_schedule == "0 3 * * *"
    assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_further_rounds_are_unrolled_and_each_has_a_job_with_its_checks(tmp_path: Path) -> None:
    config = tmp_path / "three.yaml"
    config.write_text("name: three\nrounds: 3\ncatalog: {source: {kind: generated}}\n", encoding="utf-8")
    definitions = build_definitions(config, tmp_path)
    graph = definitions.resolve_asset_graph()
    for number in range(4):
        layer = definitions.resolve_job_def(f"round_{number}").asset_layer
        group = {key for key in graph.get_all_asset_keys() if key.path[0] == f"round_{number}"}
        assert layer.executable_asset_keys == group and len(group) == 4
        assert {key for key in graph.asset_check_keys if key.asset_key in group} == set(
            layer.asset_graph.asset_check_keys
        )
    third = graph.get(dg.AssetKey(["round_3", "attribute_generator"]))
    assert {key.to_user_string() for key in third.parent_keys} == {
        "round_2/attribute_generator",
        "round_2/product_attributes",
        "round_2/embedder",
    }


def test_the_code_location_loads_without_heavy_libraries() -> None:
    program = f"import sys, afmrl_dagster.definitions; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_code_location_adds_at_most_60_percent_to_importing_dagster() -> None:
    program = (
        "import time; start = time.process_time(); import dagster; first = time.process_time()\n"
        "import afmrl_dagster.definitions; print([first - start, time.process_time() - first])"
    )
    shares = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        dagster_seconds, own_seconds = json.loads(done.stdout)
        shares.append(own_seconds / dagster_seconds)
    assert min(shares) <= 0.6


def test_a_bad_profile_is_a_message_not_a_trace(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("name: bad\nepochs: 3\ncatalog: {source: {kind: generated}}\n", encoding="utf-8")
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "afmrl_dagster", "run", "--config", str(config)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "bad.yaml" in done.stderr and "epochs" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 30
