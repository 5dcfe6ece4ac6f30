"""A refused attribute table stops the run before training and leaves the last accepted one in force."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from attribute_shop import CATALOG, EMBEDDER, KEY, POISON, STEWARD, TEACHER, Poison, Shop, scripted_generator

from afmrl_dagster.attribute_tables import ATTRIBUTES, VERDICTS, AttributeTableError
from afmrl_dagster.resources import data_docs_root, data_docs_ui
from afmrl_dagster.tables import Tables


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Poison | None], None]:
    return scripted_generator(monkeypatch)


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
    address = str(checks["kinds"].metadata["data_docs"].value)
    served = data_docs_root(Path(shop.pipeline.home)) / address.removeprefix(f"{data_docs_ui()}/")
    assert served == page and served.is_relative_to(Path(shop.pipeline.home) / "data_docs" / "shop")


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


def test_one_check_executed_alone_is_reported_alone_and_the_others_still_decide(
    shop: Shop, write: Callable
) -> None:
    write(lambda row, pairs: "what a lovely thing")
    shop.make(KEY)
    result = shop.judge_again("kinds")
    assert list(outcome(result)) == ["kinds"]
    assert observed(result)["accepted"] is False and "grammar" in str(observed(result)["failed"])
    assert shop.tables().candidate.exists()


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
        again = shop.judge_again(seed=1)
        assert {check.partition for check in outcome(again).values()} == {"seed_1"}
        assert not outcome(again)["grammar"].passed and shop.tables(0).accepted() is not None
