"""A profile that extends another one states only what is different."""

from pathlib import Path

import pytest

from afmrl_models.config import ProfileError, load_profile

BASE = """
name: base
seeds: [0, 1]
catalog: {source: {kind: table, path: "${SHOP}"}, image_size: 56}
training: {steps: 7, margin: 0.3}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
    return tmp_path


def written(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_mappings_are_merged_and_all_else_replaced(folder: Path) -> None:
    written(folder, "extends: base.yaml\nname: middle\ntraining: {margin: 2.0}\n", "middle.yaml")
    mine = load_profile(written(folder, "extends: middle.yaml\nname: mine\nseeds: [5]\n"), {"SHOP": "/shop"})
    assert (mine.name, mine.seeds) == ("mine", [5])
    assert (mine.training.steps, mine.training.margin, mine.catalog.image_size) == (7, 2.0, 56)


def test_a_mapping_of_another_kind_replaces_the_whole(folder: Path) -> None:
    path = written(folder, "extends: base.yaml\ncatalog: {source: {kind: generated, products: 9}}\n")
    catalog = load_profile(path, {}).catalog
    assert (catalog.source.kind, catalog.image_size) == ("generated", 56)


def test_a_variable_of_the_base_that_is_replaced_need_not_be_set(folder: Path) -> None:
    path = written(folder, "extends: base.yaml\ncatalog: {source: {path: /elsewhere}}\n")
    assert str(load_profile(path, {}).catalog.source.path) == "/elsewhere"  # type: ignore[union-attr]


def test_expectations_lie_beside_the_profile_that_names_them(folder: Path) -> None:
    other = folder / "other"
    other.mkdir()
    entries = "- {name: grammar, expect: texts_parse, description: texts parse}\n"
    (folder / "steward.yaml").write_text(entries, encoding="utf-8")
    written(folder, BASE + "expectations: steward.yaml\n", "base.yaml")
    mine = load_profile(written(other, "extends: ../base.yaml\n"), {"SHOP": "/shop"})
    assert [entry.name for entry in mine.expectations] == ["grammar"]
    written(other, "extends: ../base.yaml\nexpectations: '${STEWARD}'\n")
    anywhere = {"SHOP": "/shop", "STEWARD": str(folder / "steward.yaml")}
    assert [entry.name for entry in load_profile(other / "mine.yaml", anywhere).expectations] == ["grammar"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("extends: absent.yaml\n", r"absent.yaml: no such profile \(.*mine.yaml extends it\)"),
        ("extends: mine.yaml\n", "mine.yaml: extends: mine.yaml extends this profile"),
        ("extends: ../{folder}/mine.yaml\n", "mine.yaml: extends: .*mine.yaml extends this profile"),
        ("extends: [base.yaml]\n", "mine.yaml: extends names one profile beside this one"),
        (
            "extends: base.yaml\ntraining: 3\n",
            "(?s)mine.yaml, which extends .*base.yaml: 1 prob.*training",
        ),
        ("extends: base.yaml\nextend: 3\n", "(?s)mine.yaml, which extends .*base.yaml: 1 prob.*extend"),
    ],
)
def test_what_cannot_be_extended_is_named(folder: Path, text: str, named: str) -> None:
    with pytest.raises(ProfileError, match=named):
        load_profile(written(folder, text.replace("{folder}", folder.name)), {"SHOP": "/shop"})


def test_profiles_that_extend_each_other_are_an_error(folder: Path) -> None:
    written(folder, "extends: mine.yaml\n", "middle.yaml")
    with pytest.raises(ProfileError, match=r"middle.yaml: extends: mine.yaml extends this profile"):
        load_profile(written(folder, "extends: middle.yaml\n"), {})
