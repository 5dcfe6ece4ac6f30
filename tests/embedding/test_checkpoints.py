"""A training that was stopped goes on from its last checkpoint, and comes to the same model."""

import logging
import signal

import numpy as np
import pytest
import torch

from afmrl_models.catalog.learned_from import read_record
from afmrl_models.config import EmbedderTraining, LoraSettings
from afmrl_models.embedding.embedder import load_embedder
from afmrl_models.embedding.training import train_embedder

STEPS, STOP = 13, 12


class Stopped(Exception):
    pass


def cut_off():
    raise Stopped


class Reports(dict):
    """The loss by step; at step `stop`, what stops the training happens."""

    def __init__(self, stop=None, stopping=cut_off):
        super().__init__()
        self.stop, self.stopping = stop, stopping

    def __call__(self, values, step):
        if step == self.stop:
            self.stopping()
        if "train/loss" in values:
            self[step] = values["train/loss"]


@pytest.fixture
def train(small_catalog, tmp_path):
    def run(out, stop=None, checkpoints=tmp_path / "checkpoint", lora=None, stopping=cut_off, **changes):
        reports = Reports(stop, stopping)
        settings = {"batch_size": 4, "mini_batch_size": 4, "learning_rate": 3e-3} | changes
        result = train_embedder(
            small_catalog.base,
            small_catalog.listings,
            small_catalog.attributes,
            small_catalog.images,
            EmbedderTraining(**settings),
            loss="agcl",
            steps=STEPS,
            out=tmp_path / out,
            seed=0,
            device="cpu",
            backbone=small_catalog.backbone.model_copy(update={"lora": lora}),
            report=reports,
            checkpoints=checkpoints,
        )
        return result, reports

    return run


@pytest.fixture
def stopped(train, tmp_path):
    """A training stopped after its checkpoints at steps 8 and 10."""
    with pytest.raises(Stopped):
        train("out", stop=STOP)
    folder = tmp_path / "checkpoint"
    assert sorted(path.name for path in folder.glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-8"]
    return folder


@pytest.fixture
def forward_steps(monkeypatch):
    """Counts the steps that are really trained."""
    from afmrl_models.embedding.trainer import EmbedderTrainer

    taken = []
    original = EmbedderTrainer.training_step

    def counted(self, *args, **kwargs):
        taken.append(self.state.global_step + 1)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(EmbedderTrainer, "training_step", counted)
    return taken


def assert_same_model(first, second):
    first, second = (load_embedder(path, "cpu").state_dict() for path in (first, second))
    for name, weight in first.items():
        torch.testing.assert_close(weight, second[name], atol=1e-6, rtol=0, msg=name)


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=2, dropout=0.1)], ids=["whole", "adapters"])
def test_a_stopped_training_comes_to_the_same_model(train, tmp_path, forward_steps, lora):
    undisturbed, curve = train("undisturbed", checkpoints=None, lora=lora)
    with pytest.raises(Stopped):
        train("resumed", stop=STOP, lora=lora)
    assert not (tmp_path / "resumed").exists()
    forward_steps.clear()
    resumed, again = train("resumed", lora=lora)
    assert forward_steps == [11, 12, 13]
    assert_same_model(tmp_path / "undisturbed", tmp_path / "resumed")
    np.testing.assert_allclose(resumed.history, undisturbed.history, atol=1e-6)
    assert resumed.metrics["train_loss"] == pytest.approx(undisturbed.metrics["train_loss"], abs=1e-6)
    assert resumed.metrics["train_loss"] == pytest.approx(np.mean(list(curve.values())), abs=1e-6)
    assert again == pytest.approx(curve, abs=1e-6) and list(again) == list(range(1, STEPS + 1))
    assert read_record(tmp_path / "resumed").equals(read_record(tmp_path / "undisturbed"))
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_checkpoint_of_the_step_under_way(train, tmp_path, forward_steps, number):
    def interrupt():
        signal.raise_signal(number)

    before = signal.signal(number, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            train("resumed", stop=7, stopping=interrupt)
        assert signal.getsignal(number) is signal.default_int_handler
    finally:
        signal.signal(number, before)
    assert forward_steps[-1] in (7, 8)
    taken = len(forward_steps)
    train("resumed")
    assert forward_steps[taken] == taken + 1 and forward_steps[-1] == STEPS
    train("undisturbed", checkpoints=None)
    assert_same_model(tmp_path / "undisturbed", tmp_path / "resumed")


@pytest.fixture
def interruptible():
    """SIGINT as at a terminal: whatever started the tests may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_interrupt_does_not_wait(train, tmp_path, forward_steps, interruptible):
    def interrupt_twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError("it went on")

    with pytest.raises(KeyboardInterrupt):
        train("out", stop=7, stopping=interrupt_twice)
    assert not (tmp_path / "checkpoint" / "checkpoint-7").exists()


def test_what_was_trained_to_the_end_but_not_saved_is_not_trained_further(
    train, tmp_path, forward_steps, monkeypatch
):
    with monkeypatch.context() as patched:
        patched.setattr("afmrl_models.embedding.training.save_embedder", lambda *_: cut_off())
        with pytest.raises(Stopped):
            train("resumed")
    assert forward_steps.pop() == STEPS
    forward_steps.clear()
    resumed, _ = train("resumed")
    assert forward_steps == [] and resumed.history.step.iloc[-1] == STEPS
    train("undisturbed", checkpoints=None)
    assert_same_model(tmp_path / "undisturbed", tmp_path / "resumed")


def test_other_settings_start_anew(train, stopped, forward_steps):
    train("out", learning_rate=1e-3)
    assert forward_steps == list(range(1, STEPS + 1))
    assert not stopped.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "checkpoint-10" / "optimizer.pt").write_bytes(b"cut off"),
        lambda folder: (folder / "checkpoint-10" / "trainer_state.json").unlink(),
        lambda folder: (folder / "seals" / "checkpoint-10").unlink(),
    ],
    ids=["optimizer", "state", "unsealed"],
)
def test_a_damaged_checkpoint_is_not_trusted(train, tmp_path, stopped, forward_steps, caplog, damage):
    damage(stopped)
    with caplog.at_level(logging.WARNING):
        train("out")
    assert "checkpoint-10 is cut off or damaged" in caplog.text
    assert forward_steps == list(range(9, STEPS + 1))
    train("undisturbed", checkpoints=None)
    assert_same_model(tmp_path / "undisturbed", tmp_path / "out")


def test_without_a_whole_checkpoint_it_starts_anew(train, stopped, forward_steps):
    for path in stopped.glob("checkpoint-*/trained.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    train("out")
    assert forward_steps == list(range(1, STEPS + 1))


def test_the_history_ends_with_the_last_step(train, monkeypatch):
    monkeypatch.setattr("afmrl_models.embedding.training.LOGGED_STEPS", 3)
    undisturbed, curve = train("undisturbed", checkpoints=None)
    assert list(curve) == [4, 8, 12, 13]
    losses = undisturbed.history.loss
    assert undisturbed.metrics["train_loss"] == pytest.approx(np.average(losses, weights=[4, 4, 4, 1]))
