"""A refused attribute table stops the run before training and leaves the last accepted one in force.

The generator is replaced by one that writes what a test wants; catalog, teacher, checks and Dagster are real.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pandas as pd
import pytest
import yaml

from afmrl_dagster.attribute_tables import ATTRIBUTES, VERDICTS, AttributeTableError, AttributeTables
from afmrl_dagster.definitions import build_definitions
from afmrl_dagster.resources import Pipeline
from afmrl_dagster.tables import Tables
from afmrl_models.attributes.grammar import clean, render

KEY, EMBEDDER = ("round_0", "product_attributes"), ("round_0", "embedder")
STEWARD = """
- {name: grammar, expect: texts_parse, description: texts parse}
- {name: kinds, expect: vocabulary, keys: [type], values: teacher, mostly: 0.5, description: known types}
- {name: not_one_word, expect: variety, keys: [type], max_share: 0.8, description: not all the same}
- {name: no_flood, expect: new_values, keys: [colour], max_share: 0.2, description: few new colours}
- {name: as_the_shop, expect: agrees_with_shop, keys: [colour], mostly: 0.95, severity: warning,
   description: as the sellers say}
"""
Poison = Callable[[int, dict[str, str]], dict[str, str] | str]


class Shop:
    """A profile with its steward's file, its catalog and teacher's table, and a generator at our command."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance, **changes: object) -> None:
        self.folder, self.instance = folder, instance
        self.config = folder / "shop.yaml"
        profile = {
            "name": "shop",
            "device": "cpu",
            "catalog": {"source": {"kind": "generated", "products": 30}, "image_size": 28},
            "splits": {"validation": 0.2, "test": 0.3},
            "attributes": {"keys": ["type", "colour"]},
            "expectations": "steward.yaml",
            **changes,
        }
        self.config.write_text(yaml.safe_dump(profile), encoding="utf-8")
        self.demand(STEWARD)

    def demand(self, entries: str) -> None:
        """Write the steward's file."""
        (self.folder / "steward.yaml").write_text(entries, encoding="utf-8")
        self.definitions = build_definitions(self.config, self.folder / "home")
        self.pipeline = Pipeline(config_path=str(self.config), home=str(self.folder / "home"))

    def make(self, *keys: tuple[str, ...], seed: int | None = None) -> dg.ExecuteInProcessResult:
        several = len(self.pipeline.profile().seeds) > 1
        for of_seed in map(self.pipeline.of_seed, self.pipeline.profile().seeds):
            of_seed.directory(("round_0", "attribute_generator")).mkdir(parents=True, exist_ok=True)
        job = "everything" if not several else "shared" if seed is None else "seeds"
        return self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            asset_selection=[dg.AssetKey(list(key)) for key in keys],
            partition_key=None if seed is None else f"seed_{seed}",
            raise_on_error=False,
        )

    def judge_again(self) -> dg.ExecuteInProcessResult:
        """Execute the checks of the table alone, as the button in the UI does."""
        job = dg.define_asset_job("judge", dg.AssetSelection.checks_for_assets(dg.AssetKey(list(KEY))))
        together = dg.Definitions.merge(self.definitions, dg.Definitions(jobs=[job]))
        return together.resolve_job_def("judge").execute_in_process(
            instance=self.instance, raise_on_error=False
        )

    def tables(self, seed: int | None = None) -> AttributeTables:
        return AttributeTables(self.pipeline if seed is None else self.pipeline.of_seed(seed), KEY[0])


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Poison | None], None]:
    """Let the generator write what the sellers state, changed by a function of row and pairs."""
    chosen: list[Poison | None] = [None]

    def write_attributes(_: object, listings: pd.DataFrame, *__: object, **___: object) -> pd.DataFrame:
        rows: list[dict[str, str] | str] = []
        for row, stated in enumerate(listings["attributes"]):
            pairs = clean(stated or {}, ["type", "colour"]) or {"colour": "red"}
            rows.append(pairs if chosen[0] is None else chosen[0](row, pairs))
        return pd.DataFrame(
            {
                "listing_id": list(listings["listing_id"]),
                "attributes_text": [r if isinstance(r, str) else render(r) for r in rows],
                "attributes": pd.Series([None if isinstance(r, str) else r for r in rows], dtype=object),
                "valid": [not isinstance(r, str) for r in rows],
                "generator_version": "g/1",
                "content_hash": list(listings["content_hash"]),
            }
        )

    monkeypatch.setattr("afmrl_models.attributes.writing.write_attributes", write_attributes)
    monkeypatch.setattr("afmrl_models.attributes.generator.AttributeGenerator.load", lambda *_: None)
    monkeypatch.setattr(
        "afmrl_dagster.defs.rounds.product_attributes.recall_version",
        lambda _: SimpleNamespace(name="g", version="1"),
    )

    def choose(poison: Poison | None) -> None:
        chosen[0] = poison

    return choose


