"""Several seeds are partitions: what is trained exists once for each, and the night trains them all."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.seeds import NIGHT_TAG, RELEASE, SEEDS, SHARED, is_seeded, partition_of, seed_of
from afmrl_dagster.settings import settings_digest
from afmrl_models.config import Profile

MINIMAL = {"name": "mine", "catalog": {"source": {"kind": "generated", "products": 8}}}


def profile(**changes: object) -> Profile:
    return Profile.model_validate({**MINIMAL, **changes})


def written(folder: Path, **changes: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}), encoding="utf-8")
    return path


@pytest.fixture
def definitions(tmp_path: Path) -> dg.Definitions:
    return build_definitions(written(tmp_path, seeds=[0, 7]), tmp_path)


def test_a_partition_is_named_after_its_seed() -> None:
    assert partition_of(12) == "seed_12"
    assert seed_of(partition_of(12)) == 12


def test_what_is_trained_has_a_partition_a_seed_and_nothing_else_has(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        found = graph.get(key).partitions_def
        if key.path[0] in {"catalog", "attributes", "release"}:
            assert found is None, key
        else:
            assert found is not None and found.get_partition_keys() == ["seed_0", "seed_7"], key


def test_a_check_has_the_partitions_of_its_asset(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    assert graph.asset_check_keys
    for check in graph.asset_check_keys:
        assert graph.get(check).partitions_def == graph.get(check.asset_key).partitions_def, check


def test_one_seed_needs_no_partitions(tmp_path: Path) -> None:
    graph = build_definitions(written(tmp_path, seeds=[3]), tmp_path).resolve_asset_graph()
    assert not any(graph.get(key).partitions_def for key in graph.get_all_asset_keys())


def test_three_jobs_hold_every_asset_once(definitions: dg.Definitions) -> None:
    held = [
        key
        for name in (SHARED, SEEDS, RELEASE)
        for key in definitions.resolve_job_def(name).asset_layer.executable_asset_keys
    ]
    assert sorted(held) == sorted(definitions.resolve_asset_graph().get_all_asset_keys())
    assert definitions.resolve_job_def(SEEDS).partitions_def.get_partition_keys() == ["seed_0", "seed_7"]


def night(definitions: dg.Definitions, instance: dg.DagsterInstance, sensor: str, run: dg.DagsterRun) -> list:
    event = dg.DagsterEvent("PIPELINE_SUCCESS", run.job_name)
    context = dg.build_run_status_sensor_context(
        sensor_name=sensor, dagster_event=event, dagster_instance=instance, dagster_run=run
    )
    return list(definitions.resolve_sensor_def(sensor)(context) or [])


def finished(instance: dg.DagsterInstance, job: str, tags: dict[str, str], success: bool) -> dg.DagsterRun:
    status = dg.DagsterRunStatus.SUCCESS if success else dg.DagsterRunStatus.FAILURE
    return instance.add_run(dg.DagsterRun(job_name=job, tags=tags, status=status))


def test_the_night_goes_from_the_catalog_over_each_seed_to_the_release(definitions: dg.Definitions) -> None:
    schedule = definitions.resolve_schedule_def("nightly")
    assert (schedule.job_name, schedule.default_status) == (SHARED, dg.DefaultScheduleStatus.STOPPED)
    with dg.DagsterInstance.ephemeral() as instance:
        begun = finished(instance, SHARED, {NIGHT_TAG: "begins"}, True)
        requests = night(definitions, instance, "nightly_seeds", begun)
        assert [request.partition_key for request in requests] == ["seed_0", "seed_7"]
        tags = [{**request.tags, "dagster/partition": request.partition_key} for request in requests]

        first = finished(instance, SEEDS, tags[0], True)
        failed = finished(instance, SEEDS, tags[1], False)
        assert night(definitions, instance, "nightly_release", first) == []
        assert failed.status == dg.DagsterRunStatus.FAILURE
        again = finished(instance, SEEDS, tags[1], True)
        assert len(night(definitions, instance, "nightly_release", again)) == 1


def test_a_persons_own_runs_start_nothing(definitions: dg.Definitions) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        own = finished(instance, SHARED, {}, True)
        assert night(definitions, instance, "nightly_seeds", own) == []
        own = finished(instance, SEEDS, {"dagster/partition": "seed_0"}, True)
        assert night(definitions, instance, "nightly_release", own) == []


def test_a_seeds_outputs_lie_in_its_own_folder(tmp_path: Path) -> None:
    pipeline = Pipeline(config_path=str(written(tmp_path, seeds=[0, 7])), home=str(tmp_path))
    seven = pipeline.of_seed(7)
    assert seven.seed == 7
    assert seven.directory(("round_0", "embedder")) == tmp_path / "mine" / "seed_7" / "round_0" / "embedder"
    assert seven.scratch(("round_0", "embedder")).is_relative_to(tmp_path / "mine" / "seed_7" / "scratch")
    for shared in (("catalog", "listings"), ("attributes", "teacher_attributes"), ("release", "ablation")):
        assert pipeline.directory(shared) == seven.directory(shared) == tmp_path / "mine" / Path(*shared)
    with pytest.raises(dg.Failure, match="for all seeds"):
        pipeline.directory(("round_0", "embedder"))


def test_one_seed_has_no_folder_of_its_own(tmp_path: Path) -> None:
    pipeline = Pipeline(config_path=str(written(tmp_path, seeds=[3])), home=str(tmp_path))
    assert pipeline.seed == 3
    assert pipeline.directory(("round_0", "embedder")) == tmp_path / "mine" / "round_0" / "embedder"


KEYS = [
    ("catalog", "raw_catalog"),
    ("catalog", "splits"),
    ("models", "base_embedder"),
    ("attributes", "teacher_attributes"),
    ("round_0", "product_attributes"),
    ("round_0", "embedder"),
    ("round_0", "retrieval_metrics"),
    ("release", "ablation"),
    ("release", "product_index"),
    ("release", "identical_products"),
]
RELEASED = [name for group, name in KEYS if group == "release"]


@pytest.mark.parametrize(
    ("changes", "stale"),
    [
        ({"name": "yours", "schedule": "0 4 * * *", "cpu_threads": 2, "device": "cpu"}, []),
        ({"seeds": [0, 1]}, RELEASED),
        ({"rounds": 2}, RELEASED),
        ({"identical_products": {"neighbours": 3}}, ["identical_products"]),
        ({"product_index": {"kind": "flat"}}, ["product_index", "identical_products"]),
        ({"splits": {"seed": 1}}, [name for _, name in KEYS if name != "raw_catalog"]),
        ({"evaluation": {"ks": [1, 2]}}, ["retrieval_metrics", *RELEASED]),
        (
            {"evaluation": {"enrich": ["query", "both"]}},
            [name for group, name in KEYS if group != "catalog"],
        ),
        (
            {"expectations": [{"name": "rows", "expect": "row_count", "description": "some", "min": 2}]},
            ["product_attributes", *RELEASED],
        ),
        (
            {"training": {"steps": 5}},
            [name for group, name in KEYS if group != "catalog"],
        ),
    ],
)
def test_changed_settings_make_stale_what_depends_on_them(changes: dict, stale: list[str]) -> None:
    before, after = profile(), profile(**changes)
    assert [key[-1] for key in KEYS if settings_digest(before, key) != settings_digest(after, key)] == stale


@pytest.mark.parametrize("key", KEYS)
def test_adding_a_seed_leaves_seeded_outputs_seeded(key: tuple[str, str]) -> None:
    assert is_seeded(profile(seeds=[0, 1]), key) == is_seeded(profile(seeds=[0, 1, 2]), key)
    assert not is_seeded(profile(seeds=[4]), key)
