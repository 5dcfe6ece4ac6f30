"""Shipped profiles load, are complete and commented; a bad profile names its file and key."""

import re
from pathlib import Path

import pytest
import yaml

from afmrl_models.config import ProfileError, load_profile

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "assets_config").glob("*.yaml"))
STEWARDS = sorted((SHIPPED[0].parent / "expectations").glob("*.yaml"))
ENVIRONMENT = {"AFMRL_CATALOG": "/data/shop", "TEACHER_URL": "http://127.0.0.1:8000/v1"}

LADDERS = {
    "ladder": "fashion-ladder",
    "ladder_generated": "generated-ladder",
    "ladder_light": "fashion-light-ladder",
    "ladder_thumbnails": "fashion-thumbnail-ladder",
    "ladder_rar": "fashion-rar-ladder",
    "ladder_gpu": "gpu-ladder",
    "ladder_grocery": "grocery-ladder",
}


def test_the_profiles_are_shipped() -> None:
    assert {"demo", "fashion", "grocery", "ladder", "m5product", "paper", "product1m"} <= {
        path.stem for path in SHIPPED
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_profile_is_valid_and_named_after_its_file(path: Path) -> None:
    name = LADDERS.get(path.stem, path.stem)
    assert load_profile(path, ENVIRONMENT).name == name


@pytest.mark.parametrize("path", STEWARDS, ids=lambda path: path.stem)
def test_a_stewards_file_is_used_and_each_parameter_has_a_comment(path: Path) -> None:
    used = [p for p in SHIPPED if f"expectations: expectations/{path.name}" in p.read_text(encoding="utf-8")]
    assert used
    explained = ("name", "expect", "severity", "description")
    head, *entries = re.split(r"\n(?=- name: )", path.read_text(encoding="utf-8"))
    assert all(f"#   {key} " in head for key in explained)
    for line in "\n".join(entries).splitlines():
        found = re.match(r"[\s-]+([\w_]+):", line)
        if found and found[1] not in explained:
            assert "#" in line, f"{path.name}: {line}"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_key_of_a_shipped_profile_has_a_comment(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        opens_block = re.fullmatch(r"\s*[\w_]+:\s*(#.*)?", line) and not line.rstrip().endswith("null")
        if re.match(r"\s*[\w_]+:", line) and "#" not in line and not opens_block:
            assert lines[number - 1].lstrip().startswith("#"), (
                f"{path.name}:{number + 1} has no comment: {line}"
            )


def test_the_demo_names_every_setting_with_its_value() -> None:
    demo = next(p for p in SHIPPED if p.stem == "demo")
    written = yaml.safe_load(demo.read_text(encoding="utf-8"))
    complete = load_profile(demo, {}).model_dump(mode="json")

    def missing(full: object, given: object, key: str) -> list[str]:
        if not isinstance(full, dict) or not isinstance(given, dict):
            return []
        return [f"{key}{k}" for k in full if k not in given] + [
            m for k in full if k in given for m in missing(full[k], given[k], f"{key}{k}.")
        ]

    assert missing(complete, written, "") == []


def profile(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name: x\ncatalog: {source: {kind: generated}}\ntemperatur: 1\n", "temperatur"),
        (
            "name: x\ncatalog: {source: {kind: generated, products: many}}\n",
            "catalog.source.generated.products",
        ),
        ("name: x\n", "catalog"),
        ("name: x\ncatalog: {source: {kind: ftp}}\n", "catalog.source"),
        ("name: x\ncatalog: {source: {kind: generated}}\nseeds: []\n", "seeds"),
        ("name: x\ncatalog: {source: {kind: generated}}\nseeds: [1, 2, 1]\n", "a seed twice"),
        ("name: x\ncatalog: {source: {kind: generated}}\nseeds: [-1]\n", "seeds.0"),
        (
            "name: x\ncatalog: {source: {kind: generated}}\ntraining: {temperature: 0}\n",
            "training.temperature",
        ),
        ("name: x\ncatalog: {source: {kind: generated}}\nembedder: {lora: {}}\n", "embedder"),
        (
            "name: x\ncatalog: {source: {kind: generated}, image_size: 56}\ngenerator: {image_size: 112}\n",
            "generator.image_size: 112 is above catalog.image_size",
        ),
        (
            "name: x\ncatalog: {source: {kind: generated}}\nembedder: {pretrained: a/b, image_size: 28}\n",
            "image_size is a small model's",
        ),
        ("name: x\ncatalog: {source: {kind: table, path: '${NO_SUCH_VARIABLE}'}}\n", "NO_SUCH_VARIABLE"),
        (
            "name: x\ncatalog: {source: {kind: generated}}\nsplits: {kind: files}\n",
            "needs catalog.source.test",
        ),
        (
            "name: x\ncatalog: {source: {kind: product1m, path: a, train: [b], "
            "test: {query: c, gallery: d}}}\n",
            "set splits.kind to files",
        ),
        (
            "name: x\ncatalog: {source: {kind: generated}}\nsplits: {kind: files, test: 0.2}\n",
            "leave splits.test out",
        ),
        (
            "name: x\nsplits: {kind: files, validation: 0.1}\ncatalog: {source: {kind: m5product, path: a, "
            "train: [b], test: {query: c, gallery: d}, validation: {query: e, gallery: d}}}\n",
            "leave splits.validation out",
        ),
        ("name: x\ncatalog: {source: {kind: m5product, path: a, train: []}}\n", "m5product.train"),
        ("- a list\n", "mapping"),
        ("name: [unclosed\n", "YAML"),
    ],
)
def test_a_bad_profile_names_file_and_key(tmp_path: Path, text: str, named: str) -> None:
    path = profile(tmp_path, text)
    with pytest.raises(ProfileError) as error:
        load_profile(path, {})
    assert str(path) in str(error.value)
    assert named in str(error.value)


def test_a_missing_profile_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"nowhere\.yaml"):
        load_profile(tmp_path / "nowhere.yaml")