CATALOG = [("catalog", name) for name in ("raw_catalog", "listings", "splits")]
TEACHER = ("attributes", "teacher_attributes")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    with dg.DagsterInstance.ephemeral(tempdir=str(folder)) as instance:
        shop = Shop(folder, instance)
        assert shop.make(*CATALOG, TEACHER).success
        yield shop


def outcome(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {e.check_name: e for e in result.get_asset_check_evaluations()}


def made(result: dg.ExecuteInProcessResult) -> set[tuple[str, ...]]:
    return {tuple(e.asset_key.path) for e in result.get_asset_materialization_events()}


def observed(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    (event,) = result.get_asset_observation_events()
    return {
        name: value.value for name, value in event.asset_observation_data.asset_observation.metadata.items()
    }


def test_nothing_in_force_is_said_before_and_after_a_refusal(shop: Shop, write: Callable) -> None:
    with pytest.raises(AttributeTableError, match="round_0/product_attributes: no table has been accepted"):
        Tables(shop.pipeline).attribute_table("round_0")
    write(lambda row, pairs: "what a lovely thing")
    shop.make(KEY)
    assert shop.tables().in_force().startswith("none")
    with pytest.raises(AttributeTableError, match="refused by grammar, kinds"):
        Tables(shop.pipeline).attribute_table("round_0")


def test_a_fair_table_comes_into_force(shop: Shop, write: Callable) -> None:
    write(None)
    result = shop.make(KEY)
    checks = outcome(result)
    assert {name: check.passed for name, check in checks.items()} == dict.fromkeys(checks, True)
    assert checks["no_flood"].description.startswith("no table has been accepted yet")
    assert not shop.tables().candidate.exists()
    assert observed(result)["accepted"] is True
    assert result.run_id[:8] in str(observed(result)["in_force"])
    page = Path(str(checks["kinds"].metadata["data_docs_file"].value))
    assert "kinds" in page.read_text(encoding="utf-8")
    assert str(checks["kinds"].metadata["data_docs"].value).endswith(page.name)


POISON: dict[str, tuple[Poison, set[str]]] = {
    "nonsense": (lambda row, pairs: {k: f"xq{v[::-1]}" for k, v in pairs.items()}, {"kinds", "no_flood"}),
    "one value": (lambda row, pairs: {**pairs, "type": "mug"}, {"not_one_word"}),
    "empty texts": (lambda row, pairs: "", {"grammar", "kinds", "not_one_word", "no_flood"}),
    "swapped": (
        lambda row, pairs: {"type": pairs.get("colour", "red"), "colour": pairs.get("type", "mug")},
        {"kinds", "no_flood"},
    ),
    "flood": (lambda row, pairs: {**pairs, "colour": f"shade & {row}"}, {"no_flood"}),
}


@pytest.mark.parametrize("name", POISON)
def test_poison_is_refused_before_training(name: str, shop: Shop, write: Callable) -> None:
    write(None)
    shop.make(KEY)
    before = Tables(shop.pipeline).attribute_table("round_0")
    poison, meant = POISON[name]
    write(poison)
    result = shop.make(KEY, EMBEDDER)
    checks = outcome(result)
    refused = {name for name, check in checks.items() if not check.passed and check.blocking}
    assert refused == meant and not result.success
    assert EMBEDDER not in made(result) and KEY in made(result)
    pd.testing.assert_frame_equal(Tables(shop.pipeline).attribute_table("round_0"), before)
    candidate = shop.tables().candidate
    assert (candidate / ATTRIBUTES).exists()
    kept = json.loads((candidate / VERDICTS).read_text(encoding="utf-8"))
    assert not kept["accepted"]
    assert {v["name"] for v in kept["verdicts"] if not v["passed"] and v["severity"] == "critical"} == meant
    assert observed(result)["accepted"] is False
    assert result.run_id[:8] not in str(observed(result)["in_force"])


def test_a_failed_check_shows_counts_threshold_photos_and_harmless_text(shop: Shop, write: Callable) -> None:
    write(None)
    shop.make(KEY)
    write(POISON["flood"][0])
    check = outcome(shop.make(KEY))["no_flood"]
    shown = {name: value.value for name, value in check.metadata.items()}
    head, _, row = (line.strip("| ").split(" | ") for line in str(shown["counts"]).splitlines()[:3])
    counted = dict(zip(head, row, strict=True))
    assert counted["unexpected"] == counted["judged"] != "0"
    assert (counted["share"], counted["required"], counted["passed"]) == ("0.0000", "0.8000", "NO")
    assert "data:image/jpeg;base64" in str(shown["examples"])
    assert "shade &amp; " in str(shown["examples"]) and "shade & " not in str(shown["examples"])
    page = Path(str(shown["data_docs_file"])).read_text(encoding="utf-8")
    assert "shade &amp; " in page and "shade & " not in page


def test_a_failed_warning_warns_and_stops_nothing(shop: Shop, write: Callable) -> None:
    write(None)
    shop.make(KEY)
    write(lambda row, pairs: {**pairs, "colour": "red"} if row % 8 == 0 else pairs)
    result = shop.make(KEY)
    check = outcome(result)["as_the_shop"]
    assert not check.passed and not check.blocking and check.severity == dg.AssetCheckSeverity.WARN
    assert result.success and observed(result)["accepted"] is True


def test_a_refused_candidate_is_judged_again_by_a_changed_file(shop: Shop, write: Callable) -> None:
    write(None)
    shop.make(KEY)
    write(POISON["flood"][0])
    shop.make(KEY)
    refused = pd.read_parquet(shop.tables().candidate / ATTRIBUTES)
    shop.demand(STEWARD.replace("max_share: 0.2", "max_share: 1.0"))
    result = shop.judge_again()
    shop.demand(STEWARD)
    assert result.success and observed(result)["accepted"] is True
    assert not shop.tables().candidate.exists()
    assert list(shop.tables().accepted()["attributes_text"]) == list(refused["attributes_text"])
    # Judged once more, it is compared with the table it replaced, not with itself.
    assert not outcome(shop.judge_again())["no_flood"].passed


def test_each_seed_has_its_own_table_in_force(tmp_path: Path, write: Callable) -> None:
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        shop = Shop(tmp_path, instance, seeds=[0, 1])
        assert shop.make(*CATALOG, TEACHER).success
        write(None)
        assert shop.make(KEY, seed=0).success
        write(POISON["empty texts"][0])
        refused = shop.make(KEY, seed=1)
        assert not refused.success
        assert shop.tables(0).in_force() != shop.tables(1).in_force()
        assert len(shop.tables(0).accepted())
        (event,) = refused.get_asset_observation_events()
        assert event.partition == "seed_1"
        page = str(outcome(refused)["grammar"].metadata["data_docs"].value)
        assert "/seed_1/round_0/" in page
        with pytest.raises(AttributeTableError):
            shop.tables(1).accepted()
