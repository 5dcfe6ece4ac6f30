import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig

import afmrl_models
from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.catalog.decoding import decode
from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.config import BackboneConfig, GenerationConfig
from afmrl_models.embedding.embedder import encode_listings, load_embedder, new_embedder, save_embedder
from afmrl_models.embedding.inputs import listing_text
from afmrl_models.registry.models import (
    ModelVersion,
    RegistryError,
    get_alias,
    local_directory,
    log_embedder,
    log_generator,
    set_alias,
)
from afmrl_models.registry.packaging import package
from afmrl_models.registry.tracking import Tracking

SIZE = 56
ATTRIBUTES = {"a": "colour: red; sleeve: long", "c": "colour: blue"}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture(scope="module")
def listings(room: Path) -> pd.DataFrame:
    """Photos of three shapes, one of them transparent."""
    (room / "photos").mkdir()
    rng = np.random.default_rng(0)
    rows = []
    for listing_id, shape, mode in (("a", (90, 40), "RGB"), ("b", (31, 80), "RGBA"), ("c", (56, 56), "RGB")):
        pixels = rng.integers(0, 255, (*shape, len(mode)), dtype=np.uint8)
        path = room / "photos" / f"{listing_id}.png"
        Image.fromarray(pixels).save(path)
        rows.append({"listing_id": listing_id, "title": f"shirt {listing_id}", "image_path": str(path)})
    return pd.DataFrame(rows)


@pytest.fixture(scope="module")
def images(room: Path, listings: pd.DataFrame) -> ImageStore:
    (room / "images").mkdir()
    with ImageStoreWriter(room / "images", SIZE) as writer:
        for row in listings.itertuples():
            writer.add(row.listing_id, decode(Path(row.image_path).read_bytes(), SIZE))
    return ImageStore.open(room / "images")


@pytest.fixture(scope="module")
def embedder(room: Path) -> Path:
    config = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=300)
    base = build_embedder(
        config, ["shirt red blue long", "colour: red; sleeve: long"], SIZE, room / "base", 0
    )
    save_embedder(new_embedder(base, config, "cpu"), room / "embedder")
    # What a Trainer leaves behind, and what would be run if it were unpickled.
    (room / "embedder" / "training_args.bin").write_bytes(b"pickle")
    return room / "embedder"


@pytest.fixture(scope="module")
def tracking(room: Path) -> Tracking:
    return Tracking(None, room / "home", "small")


@pytest.fixture(scope="module")
def champion(tracking: Tracking, embedder: Path) -> ModelVersion:
    with tracking.run("release", tags={}) as run:
        log_embedder(run, embedder, "small", image_size=SIZE)
        version = log_embedder(run, embedder, "small", image_size=SIZE, tags={"round": "1"})
        run.log_metrics({"fine_grained/recall_at_1": 0.5}, model_id=version.model_id)
    set_alias(tracking, version.name, "champion", version.version)
    return version


def test_a_champion_returns_the_vectors_of_the_directory_it_was_made_from(
    tracking: Tracking, champion: ModelVersion, embedder: Path, listings: pd.DataFrame, images: ImageStore
) -> None:
    expected = encode_listings(
        load_embedder(embedder, "cpu"), listings, images, "multimodal", ATTRIBUTES, batch_size=2
    )
    assert np.abs(expected[0] - expected[1]).max() > 1e-3, "the fixture must tell listings apart"

    served = mlflow.pyfunc.load_model("models:/small-embedder@champion")
    frame = listings[["image_path", "title"]].assign(attributes=listings["listing_id"].map(ATTRIBUTES))
    vectors = served.predict(frame)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)

    path = local_directory(tracking, "models:/small-embedder@champion")
    assert path == local_directory(tracking, f"models:/small-embedder/{champion.version}") != embedder
    loaded = SentenceTransformer(str(path), device="cpu")
    np.testing.assert_allclose(
        encode_listings(loaded, listings, images, "multimodal", ATTRIBUTES, batch_size=3), expected, atol=1e-5
    )

    titles = encode_listings(loaded, listings, images, "text", None, batch_size=3)
    without_attributes = served.predict(frame.drop(columns="attributes"), params={"modality": "text"})
    np.testing.assert_allclose(without_attributes, titles, atol=1e-5)
    with pytest.raises(Exception, match=r"row 0: the photo '/no/such.jpg'"):
        served.predict(frame.assign(image_path="/no/such.jpg"))


