"""What `afmrl run --resume` does after a night whose attribute table was refused.

The shop's generator is trained by a stand-in that only leaves its folder.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from attribute_shop import CATALOG, KEY, POISON, STEWARD, TEACHER, Poison, Shop, scripted_generator

from afmrl_dagster.resources import Pipeline
from afmrl_dagster.resume import Records
from afmrl_dagster.settings import settings_digest

GENERATOR = ("round_0", "attribute_generator")
TABLE = "round_0/product_attributes"


class Nights(Shop):
    """A shop whose chain ends with the attribute table, and what that held after the first night."""

    first: list[str]

    def demand(self, entries: str) -> None:
        super().demand(entries)
        profile = self.pipeline.profile()

        @dg.asset(key=list(GENERATOR), deps=[list(TEACHER)], code_version=settings_digest(profile, GENERATOR))
        def generator(pipeline: Pipeline) -> None:
            with pipeline.replacing(GENERATOR):
                pass

        chain = {dg.AssetKey(list(key)) for key in (*CATALOG, TEACHER, KEY)}
        kept = [asset for asset in self.definitions.assets or () if asset.keys <= chain]  # type: ignore[union-attr]
        self.definitions = dg.Definitions(
            assets=[*kept, generator],
            asset_checks=[
                check
                for check in self.definitions.asset_checks or ()
                if all(key.asset_key in chain for key in check.check_keys)
            ],
            resources=self.definitions.resources,
            executor=dg.in_process_executor,
            jobs=[dg.define_asset_job("everything", dg.AssetSelection.assets(*chain, list(GENERATOR)))],
        )

    def faults(self) -> dict[str, str]:
        """What --resume would make, and why."""
        found = Records(self.pipeline, self.definitions, self.instance).faults()
        return {str(output): fault for output, fault in found.items() if fault}

    def resume(self) -> bool:
        """Make what --resume would; whether all went well."""
        keys = [tuple(name.split("/")) for name in self.faults()]
        return self.make(*keys).success if keys else True

    def texts(self) -> list[str]:
        return list(self.tables().accepted()["attributes_text"])


@pytest.fixture
def write(monkeypatch: pytest.MonkeyPatch) -> Callable[[Poison | None], None]:
    return scripted_generator(monkeypatch)


@pytest.fixture
def nights(tmp_path: Path, write: Callable[[Poison | None], None]) -> Iterator[Nights]:
    """After a first night that went well, and a second one with a new generator that was refused."""
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path)) as instance:
        nights = Nights(tmp_path, instance)
        write(None)
        assert nights.make(*CATALOG, TEACHER, GENERATOR, KEY).success
        assert nights.faults() == {}
        nights.first = nights.texts()
        write(POISON["flood"][0])
        assert not nights.make(GENERATOR, KEY).success
        assert nights.texts() == nights.first
        yield nights


def test_nothing_mended_is_refused_again_and_the_last_table_stays(nights: Nights) -> None:
    for _ in range(2):
        assert nights.faults() == {TABLE: "older than round_0/attribute_generator"}
        assert not nights.resume()
        assert nights.texts() == nights.first
        assert (nights.tables().candidate / "attributes.parquet").exists()


def test_a_mended_generator_goes_on_from_the_table(nights: Nights, write: Callable) -> None:
    write(lambda row, pairs: {**pairs, "colour": "red"} if row % 8 == 0 else pairs)
    assert list(nights.faults()) == [TABLE]
    assert nights.resume()
    assert nights.faults() == {}
    assert nights.texts() != nights.first
    assert not nights.tables().candidate.exists()


def test_a_changed_steward_s_file_lets_the_same_texts_pass(nights: Nights) -> None:
    nights.demand(STEWARD.replace("max_share: 0.2", "max_share: 1.0"))
    assert list(nights.faults()) == [TABLE]
    assert nights.resume()
    assert nights.faults() == {}
    assert "shade & 1" in nights.texts()[1]


def test_what_was_accepted_before_is_kept_whatever_was_refused_after_it(
    nights: Nights, write: Callable
) -> None:
    write(None)
    assert nights.resume() and nights.faults() == {}
    write(POISON["empty texts"][0])
    assert not nights.make(KEY).success  # the same generator, asked again
    assert nights.faults() == {} and nights.texts() == nights.first
