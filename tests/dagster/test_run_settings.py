"""Settings that a person gives one run in the Launchpad: offered, validated, stated wherever they count."""

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from tiny import SMALL

from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.defs.release.ablation import ABLATION, _warning
from afmrl_dagster.defs.release.budget import other_settings, unequal_budgets
from afmrl_dagster.defs.rounds.unroll import rows_of
from afmrl_dagster.execution import failure_reason
from afmrl_dagster.project import shipped_profile
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.resume import Records
from afmrl_dagster.run_settings import run_settings
from afmrl_models.config import ProfileError, load_profile

PROFILE = {
    "name": "mine",
    "device": "cpu",
    "catalog": {"source": {"kind": "generated", "products": 20}, "image_size": 28},
    "embedder": SMALL,
    "training": {"warmup_steps": 2, "batch_size": 4, "gradient_caching": False},
}
CHAIN = [
    ("catalog", "raw_catalog"),
    ("catalog", "listings"),
    ("catalog", "splits"),
    ("models", "base_embedder"),
]
DEMO = load_profile(shipped_profile("demo"))


class Home:
    """A profile, and an instance that remembers its runs."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, **changes: object) -> None:
        self.instance = instance
        self.config = folder / "mine.yaml"
        self.config.write_text(yaml.safe_dump({**PROFILE, **changes}), encoding="utf-8")
        self.pipeline = Pipeline(config_path=str(self.config), home=str(folder / "home"))
        self.definitions = build_definitions(self.config, folder / "home")

    def make(self, *keys: tuple[str, str], **given: dict) -> dg.ExecuteInProcessResult:
        ops = {name: {"config": config} for name, config in given.items()}
        return self.definitions.resolve_job_def("everything").execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(list(key)) for key in keys],
            run_config={"ops": ops},
            raise_on_error=False,
        )

    def faults(self) -> dict[str, str | None]:
        found = Records(self.pipeline, self.definitions, self.instance).faults()
        return {str(output): fault for output, fault in found.items()}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Home(tmp_path, instance)


def metadata(result: dg.ExecuteInProcessResult, key: tuple[str, str]) -> dict:
    (event,) = result.asset_materializations_for_node("__".join(key))
    return dict(event.metadata)


def settings(fields: dict[str, dg.Field], prefix: str = "") -> Iterator[tuple[str, object, str | None]]:
    """Dotted key, default and description of every single setting."""
    for name, field in fields.items():
        if isinstance(field.config_type, dg.Shape):
            yield from settings(field.config_type.fields, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.default_value, field.description


def offered(*key: str) -> dict[str, object]:
    return {name: value for name, value, _ in settings(run_settings(DEMO, key))}


def test_every_offered_setting_is_described_and_says_what_the_profile_says() -> None:
    stated = DEMO.model_dump(mode="json")
    keys = build_definitions(shipped_profile("demo"), Path()).resolve_asset_graph().get_all_asset_keys()
    for key in keys:
        for name, value, description in settings(run_settings(DEMO, key.path)):
            at: object = stated
            for part in name.split("."):
                at = at[part]  # type: ignore[index]
            assert description, f"{key} {name}"
            assert value == (0 if at is None else at), f"{key} {name}"
            if "0: null" in description:
                with pytest.raises(ProfileError, match=name):
                    load_profile(shipped_profile("demo"), instead={name: 0})


@pytest.mark.parametrize(
    ("key", "names"),
    [
        (("catalog", "raw_catalog"), ["catalog.limit"]),
        (
            ("round_0", "embedder"),
            [f"training.{n}" for n in ("steps", "learning_rate", "margin", "bm25_scale")],
        ),
        (("round_0", "attribute_generator"), ["attributes.sft.steps", "attributes.sft.learning_rate"]),
        (
            ("round_2", "attribute_generator"),
            [f"refinement.{n}" for n in ("steps", "k", "group_size", "beta", "temperature")],
        ),
        (("round_1", "product_attributes"), ["attributes.generation.batch_size", "refinement.cit_share"]),
        (("release", "champion"), ["champion.max_regression", "champion.require"]),
    ],
)
def test_what_people_want_to_try_is_offered(key: tuple[str, str], names: list[str]) -> None:
    assert set(names) <= set(offered(*key))


def test_the_baseline_is_not_asked_for_agcls_settings() -> None:
    assert not {"training.margin", "training.bm25_scale"} & set(offered("baseline", "embedder"))


def test_folds_shape_the_graph_and_are_the_profiles_alone() -> None:
    for asset in ("attribute_generator", "cross_fitted_attributes"):
        settings = offered("round_0", asset)
        assert "attributes.sft.steps" in settings and "attributes.sft.folds" not in settings


def test_a_run_with_a_limit_reads_less_says_so_and_is_no_answer_to_the_profile(home: Home) -> None:
    assert home.make(*CHAIN[:3], catalog__raw_catalog={"catalog": {"limit": 9}}).success
    full = home.make(*CHAIN[1:3])
    assert full.success, "listings and splits alone keep the limit of the raw catalog"
    assert metadata(full, CHAIN[1])["rows_read"].value == 9
    assert "| catalog.limit | 9 | null |" in metadata(full, CHAIN[1])["settings_of_this_run"].value
    faults = home.faults()
    assert faults["catalog/raw_catalog"] == "made with other settings: catalog.limit 9 (the profile: null)"
    assert faults["catalog/listings"] == "made with other settings: catalog.limit 9 (the profile: null)"
    assert faults["catalog/splits"] == "follows catalog/listings"
    whole = home.make(*CHAIN[:3])
    assert "settings_of_this_run" not in metadata(whole, CHAIN[1])
    assert not any(
        home.faults()[name] for name in ("catalog/raw_catalog", "catalog/listings", "catalog/splits")
    )


def test_zero_takes_the_limit_away(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        source = {"kind": "generated", "products": 20}
        home = Home(tmp_path, instance, catalog={"source": source, "image_size": 28, "limit": 9})
        given = {"catalog": {"limit": 0}}
        assert (
            metadata(home.make(CHAIN[0], catalog__raw_catalog=given), CHAIN[0])["dagster/row_count"].value > 9
        )
        assert metadata(home.make(CHAIN[0]), CHAIN[0])["dagster/row_count"].value == 9


def test_given_settings_train_and_stand_in_mlflow(home: Home) -> None:
    made = home.make(*CHAIN, models__base_embedder={"training": {"warmup_steps": 1, "learning_rate": 0.5}})
    assert made.success
    shown = metadata(made, CHAIN[3])
    assert shown["warm_up_steps"].value == 1
    assert "| training.warmup_steps | 1 | 2 |" in shown["settings_of_this_run"].value
    tracking = home.pipeline.tracking()
    (run,) = tracking.client.search_runs([tracking.experiment_id()])
    assert (run.data.params["training.warmup_steps"], run.data.params["training.learning_rate"]) == (
        "1",
        "0.5",
    )
    given = json.loads(run.data.tags["settings.given"])
    assert given == {"training.warmup_steps": 1, "training.learning_rate": 0.5}
    fault = home.faults()["models/base_embedder"]
    assert fault is not None and "training.warmup_steps 1 (the profile: 2)" in fault


@pytest.mark.parametrize(
    ("key", "given", "named"),
    [
        ("models__base_embedder", {"training": {"learning_rate": -1.0}}, "training.learning_rate: "),
        ("catalog__raw_catalog", {"catalog": {"limit": -2}}, "catalog.limit: "),
    ],
)
def test_a_bad_value_fails_the_asset_with_the_key(home: Home, key: str, given: dict, named: str) -> None:
    assert home.make(*CHAIN[:3]).success
    made = home.make(next(k for k in CHAIN if "__".join(k) == key), **{key: given})
    (reason,) = [failure_reason(event) for event in made.all_events if event.is_step_failure]
    assert named in reason and "as the run's configuration says" in reason and "Traceback" not in reason


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("catalog__splits", {"catalog": {"limit": 3}}),
        ("models__base_embedder", {"training": {"epochs": 3}}),
        ("models__base_embedder", {"training": {"warmup_steps": "many"}}),
        ("models__base_embedder", {"steps": 3}),
    ],
)
def test_a_setting_that_is_not_offered_is_refused_before_the_run(home: Home, key: str, given: dict) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        home.make(CHAIN[3], **{key: given})


def trained(pipeline: Pipeline, group: str, **given: object) -> None:
    key = (group, "embedder")
    with pipeline.with_settings({f"training.{name}": value for name, value in given.items()}).replacing(key):
        pass


def test_the_ablation_tells_of_unequal_budgets_and_of_other_settings(home: Home) -> None:
    rows = rows_of(1, home.pipeline.profile().evaluation)
    for group in ("baseline", "round_0", "round_1"):
        trained(home.pipeline, group)
    assert unequal_budgets(home.pipeline, rows).empty and other_settings(home.pipeline, rows).empty

    trained(home.pipeline, "round_0", margin=0.5, bm25_scale="raw")
    assert unequal_budgets(home.pipeline, rows).empty, "AGCL's own settings are no budget"
    (other,) = other_settings(home.pipeline, rows).to_dict("records")
    assert (
        other["asset"] == "round_0/embedder"
        and "training.margin 0.5 (the profile: 0.1)" in other["made with"]
    )

    trained(home.pipeline, "round_1", steps=7)
    (unequal,) = unequal_budgets(home.pipeline, rows).to_dict("records")
    assert unequal == {
        "seed": 0, "setting": "training.steps",
        "baseline/embedder": 200, "round_0/embedder": 200, "round_1/embedder": 7,
    }  # fmt: skip
    warning = _warning(other_settings(home.pipeline, rows), unequal_budgets(home.pipeline, rows))
    assert warning.startswith("The embedders were not trained with equal budget")
    assert "round_1/embedder was made with training.steps 7 (the profile: 200)." in warning

    for group in ("baseline", "round_0"):
        trained(home.pipeline, group, steps=7)
    assert unequal_budgets(home.pipeline, rows).empty, "all alike is equal, though not the profile's"


def test_an_embedder_whose_settings_were_not_recorded_has_no_equal_budget(home: Home) -> None:
    rows = rows_of(1, home.pipeline.profile().evaluation)
    for group in ("baseline", "round_0"):
        trained(home.pipeline, group)
    home.pipeline.directory(("round_1", "embedder")).mkdir(parents=True)
    assert set(unequal_budgets(home.pipeline, rows)["round_1/embedder"]) == {"not recorded"}


def test_no_secret_is_kept_with_an_output(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        teacher = {"kind": "openai", "model": "m", "base_url": "http://127.0.0.1:1", "api_key": "sesame"}
        home = Home(tmp_path, instance, attributes={"teacher": teacher})
        with home.pipeline.replacing(ABLATION):
            pass
        kept = (home.pipeline.directory(ABLATION) / ".settings.json").read_text(encoding="utf-8")
        assert "sesame" not in kept and "127.0.0.1" in kept
