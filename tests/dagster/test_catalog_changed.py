"""What starts a run by itself: a catalog that has changed and then rested; and when results count as old."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import yaml

from afmrl_dagster.catalog_changed import Seen, look
from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.freshness import FRESH, longest_pause
from afmrl_models.config import Profile, load_profile

QUIET = 60.0


class Shop:
    """A catalog in a folder, and the sensor that looks at it at times of our choosing."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, **changes: object) -> None:
        from afmrl_models.catalog.generated import generate_catalog

        self.instance, self.home, self.catalog = instance, folder / "home", folder / "catalog"
        generate_catalog(8, 0, self.catalog, processes=1)
        self.table = self.catalog / "listings.csv"
        self.config = folder / "shop.yaml"
        source = {"kind": "table", "path": str(self.table)}
        document = {"name": "shop", "catalog": {"source": source, "image_size": 28}}
        document |= {"catalog_changed": {"quiet": QUIET}, **changes}
        self.config.write_text(yaml.safe_dump(document), encoding="utf-8")
        self.profile = load_profile(self.config)
        self.definitions = build_definitions(self.config, self.home)
        self.seen: Seen | None = None

    def read(self) -> None:
        """A run that reads the catalog."""
        job = "everything" if len(self.profile.seeds) == 1 else "shared"
        done = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance, asset_selection=[dg.AssetKey(["catalog", "raw_catalog"])]
        )
        assert done.success

    def change(self, text: str = "and more") -> None:
        lines = self.table.read_text(encoding="utf-8").splitlines()
        lines[1] = lines[1].replace(",", f" {text},", 1)
        self.table.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def look(self, now: float) -> str | None:
        why, self.seen = look(self.profile, self.home, self.instance, self.seen, now)
        return why


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_a_change_starts_one_run_once_it_has_rested(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    shop = Shop(tmp_path, instance)
    shop.read()
    assert shop.look(1000) == "the catalog is as the last run has read it"
    shop.change()
    assert shop.look(1300) == "the catalog has changed and rests for 0 of 60 s"
    shop.change("as the export goes on")
    assert shop.look(1350) == "the catalog has changed and rests for 0 of 60 s"
    assert shop.look(1400) == "the catalog has changed and rests for 50 of 60 s"
    assert shop.look(1411) is None
    assert str(shop.look(1500)).startswith("a run was started for this catalog (")
    shop.read()
    assert shop.look(1600) == "the catalog is as the last run has read it"


def test_a_changed_photo_is_a_change_and_going_back_is_none(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    shop = Shop(tmp_path, instance)
    shop.read()
    photo = next(path for path in sorted(shop.catalog.rglob("*")) if path.suffix in (".png", ".jpg"))
    before = photo.read_bytes()
    photo.write_bytes(before + b"\0")
    assert "has changed" in str(shop.look(1000))
    photo.write_bytes(before)
    assert shop.look(1100) == "the catalog is as the last run has read it"


def test_nothing_starts_while_a_run_is_under_way_nor_while_the_table_is_missing(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    shop = Shop(tmp_path, instance)
    run = instance.add_run(dg.DagsterRun(job_name="everything", status=dg.DagsterRunStatus.STARTED))
    assert shop.look(1000) == f"run {run.run_id[:8]} (everything) is under way"
    instance.delete_run(run.run_id)
    shop.look(1000)
    table = shop.table.rename(shop.table.with_suffix(".new"))
    assert str(shop.look(1030)).startswith("the catalog cannot be read now: ")
    table.rename(shop.table)
    assert shop.look(1070) == "the catalog has changed and rests for 0 of 60 s"
    assert shop.look(1131) is None


def test_a_long_look_is_repeated_less_often(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    shop = Shop(tmp_path, instance)
    shop.seen = Seen("x", 0, looked=1000, took=40)
    assert shop.look(1700) == "the last look took 40 s; the next one is in 100 s"
    assert "has changed" in str(shop.look(1801))


def test_a_generated_catalog_never_changes(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    profile = Profile.model_validate({"name": "mine", "catalog": {"source": {"kind": "generated"}}})
    assert look(profile, tmp_path, instance, None, 0) == ("the generated catalog never changes", None)


@pytest.mark.parametrize(("seeds", "job"), [([0], "everything"), ([0, 1], "shared")])
def test_the_sensor_requests_the_first_stage_of_a_night_and_is_off_until_switched_on(
    tmp_path: Path, instance: dg.DagsterInstance, seeds: list[int], job: str
) -> None:
    shop = Shop(tmp_path, instance, seeds=seeds, catalog_changed={"quiet": 0})
    sensor = shop.definitions.resolve_sensor_def("catalog_changed")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED and sensor.job_name == job
    tick = sensor.evaluate_tick(dg.build_sensor_context(instance))
    (request,) = tick.run_requests
    assert "afmrl/night" in request.tags
    later = json.dumps({**json.loads(str(tick.cursor)), "looked": 0})
    again = sensor.evaluate_tick(dg.build_sensor_context(instance, cursor=later))
    assert not again.run_requests
    assert str(again.skip_message).startswith("a run was started for this catalog (")


@pytest.mark.parametrize(("schedule", "days"), [("0 3 * * *", 1), ("30 2 * * 1-5", 3), ("0 3 * * 0", 7)])
def test_the_longest_pause_of_a_schedule(schedule: str, days: int) -> None:
    document = {"name": "mine", "schedule": schedule, "catalog": {"source": {"kind": "generated"}}}
    assert longest_pause(Profile.model_validate(document)) == timedelta(days=days)


def test_what_the_business_uses_has_a_freshness_policy(tmp_path: Path) -> None:
    config = tmp_path / "mine.yaml"
    config.write_text("name: mine\ncatalog: {source: {kind: generated}}\n", encoding="utf-8")
    specs = {tuple(s.key.path): s for s in build_definitions(config, tmp_path).resolve_all_asset_specs()}
    with_policy = {key: spec.freshness_policy for key, spec in specs.items() if spec.freshness_policy}
    assert set(with_policy) == FRESH
    for policy in with_policy.values():
        assert policy.warn_window.to_timedelta() == timedelta(hours=30)
        assert policy.fail_window.to_timedelta() == timedelta(hours=48)


@pytest.mark.parametrize(("seeds", "job"), [([0], "everything"), ([0, 1], "shared")])
def test_a_night_begins_when_no_run_is_under_way(tmp_path: Path, seeds: list[int], job: str) -> None:
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        nightly = Shop(tmp_path, instance, seeds=seeds).definitions.resolve_schedule_def("nightly")

        def reason() -> str | None:
            return nightly.evaluate_tick(dg.build_schedule_context(instance)).skip_message

        assert nightly.job_name == job
        (request,) = nightly.evaluate_tick(dg.build_schedule_context(instance)).run_requests
        assert request.tags["afmrl/night"] == "begins"
        run = instance.add_run(dg.DagsterRun(job_name="round_0", status=dg.DagsterRunStatus.STARTED))
        assert reason() == f"run {run.run_id[:8]} (round_0) is under way"
        instance.report_run_canceled(run)
        assert reason() is None
        other = {"afmrl/profile": "another"}
        instance.add_run(dg.DagsterRun(job_name="seeds", status=dg.DagsterRunStatus.STARTED, tags=other))
        assert reason() is None, "another profile's runs write elsewhere"
