"""Planned batches: kinds, products, attribute dropout, determinism."""

import logging

import numpy as np
import pytest

from afmrl_models.config import EmbedderTraining
from afmrl_models.embedding.loss import product_numbers
from afmrl_models.embedding.pairs import plan_batches

PRODUCTS = np.repeat(np.arange(40), [1, 2, 3, 4] * 10)


def settings(**changes):
    return EmbedderTraining(**({"batch_size": 16} | changes))


def test_pairs_are_of_one_product_and_no_product_comes_twice():
    for batch in plan_batches(PRODUCTS, settings(), steps=60, seed=0):
        assert len(batch.anchors) == 16
        products = PRODUCTS[batch.anchors]
        assert (products == PRODUCTS[batch.positives]).all()
        assert len(set(products)) == 16
        several = np.bincount(PRODUCTS)[products] > 1
        assert (batch.anchors != batch.positives)[several].all()
        assert (batch.anchors == batch.positives)[~several].all()
        if batch.kind == "same_product":
            assert several.all()


@pytest.mark.parametrize("steps", [1, 7, 20])
def test_kinds_have_their_shares(steps):
    batches = plan_batches(PRODUCTS, settings(), steps=steps, seed=0)
    assert len(batches) == steps
    for kind, share in settings().pair_kinds.items():
        assert abs(sum(batch.kind == kind for batch in batches) - share * steps) < 1


def test_every_product_is_drawn_before_one_is_drawn_again():
    config = settings(pair_kinds={"same_product": 1.0}, batch_size=7)
    drawn = np.concatenate([PRODUCTS[b.anchors] for b in plan_batches(PRODUCTS, config, steps=30, seed=1)])
    assert np.ptp(np.unique(drawn, return_counts=True)[1]) <= 1
    assert len(set(drawn)) == 30


def test_every_listing_is_drawn_on_both_sides():
    config = settings(pair_kinds={"image_to_multimodal": 1.0})
    batches = plan_batches(PRODUCTS, config, steps=200, seed=1)
    for side in ("anchors", "positives"):
        assert len(np.unique(np.concatenate([getattr(b, side) for b in batches]))) == len(PRODUCTS)


@pytest.mark.parametrize("dropout", [0.0, 0.3, 1.0])
def test_attribute_dropout(dropout):
    config = settings(attribute_dropout=dropout, gallery_attribute_dropout=1 - dropout)
    batches = plan_batches(PRODUCTS, config, steps=200, seed=0)
    shown = np.concatenate([batch.anchor_attributes for batch in batches]).mean()
    assert shown == pytest.approx(1 - dropout, abs=0.03 if dropout == 0.3 else 0)
    shown = np.concatenate([batch.positive_attributes for batch in batches]).mean()
    assert shown == pytest.approx(dropout, abs=0.03 if dropout == 0.3 else 0)


def test_the_seed_decides():
    def flat(seed):
        batches = plan_batches(PRODUCTS, settings(), steps=10, seed=seed)
        return [
            (b.kind, b.anchors.tolist(), b.positives.tolist(), b.anchor_attributes.tolist()) for b in batches
        ]

    assert flat(3) == flat(3)
    assert flat(3) != flat(4)


def test_fewer_products_than_the_batch_size_make_smaller_batches(caplog):
    with caplog.at_level(logging.WARNING):
        batches = plan_batches(PRODUCTS[:21], settings(), steps=20, seed=0)
    sizes = {batch.kind: {len(b.anchors) for b in batches if b.kind == batch.kind} for batch in batches}
    assert sizes == {"same_product": {6}, "image_to_text": {9}, "image_to_multimodal": {9}}
    assert "at most one pair of a product" in caplog.text


def test_without_products_only_photos_ask(caplog):
    numbers = product_numbers([None, float("nan"), None, None])
    with caplog.at_level(logging.WARNING):
        batches = plan_batches(numbers, settings(), steps=20, seed=0)
    assert {batch.kind for batch in batches} == {"image_to_text", "image_to_multimodal"}
    assert "0 of 4 products have two listings: same_product pairs are left out" in caplog.text


def test_says_when_there_is_nothing_to_train_on():
    with pytest.raises(ValueError, match="no product has two listings"):
        plan_batches(np.arange(5), settings(pair_kinds={"same_product": 1.0}), steps=1, seed=0)
    with pytest.raises(ValueError, match="at least two products"):
        plan_batches(np.zeros(5, dtype=int), settings(), steps=1, seed=0)


def test_listings_without_a_product_are_their_own():
    assert product_numbers(["b", None, "a", "b", None]).tolist() == [0, 1, 2, 0, 3]


def alike(row, candidates):
    """Products of one decade are alike."""
    return (PRODUCTS[candidates] // 10 == PRODUCTS[row] // 10).astype(float)


def test_neighbours_come_into_a_batch_together():
    config = settings(neighbours=4, pair_kinds={"image_to_multimodal": 1.0}, batch_size=8)
    batches = plan_batches(PRODUCTS, config, steps=5, seed=0, likeness=alike)
    assert np.array_equal(np.sort(np.concatenate([PRODUCTS[b.anchors] for b in batches])), np.arange(40))
    together = [set(PRODUCTS[b.anchors[start : start + 4]] // 10) for b in batches for start in (0, 4)]
    assert np.mean([len(decades) for decades in together]) < 1.5, together


def test_batches_of_neighbours_keep_every_promise_of_random_ones():
    config = settings(neighbours=3, pair_kinds={"same_product": 1.0}, batch_size=7)
    batches = plan_batches(PRODUCTS, config, steps=30, seed=1, likeness=alike)
    drawn = [PRODUCTS[batch.anchors] for batch in batches]
    assert all(len(products) == len(set(products)) == 7 for products in drawn)
    assert np.ptp(np.unique(np.concatenate(drawn), return_counts=True)[1]) <= 1


def test_batches_of_neighbours_need_to_know_what_is_alike():
    with pytest.raises(ValueError, match="likeness"):
        plan_batches(PRODUCTS, settings(neighbours=2), steps=1, seed=0)
