"""Texts of training listings come from generators that have not seen the product."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from noise_photos import noise_photos

from afmrl_models.attributes import cross_fitting
from afmrl_models.attributes.cross_fitting import CrossFitter, folds_of, steps_outside_a_fold
from afmrl_models.attributes.prompt import prompt_text
from afmrl_models.attributes.sft import train_generator
from afmrl_models.backbones.small import build_generator
from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.learned_from import LearnedFrom
from afmrl_models.config import BackboneConfig, GenerationConfig, SftConfig
from afmrl_models.errors import UserError

KEYS = ["colour"]
SMALL = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=320)


@pytest.fixture(scope="module")
def listings() -> pd.DataFrame:
    numbers = range(12)
    return pd.DataFrame(
        {
            "listing_id": [f"l{number:02d}" for number in numbers],
            "product_id": [None if number == 11 else f"p{number // 2}" for number in numbers],
            "title": [f"mug number {number}" for number in numbers],
            "content_hash": [f"h{number}" for number in numbers],
        }
    )


@pytest.fixture(scope="module")
def teacher(listings: pd.DataFrame) -> pd.DataFrame:
    texts = [f"colour: {['red', 'green', 'blue'][row % 3]}" for row in range(len(listings))]
    return listings[["listing_id"]].assign(attributes_text=texts, valid=True)


@pytest.fixture(scope="module")
def images(listings: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return noise_photos(tmp_path_factory.mktemp("images"), listings["listing_id"])


@pytest.fixture
def fitter(listings: pd.DataFrame, teacher: pd.DataFrame, tmp_path: Path) -> CrossFitter:
    texts = [prompt_text(title, KEYS) for title in listings["title"]] + list(teacher["attributes_text"])
    base = build_generator(SMALL, texts, 28, tmp_path / "base", 0)
    sft = SftConfig(steps=4, batch_size=4, folds=2)
    (tmp_path / "kept").mkdir()
    return CrossFitter(
        base,
        KEYS,
        SMALL,
        sft,
        GenerationConfig(max_new_tokens=8),
        seed=0,
        device="cpu",
        kept=tmp_path / "kept",
    )


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps of each training that is really done."""
    steps: list[int] = []

    def noted(*arguments: object, **settings: object) -> object:
        steps.append(arguments[6].steps)  # type: ignore[attr-defined]
        return train_generator(*arguments, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(cross_fitting, "train_generator", noted)
    return steps


def test_offers_of_a_product_share_a_fold_and_unknown_products_have_their_own(listings: pd.DataFrame) -> None:
    folds = folds_of(listings, 3, seed=0)
    assert set(folds) == {0, 1, 2}
    by_product = pd.Series(folds).groupby(listings["product_id"]).nunique()
    assert (by_product == 1).all()
    assert np.array_equal(folds_of(listings[::-1], 3, seed=0), folds[::-1])
    assert not np.array_equal(folds_of(listings, 3, seed=1), folds)


def test_a_fold_that_no_product_falls_into_is_an_error(listings: pd.DataFrame) -> None:
    with pytest.raises(UserError, match="1 training products leave one of 2 folds empty"):
        folds_of(listings[:2], 2, seed=0)


def test_each_listing_is_read_as_often_as_by_the_generator_of_all() -> None:
    assert steps_outside_a_fold(SftConfig(steps=500, folds=2)) == 250
    assert steps_outside_a_fold(SftConfig(steps=500, folds=5)) == 400


def test_no_writer_has_seen_the_products_it_writes_about(
    fitter: CrossFitter, teacher: pd.DataFrame, listings: pd.DataFrame, images: ImageStore
) -> None:
    seen = LearnedFrom()
    table = fitter.write(teacher, listings, images, seen)
    assert list(table["listing_id"]) == list(listings["listing_id"])
    folds, read = folds_of(listings, 2, seed=0), seen.state()
    for fold in (0, 1):
        inside = set(listings["listing_id"][folds == fold])
        assert set(read[f"distillation outside fold {fold}"]) == set(listings["listing_id"]) - inside
        writers = table["generator_version"][table["listing_id"].isin(inside)]
        assert writers.nunique() == 1 and writers.iloc[0].startswith(f"outside fold {fold}: ")


def test_finished_folds_are_kept_until_something_changes(
    fitter: CrossFitter,
    teacher: pd.DataFrame,
    listings: pd.DataFrame,
    images: ImageStore,
    trained: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write = cross_fitting.write_attributes

    def stopped_in_the_second_fold(*arguments: object, **settings: object) -> object:
        if len(trained) == 2:
            raise KeyboardInterrupt
        return write(*arguments, **settings)  # type: ignore[arg-type]

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(cross_fitting, "write_attributes", stopped_in_the_second_fold)
        fitter.write(teacher, listings, images, LearnedFrom())
    first = fitter.write(teacher, listings, images, LearnedFrom())
    assert trained == [2, 2]  # each fold's generator once, though the second had not written yet
    again = LearnedFrom()
    pd.testing.assert_frame_equal(fitter.write(teacher, listings, images, again), first)
    assert len(trained) == 2 and len(again.state()) == 2
    longer = replace(fitter, sft=fitter.sft.model_copy(update={"steps": 6}))
    longer.write(teacher, listings, images, LearnedFrom())
    assert trained[2:] == [3, 3]
    assert len(list(fitter.kept.iterdir())) == 2