# Run far from this checkout: what it imports of this project is the copy inside the version.
ANOTHER_PROGRAM = """
import json, sys
import mlflow, numpy, pandas
from PIL import Image

asked = json.loads(sys.argv[1])
frame = pandas.DataFrame(asked["frame"])
served = mlflow.pyfunc.load_model(asked["uri"])
for size in (1, 64):
    numpy.save(f"pyfunc_{size}.npy", served.predict(frame, params={"batch_size": size}))

version = mlflow.artifacts.download_artifacts(asked["uri"])
sys.path.insert(0, f"{version}/code")
from afmrl_models.backbones.processor import register
register()
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(f"{version}/artifacts/model", device="cpu")
inputs = [{"image": Image.open(p), "text": t} for p, t in zip(asked["photos"], asked["texts"])]
for size in (1, 64):
    numpy.save(f"transformer_{size}.npy", model.encode(inputs, batch_size=size))
ours = {name: module.__file__ or "" for name, module in sys.modules.items() if name.startswith("afmrl")}
print(json.dumps(ours))
"""


def test_another_program_gets_the_pipelines_vectors_from_the_version_alone(
    tracking: Tracking,
    champion: ModelVersion,
    embedder: Path,
    listings: pd.DataFrame,
    images: ImageStore,
    tmp_path: Path,
) -> None:
    expected = encode_listings(
        load_embedder(embedder, "cpu"), listings, images, "multimodal", ATTRIBUTES, batch_size=2
    )
    frame = listings[["image_path", "title"]].assign(
        attributes=[ATTRIBUTES.get(listing_id) for listing_id in listings["listing_id"]]
    )
    photos, texts = [], []
    for listing_id, title in zip(listings["listing_id"], listings["title"], strict=True):
        photos.append(str(tmp_path / f"{listing_id}.png"))
        images.get(listing_id).save(photos[-1])
        texts.append(listing_text(title, ATTRIBUTES.get(listing_id)))
    asked = {
        "uri": "models:/small-embedder@champion",
        "frame": json.loads(frame.to_json(orient="records")),
        "photos": photos,
        "texts": texts,
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", ANOTHER_PROGRAM, json.dumps(asked)],
        cwd=tmp_path,
        env={**environment, "MLFLOW_TRACKING_URI": tracking.uri, "MLFLOW_REGISTRY_URI": tracking.uri},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for name in ("pyfunc_1", "pyfunc_64", "transformer_1", "transformer_64"):
        vectors = np.load(tmp_path / f"{name}.npy")
        assert vectors.dtype == np.float32
        np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5, err_msg=name)
    imported = json.loads(done.stdout.splitlines()[-1])
    assert not [name for name in imported if name.startswith("afmrl_dagster")]
    checkout = str(Path(afmrl_models.__file__).parents[1])
    assert not [path for path in imported.values() if path.startswith(checkout)]
    version = local_directory(tracking, champion.uri).parent.parent
    required = {line.partition("==")[0] for line in (version / "requirements.txt").read_text().splitlines()}
    assert third_party(map(Path, imported.values())) <= required


