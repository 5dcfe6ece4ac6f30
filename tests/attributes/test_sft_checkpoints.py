"""A distillation that was stopped goes on from its last checkpoint, and comes to the same model."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from noise_photos import noise_photos
from safetensors.torch import load_file

from afmrl_models.attributes import sft
from afmrl_models.attributes.prompt import prompt_text
from afmrl_models.attributes.sft import SftResult, train_generator
from afmrl_models.backbones.small import build_generator
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.learned_from import read_record
from afmrl_models.config import BackboneConfig, LoraSettings, SftConfig

KEYS = ["colour"]
SMALL = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=320)
ADAPTERS = SMALL.model_copy(update={"lora": LoraSettings(rank=2, dropout=0.1)})
# 11 rows in mini-batches of 2, two of them a step: three steps a pass, the last one of three rows.
CONFIG = SftConfig(
    steps=11, batch_size=4, mini_batch_size=2, learning_rate=5e-3, title_dropout=0.3, vary_photos=True
)


class Stopped(Exception):
    pass


@pytest.fixture(scope="module")
def listings() -> pd.DataFrame:
    colours = ["red", "green", "blue"]
    return pd.DataFrame(
        {
            "listing_id": [f"l{row:02d}" for row in range(11)],
            "title": [f"mug number {row}" for row in range(11)],
            "attributes_text": [f"colour: {colours[row % 3]}" for row in range(11)],
            "valid": True,
        }
    )


@pytest.fixture(scope="module")
def images(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return noise_photos(tmp_path_factory.mktemp("images"), listings["listing_id"])


@pytest.fixture(scope="module")
def base(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = [prompt_text(title, KEYS) for title in listings["title"]] + list(listings["attributes_text"])
    return build_generator(SMALL, texts, 28, tmp_path_factory.mktemp("sft") / "base", 0)


class Steps(list[int]):
    """The steps that are really trained; the one of number `stop` is cut off."""

    stop: int | None = None


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Steps:
    taken, original = Steps(), sft._Trainer.training_step

    def counted(self: sft._Trainer, *arguments: object, **settings: object) -> object:
        step = self.state.global_step + 1
        if step == taken.stop:
            raise Stopped
        if step not in taken:
            taken.append(step)
        return original(self, *arguments, **settings)

    monkeypatch.setattr(sft._Trainer, "training_step", counted)
    return taken


@pytest.mark.parametrize("stop", [5, 8], ids=["within a pass", "before a pass that a checkpoint ended"])
@pytest.mark.parametrize("backbone", [SMALL, ADAPTERS], ids=["whole", "adapters"])
def test_a_stopped_distillation_comes_to_the_same_model(
    base: Path,
    listings: pd.DataFrame,
    images: ImageStore,
    tmp_path: Path,
    steps: Steps,
    backbone: BackboneConfig,
    stop: int,
) -> None:
    curves: dict[str, dict[int, float]] = {}

    def train(name: str, **changes: object) -> SftResult:
        def report(values: dict[str, float], step: int) -> None:
            if "train/loss" in values:
                curves.setdefault(name, {})[step] = values["train/loss"]

        return train_generator(
            base, listings, listings, images, KEYS, backbone, CONFIG.model_copy(update=changes),
            tmp_path / name, seed=3, device="cpu", report=report, checkpoints=tmp_path / "checkpoint",
        )  # fmt: skip

    undisturbed = train("undisturbed")
    assert not (tmp_path / "checkpoint").exists()
    steps.stop = stop
    with pytest.raises(Stopped):
        train("resumed")
    steps.stop = None
    steps.clear()
    resumed = train("resumed")
    first = (stop - 1) // 2 * 2 + 1
    assert steps == list(range(first, CONFIG.steps + 1))
    weights = load_file(tmp_path / "undisturbed" / "model.safetensors")
    for name, value in load_file(tmp_path / "resumed" / "model.safetensors").items():
        torch.testing.assert_close(value, weights[name], atol=1e-6, rtol=0, msg=name)
    pd.testing.assert_frame_equal(resumed.history, undisturbed.history, atol=1e-6)
    assert resumed.metrics == pytest.approx(undisturbed.metrics, abs=1e-6)
    assert curves["resumed"] == pytest.approx(curves["undisturbed"], abs=1e-6)
    assert read_record(tmp_path / "resumed").equals(read_record(tmp_path / "undisturbed"))
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("changes", [{"learning_rate": 1e-3}, {"title_dropout": 0.0}])
def test_other_settings_or_texts_start_anew(
    base: Path,
    listings: pd.DataFrame,
    images: ImageStore,
    tmp_path: Path,
    steps: Steps,
    changes: dict[str, float],
) -> None:
    def train(teacher: pd.DataFrame, **changes: float) -> None:
        train_generator(
            base, teacher, listings, images, KEYS, SMALL, CONFIG.model_copy(update={"steps": 4, **changes}),
            tmp_path / "out", seed=3, device="cpu", checkpoints=tmp_path / "checkpoint",
        )  # fmt: skip

    for teacher, settings in ((listings, changes), (listings.assign(attributes_text="colour: red"), {})):
        steps.stop = 4
        with pytest.raises(Stopped):
            train(listings)
        steps.stop = None
        steps.clear()
        train(teacher, **settings)
        assert steps == [1, 2, 3, 4]
