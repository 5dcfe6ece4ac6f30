"""A refinement that was stopped goes on: it samples the same texts and comes to the same model."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from mugs import BACKBONE, KEYS
from safetensors.torch import load_file

from afmrl_models.backbones.checkpoint import checkpoint_digest
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.learned_from import read_record
from afmrl_models.config import LoraSettings, RefinementConfig
from afmrl_models.refinement import rar
from afmrl_models.refinement.rar import RarResult, refine_generator

# Twelve queries, three steps a pass over them.
CONFIG = RefinementConfig(
    k=2, group_size=4, queries_per_step=4, steps=8, learning_rate=1e-2, temperature=1.2, max_new_tokens=16
)
ADAPTERS = BACKBONE.model_copy(update={"lora": LoraSettings(rank=2, dropout=0.1)})


class Stopped(Exception):
    pass


class Updates(list[int]):
    """The updates that are really trained; the one of number `stop` is cut off."""

    stop: int | None = None


@pytest.fixture
def updates(monkeypatch: pytest.MonkeyPatch) -> Updates:
    taken, original = Updates(), rar._Trainer.training_step

    def counted(self: rar._Trainer, *arguments: object, **settings: object) -> object:
        update = self.state.global_step + 1
        if update == taken.stop:
            raise Stopped
        if update not in taken:
            taken.append(update)
        return original(self, *arguments, **settings)

    monkeypatch.setattr(rar._Trainer, "training_step", counted)
    return taken


@pytest.fixture
def refine(
    generator: Path, embedder: Path, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> Callable[..., RarResult]:
    def run(name: str, lora: bool = False, **changes: object) -> RarResult:
        return refine_generator(
            generator, embedder, listings, images, KEYS, CONFIG.model_copy(update=changes), tmp_path / name,
            seed=3, device="cpu", backbone=ADAPTERS if lora else BACKBONE,
            checkpoints=tmp_path / "checkpoint",
        )  # fmt: skip

    return run


@pytest.mark.parametrize(
    ("changes", "stop", "first"),
    [
        ({}, 6, 6),
        ({}, 7, 7),  # behind a whole pass over the queries
        ({"lora": True}, 6, 6),
        ({"steps": 4, "passes": 2, "mini_batch_size": 8}, 6, 5),  # in the second update of a step
    ],
    ids=["within a pass", "after a pass", "adapters", "two updates a step"],
)
def test_a_stopped_refinement_samples_the_same_texts_and_comes_to_the_same_model(
    refine: Callable[..., RarResult],
    updates: Updates,
    tmp_path: Path,
    changes: dict[str, int],
    stop: int,
    first: int,
) -> None:
    undisturbed = refine("undisturbed", **changes)
    last = updates[-1]
    updates.stop = stop
    with pytest.raises(Stopped):
        refine("resumed", **changes)
    updates.stop = None
    updates.clear()
    resumed = refine("resumed", **changes)
    assert updates == list(range(first, last + 1))
    weights = load_file(tmp_path / "undisturbed" / "model.safetensors")
    for name, value in load_file(tmp_path / "resumed" / "model.safetensors").items():
        torch.testing.assert_close(value, weights[name], atol=1e-6, rtol=0, msg=name)
    pd.testing.assert_frame_equal(resumed.samples, undisturbed.samples)
    pd.testing.assert_frame_equal(
        resumed.history.drop(columns="seconds"), undisturbed.history.drop(columns="seconds"), atol=1e-6
    )
    assert undisturbed.history["frac_reward_zero_std"].min() < 1, "nothing was learned from rewards"
    assert read_record(tmp_path / "resumed").equals(read_record(tmp_path / "undisturbed"))
    assert not (tmp_path / "checkpoint").exists()


def test_other_settings_start_anew(
    refine: Callable[..., RarResult], updates: Updates, tmp_path: Path
) -> None:
    updates.stop = 3
    with pytest.raises(Stopped):
        refine("model", steps=3)
    (last,) = (tmp_path / "checkpoint").glob("checkpoint-2")
    assert (tmp_path / "checkpoint" / "seals" / last.name).read_text() == checkpoint_digest(last)
    updates.stop = None
    updates.clear()
    refine("model", steps=3, beta=0.1)
    assert updates == [1, 2, 3]
