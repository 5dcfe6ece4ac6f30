"""What --resume keeps, on a chain of three assets that only leave a folder each."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml

from afmrl_dagster.resources import Pipeline
from afmrl_dagster.resume import Records
from afmrl_dagster.seeds import partitions
from afmrl_dagster.settings import settings_digest
from afmrl_models.config import load_profile

LISTINGS, BASE, METRICS = ("catalog", "listings"), ("models", "base_embedder"), ("release", "ablation")
PROFILE = {"name": "mine", "catalog": {"source": {"kind": "generated", "products": 8}}}


class House:
    """A profile, its assets, and an instance that remembers."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.folder, self.instance = folder, instance
        self.configure()

    def configure(self, **changes: object) -> None:
        path = self.folder / "mine.yaml"
        path.write_text(yaml.safe_dump({**PROFILE, "seeds": [0, 1], **changes}), encoding="utf-8")
        self.pipeline = Pipeline(config_path=str(path), home=str(self.folder / "home"))
        self.profile = load_profile(path)

    def asset(self, key: tuple[str, ...], *deps: tuple[str, ...], **stated: str) -> dg.AssetsDefinition:
        @dg.asset(
            key=list(key),
            deps=[list(dep) for dep in deps],
            code_version=settings_digest(self.profile, key),
            partitions_def=partitions(self.profile, key),
        )
        def made(pipeline: Pipeline) -> dg.MaterializeResult:
            with pipeline.replacing(key):
                pass
            version = stated.get("data_version")
            return dg.MaterializeResult(data_version=version and dg.DataVersion(version))

        return made

    def definitions(self, passes: bool = True, digest: str = "first") -> dg.Definitions:
        @dg.asset_check(asset=list(BASE), blocking=True)
        def sound() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=passes)

        return dg.Definitions(
            assets=[
                self.asset(LISTINGS, data_version=digest),
                self.asset(BASE, LISTINGS),
                self.asset(METRICS, BASE),
            ],
            asset_checks=[sound],
            resources={"pipeline": self.pipeline},
            jobs=[dg.define_asset_job("chain", dg.AssetSelection.all())],
            executor=dg.in_process_executor,
        )

    def make(self, key: tuple[str, ...], seed: int | None = None, **how: object) -> None:
        job = self.definitions(**how).resolve_job_def("chain")  # type: ignore[arg-type]
        partition = None if seed is None else f"seed_{seed}"
        job.execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(list(key))],
            partition_key=partition,
            raise_on_error=False,
        )

    def make_all(self) -> None:
        self.make(LISTINGS)
        for seed in self.profile.seeds:
            self.make(BASE, seed)
        self.make(METRICS)

    def faults(self) -> dict[str, str | None]:
        found = Records(self.pipeline, self.definitions(), self.instance).faults()
        return {str(output): fault for output, fault in found.items()}


OUTPUTS = [
    "catalog/listings",
    "seed_0  models/base_embedder",
    "seed_1  models/base_embedder",
    "release/ablation",
]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield House(tmp_path, instance)


def test_nothing_is_made_then_all_is_done(house: House) -> None:
    assert house.faults() == dict.fromkeys(OUTPUTS, "not made yet")
    house.make_all()
    assert house.faults() == dict.fromkeys(OUTPUTS, None)


def test_one_seed_made_anew_makes_what_compares_them_stale_and_not_the_other(house: House) -> None:
    house.make_all()
    house.make(BASE, 1)
    assert [name for name, fault in house.faults().items() if fault] == ["release/ablation"]


def test_a_failed_check_and_what_follows_it_are_made_again(house: House) -> None:
    house.make_all()
    house.make(BASE, 0, passes=False)
    faults = house.faults()
    assert faults["seed_0  models/base_embedder"] == "did not pass sound"
    assert faults["release/ablation"] == "follows seed_0  models/base_embedder"
    assert faults["seed_1  models/base_embedder"] is None


def test_another_seed_is_the_only_one_to_train(house: House) -> None:
    house.make_all()
    house.configure(seeds=[0, 1, 2])
    faults = house.faults()
    assert faults["seed_2  models/base_embedder"] == "not made yet"
    assert [faults[name] for name in OUTPUTS[:3]] == [None, None, None]
    assert faults["release/ablation"] == "made with other settings: seeds [0, 1] (the profile: [0, 1, 2])"


def test_a_changed_training_setting_trains_again_and_keeps_the_catalog(house: House) -> None:
    house.make_all()
    house.configure(training={"steps": 7})
    faults = house.faults()
    assert faults["catalog/listings"] is None
    changed = "made with other settings: training.steps 200 (the profile: 7)"
    assert faults["seed_0  models/base_embedder"] == changed


def test_the_same_data_read_again_makes_nothing_stale_and_other_data_all(house: House) -> None:
    house.make_all()
    house.make(LISTINGS)
    assert not any(house.faults().values())
    house.make(LISTINGS, digest="second")
    faults = house.faults()
    assert faults["seed_0  models/base_embedder"] == "older than catalog/listings"


def test_a_removed_output_is_made_again(house: House) -> None:
    house.make_all()
    shutil.rmtree(house.pipeline.of_seed(1).directory(BASE))
    faults = house.faults()
    assert faults["seed_1  models/base_embedder"] == "not made yet"
    assert faults["seed_0  models/base_embedder"] is None


def test_an_output_whose_run_dagster_does_not_know_is_not_trusted(house: House) -> None:
    house.make_all()
    with dg.DagsterInstance.ephemeral() as other:
        house.instance = other
        assert house.faults() == dict.fromkeys(OUTPUTS, "not made yet")
