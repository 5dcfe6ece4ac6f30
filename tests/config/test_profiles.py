"""Shipped profiles load, are complete and commented; a bad profile names its file and key."""

import re
from pathlib import Path

import pytest
import yaml

from afmrl_models.config import Profile, ProfileError, load_profile

SHIPPED = sorted((Path(__file__).resolve().parents[2] / "assets_config").glob("*.yaml"))
ENVIRONMENT = {"AFMRL_CATALOG": "/data/shop", "TEACHER_URL": "http://127.0.0.1:8000/v1"}

LADDERS = {"ladder": "fashion-ladder", "ladder_grocery": "grocery-ladder"}


def test_the_profiles_are_shipped() -> None:
    assert {"demo", "fashion", "grocery", "ladder", "m5product", "paper", "product1m"} <= {
        path.stem for path in SHIPPED
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_profile_is_valid_and_named_after_its_file(path: Path) -> None:
    name = LADDERS.get(path.stem, path.stem)
    assert load_profile(path, ENVIRONMENT).name == name


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
    written = yaml.safe_load(next(p for p in SHIPPED if p.stem == "demo").read_text(encoding="utf-8"))
    complete = Profile.model_validate(written).model_dump(mode="json")

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
