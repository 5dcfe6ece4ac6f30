from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from mugs import BACKBONE, KEYS
from transformers import AutoModelForImageTextToText, AutoProcessor

from afmrl_models.attributes.prompt import prompt_text
from afmrl_models.catalog.images import ImageStore
from afmrl_models.config import RefinementConfig
from afmrl_models.refinement import rar, samples
from afmrl_models.refinement.rar import CURVES, RarResult, query_rows, refine_generator

CONFIG = RefinementConfig(
    k=2, group_size=4, queries_per_step=4, steps=3, learning_rate=1e-2, temperature=1.2, max_new_tokens=24
)


def refine(
    generator: Path, embedder: Path, listings: pd.DataFrame, images: ImageStore, out: Path, **changes: object
) -> RarResult:
    return refine_generator(
        generator,
        embedder,
        listings,
        images,
        KEYS,
        CONFIG.model_copy(update=changes),
        out,
        seed=3,
        device="cpu",
        backbone=BACKBONE,
    )


@pytest.fixture(scope="module")
def refined(
    generator: Path,
    embedder: Path,
    listings: pd.DataFrame,
    images: ImageStore,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[RarResult, Path]:
    out = tmp_path_factory.mktemp("refined") / "model"
    return refine(generator, embedder, listings, images, out), out


def test_a_run_changes_the_weights_and_saves_a_checkpoint(
    refined: tuple[RarResult, Path], generator: Path
) -> None:
    before = AutoModelForImageTextToText.from_pretrained(generator).state_dict()
    after = AutoModelForImageTextToText.from_pretrained(refined[1]).state_dict()
    assert before.keys() == after.keys()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert max((before[name] - after[name]).abs().max().item() for name in before) > 1e-3
    assert AutoProcessor.from_pretrained(refined[1]).tokenizer.get_vocab()


def test_the_history_has_a_row_a_step(refined: tuple[RarResult, Path]) -> None:
    history = refined[0].history
    assert history["step"].tolist() == [1, 2, 3]
    assert (history["kl"] >= 0).all() and history["kl"].iloc[0] < 1e-6 < history["kl"].iloc[-1]
    assert history["frac_reward_zero_std"].min() < 1, "no group had a signal: the test would prove nothing"
    for column in ("frac_reward_zero_std", "share_invalid", "share_cut_off"):
        assert history[column].between(0, 1).all()
    assert (history["mean_characters"] > 0).all() and (history["mean_tokens"] > 0).all()
    assert not history.isna().any().any()


def test_the_samples_are_whole_groups_whose_rewards_are_in_range(
    refined: tuple[RarResult, Path], listings: pd.DataFrame
) -> None:
    samples = refined[0].samples
    assert list(samples.columns) == [
        "step", "listing_id", "prompt", "completion", "valid", "reward", "advantage",
    ]  # fmt: skip
    assert (samples["valid"] == (samples["reward"] >= 0)).all()
    assert samples.groupby(["step", "listing_id"]).size().eq(CONFIG.group_size).all()
    assert samples["step"].unique().tolist() == [1, 2, 3]
    assert "l12" not in set(samples["listing_id"]), "a listing without a product has no true match"
    titles = dict(zip(listings["listing_id"], listings["title"], strict=True))
    assert all(
        row["prompt"] == prompt_text(titles[row["listing_id"]], KEYS) for row in samples.to_dict("records")
    )
    assert samples["reward"].map(lambda reward: reward in (0.0, 1.0) or abs(reward + 0.1) < 1e-6).all()


def test_the_same_seed_gives_the_same_history(
    refined: tuple[RarResult, Path],
    generator: Path,
    embedder: Path,
    listings: pd.DataFrame,
    images: ImageStore,
    tmp_path: Path,
) -> None:
    again = refine(generator, embedder, listings, images, tmp_path / "again")
    pd.testing.assert_frame_equal(
        again.history.drop(columns="seconds"), refined[0].history.drop(columns="seconds")
    )
    pd.testing.assert_frame_equal(again.samples, refined[0].samples)


def test_further_passes_and_mini_batches_keep_one_row_a_sampled_batch(
    generator: Path, embedder: Path, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    result = refine(
        generator, embedder, listings, images, tmp_path / "m", steps=2, passes=2, mini_batch_size=8
    )
    assert result.history["step"].tolist() == [1, 2]
    assert sorted(result.samples["step"].unique()) == [1, 2]


def test_too_few_queries_are_named(
    generator: Path, embedder: Path, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="only 12"):
        refine(generator, embedder, listings, images, tmp_path / "m", queries_per_step=13)


def test_rows_carry_the_photo_and_a_title_that_is_data(listings: pd.DataFrame, images: ImageStore) -> None:
    row = query_rows(["l0"], listings, images, KEYS)[0]
    assert row["image"].size == (28, 28)
    assert row["listing_id"] == "l0"
    assert all("<|" not in message["content"] for message in row["prompt"])


def test_the_curves_reach_whoever_wants_them_while_it_trains(
    generator: Path, embedder: Path, listings: pd.DataFrame, images: ImageStore, tmp_path: Path
) -> None:
    steps: dict[int, dict[str, float]] = {}
    result = refine_generator(
        generator,
        embedder,
        listings,
        images,
        KEYS,
        CONFIG.model_copy(update={"passes": 2}),
        tmp_path / "model",
        seed=3,
        device="cpu",
        backbone=BACKBONE,
        report=lambda values, step: steps.update({step: dict(values)}),
    )
    assert list(steps) == [1, 2, 3]
    assert {frozenset(values) for values in steps.values()} == {frozenset(CURVES.values())}
    for curve, column in (
        ("rar/reward_mean", "reward"),
        ("rar/no_signal_share", "frac_reward_zero_std"),
        ("rar/text_length", "mean_characters"),
    ):
        np.testing.assert_allclose([values[curve] for values in steps.values()], result.history[column])


def test_the_advantages_on_record_are_those_the_trainer_learns_from(
    generator: Path,
    embedder: Path,
    listings: pd.DataFrame,
    images: ImageStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned: list[float] = []

    class Watched(rar._Trainer):
        def train(self, *arguments: object, **settings: object) -> object:
            done = super().train(*arguments, **settings)
            learned.extend(self._logs["advantages"])
            return done

    monkeypatch.setattr(rar, "_Trainer", Watched)
    monkeypatch.setattr(samples, "GROUPS_KEPT", CONFIG.queries_per_step)
    result = refine(generator, embedder, listings, images, tmp_path / "model")
    last = result.samples[result.samples["step"] == 3]
    assert last["advantage"].abs().max() > 0, "the fixture must reward texts unlike"
    np.testing.assert_allclose(last["advantage"], learned, atol=1e-5)


def test_a_long_run_samples_some_steps_among_them_the_first_and_the_last(
    generator: Path,
    embedder: Path,
    listings: pd.DataFrame,
    images: ImageStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(samples, "SAMPLED_STEPS", 2)
    result = refine(generator, embedder, listings, images, tmp_path / "model", steps=4)
    assert result.samples["step"].unique().tolist() == [1, 3, 4]