def test_environment_variables_and_defaults_are_expanded(tmp_path: Path) -> None:
    path = profile(
        tmp_path, "name: x\ncatalog: {source: {kind: table, path: '${ROOT}/a', images: '${P:-/photos}'}}\n"
    )
    source = load_profile(path, {"ROOT": "/shop"}).catalog.source
    assert (str(source.path), str(source.images)) == ("/shop/a", "/photos")


MINIMAL = "name: x\ncatalog: {source: {kind: generated}}\nexpectations: steward.yaml\n"


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (
            "{name: a, expect: colour_is_nice, description: d}",
            ["entry 2 (a)", "colour_is_nice", "vocabulary"],
        ),
        (
            "{name: a, expect: row_count, description: d, minimum: 3}",
            ["entry 2 (a): minimum", "Extra inputs"],
        ),
        ("{name: a, expect: texts_parse, description: d, mostly: 90}", ["entry 2 (a): mostly", "given: 90"]),
        ("{name: a, expect: texts_parse, description: d, severity: fatal}", ["entry 2 (a): severity"]),
        ("{name: a b, expect: texts_parse, description: d}", ["entry 2 (a b): name"]),
        ("{expect: texts_parse, description: d}", ["entry 2: name"]),
        ("{name: a, expect: texts_parse}", ["entry 2 (a): description"]),
        ("{name: first, expect: texts_parse, description: d}", ["two entries are named first"]),
        ("{name: a, expect: vocabulary, description: d, values: [red]}", ["entry 2 (a)", "name it in keys"]),
        ("a word", ["entry 2"]),
        (
            "{name: a, expect: expect_column_to_shine, description: d, table: pairs}",
            ["entry 2 (a): expect", "expect_column_values_to_match_regex"],
        ),
        (
            "{name: a, expect: expect_column_values_to_match_regex, table: pairs, description: d, "
            "parameters: {column: value, regexp: x}}",
            ["entry 2 (a)", "'regexp' was unexpected", "regex"],
        ),
        (
            "{name: a, expect: expect_column_values_to_match_regex, table: pairs, description: d, "
            "parameters: {regex: x}}",
            ["entry 2 (a)", "'column' is a required property"],
        ),
        (
            "{name: a, expect: expect_column_values_to_match_regex, table: pairs, description: d, "
            "parameters: {column: value, regex: x, mostly: most}}",
            ["entry 2 (a)", "parameters.mostly"],
        ),
    ],
)
def test_a_bad_expectation_names_its_file_and_entry(tmp_path: Path, entry: str, named: list[str]) -> None:
    steward = tmp_path / "steward.yaml"
    steward.write_text(f"- {{name: first, expect: row_count, description: d}}\n- {entry}\n", encoding="utf-8")
    with pytest.raises(ProfileError) as error:
        load_profile(profile(tmp_path, MINIMAL), {})
    assert all(word in str(error.value) for word in [str(steward), *named]), error.value


@pytest.mark.parametrize(
    ("text", "named"),
    [(None, "no such file of expectations"), ("a: b\n", "valid list"), ("[]\n", "at least 1")],
)
def test_a_bad_file_of_expectations_is_named(tmp_path: Path, text: str | None, named: str) -> None:
    if text is not None:
        (tmp_path / "steward.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=named) as error:
        load_profile(profile(tmp_path, MINIMAL), {})
    assert "steward.yaml" in str(error.value)


def test_any_expectation_that_great_expectations_ships_can_be_named() -> None:
    import great_expectations.expectations as gxe

    from afmrl_models.config.expectations import gx_schemas

    shipped = {kind.expectation_type for kind in vars(gxe).values() if hasattr(kind, "expectation_type")}
    assert {name for name in shipped if name in gx_schemas()} == set(gx_schemas())
    assert len(gx_schemas()) > 40