def third_party(sources: Iterable[Path]) -> set[str]:
    """The distributions whose modules these files import when they are loaded."""
    modules: set[str] = set()
    for source in sources:
        for node in ast.parse(source.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                modules |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules.add(node.module.partition(".")[0])
    distributions = packages_distributions()
    return {distributions[m][0].lower() for m in modules - sys.stdlib_module_names - {"afmrl_models"}}


def test_a_generator_writes_the_same_texts_when_loaded_back(
    tracking: Tracking, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    config = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=300)
    directory = build_generator(config, ["shirt red", "colour: red; sleeve: long"], SIZE, tmp_path / "g", 0)
    generation = GenerationConfig(batch_size=2, max_new_tokens=8)
    with tracking.run("generator", tags={}) as run:
        version = log_generator(
            run, directory, "small", image_size=SIZE, keys=["colour"], generation=generation
        )
    expected = AttributeGenerator.load(directory, "cpu", torch.float32).generate(
        listings, images, ["colour"], generation
    )
    assert (version.name, version.version) == ("small-generator", 1)
    served = mlflow.pyfunc.load_model(version.uri)
    assert served.predict(listings[["image_path", "title"]]) == expected
    kept = AttributeGenerator.load(local_directory(tracking, version.uri), "cpu", torch.float32)
    assert kept.generate(listings, images, ["colour"], generation) == expected


def test_a_version_holds_safetensors_code_and_requirements_and_no_pickle(
    tracking: Tracking, champion: ModelVersion
) -> None:
    directory = local_directory(tracking, champion.uri)
    version = directory.parent.parent
    suffixes = {path.suffix for path in version.rglob("*") if path.is_file()}
    assert ".safetensors" in suffixes
    assert not suffixes & {".bin", ".pkl", ".pt"}
    assert json.loads((directory / "afmrl.json").read_text())["image_size"] == SIZE
    assert AutoConfig.from_pretrained(directory).model_type == "qwen2_vl"
    requirements = (version / "requirements.txt").read_text().splitlines()
    assert any(line.startswith("sentence-transformers==") for line in requirements)
    assert not any("+" in line or line.startswith("afmrl") for line in requirements)
    assert (version / "code" / "afmrl_models" / "embedding" / "embedder.py").is_file()


def test_versions_aliases_and_metrics_are_linked(tracking: Tracking, champion: ModelVersion) -> None:
    assert champion.version == 2
    assert champion.uri == "models:/small-embedder/2"
    assert get_alias(tracking, "small-embedder", "champion") == champion
    assert get_alias(tracking, "small-embedder", "challenger") is None
    assert get_alias(tracking, "other-embedder", "champion") is None
    assert tracking.client.get_model_version("small-embedder", "2").tags["round"] == "1"
    logged = tracking.client.get_logged_model(champion.model_id)
    assert {m.key: m.value for m in logged.metrics or []} == {"fine_grained/recall_at_1": 0.5}
    set_alias(tracking, "small-embedder", "challenger", 1)
    found = get_alias(tracking, "small-embedder", "challenger")
    assert found is not None and found.version == 1
    assert found.model_id != champion.model_id


@pytest.mark.parametrize(
    "uri",
    [
        "models:/small-embedder@nobody",
        "models:/nothing@champion",
        "models:/nothing/1",
        "models:/small-embedder/99",
        "models:/small-embedder",
        "models:small-embedder/1",
        "/no/such/directory",
    ],
)
def test_a_model_that_is_not_there_is_named(tracking: Tracking, champion: ModelVersion, uri: str) -> None:
    with pytest.raises(RegistryError, match=f"^{uri}: "):
        local_directory(tracking, uri)


def test_an_alias_needs_a_version(tracking: Tracking, champion: ModelVersion) -> None:
    with pytest.raises(RegistryError, match="models:/small-embedder/99"):
        set_alias(tracking, "small-embedder", "champion", 99)


def test_a_path_stays_a_path(tracking: Tracking, embedder: Path) -> None:
    assert local_directory(tracking, embedder) == embedder


def test_a_directory_without_a_model_or_with_a_pickle_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()

    def refused(why: str) -> None:
        with (
            pytest.raises(RegistryError, match=f"{model}: .*{why}"),
            package(model, "modules.json", {}, tmp_path),
        ):
            raise AssertionError("must be refused")

    refused("holds no modules.json")
    (model / "modules.json").write_text("[]")
    refused("holds no weights")
    (model / "model.safetensors").write_bytes(b"")
    (model / "inner").mkdir()
    (model / "inner" / "pytorch_model.bin").write_bytes(b"")
    refused("inner/pytorch_model.bin")
    (model / "inner" / "pytorch_model.bin").unlink()
    (model / "afmrl.json").write_text('{"image_size": 1}')
    with package(model, "modules.json", {"image_size": 2}, tmp_path) as staged:
        assert json.loads((staged / "afmrl.json").read_text()) == {"image_size": 2}
    assert json.loads((model / "afmrl.json").read_text()) == {"image_size": 1}, "the original is left alone"
    assert {path.name for path in tmp_path.iterdir()} == {"model"}
