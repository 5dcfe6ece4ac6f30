"""Training: it learns, it can be repeated, and both losses see the same batches."""

import numpy as np
import pytest
import torch

from afmrl_models.attributes.bm25 import BM25
from afmrl_models.config import BackboneConfig, EmbedderTraining, LoraSettings
from afmrl_models.embedding import training
from afmrl_models.embedding.embedder import encode_listings, load_embedder
from afmrl_models.embedding.training import train_embedder


def train(catalog, out, loss="agcl", steps=4, base=None, backbone=None, seed=0, listings=None, **changes):
    settings = {"batch_size": 8, "mini_batch_size": 4, "learning_rate": 3e-3} | changes
    return train_embedder(
        base or catalog.base,
        catalog.listings if listings is None else listings,
        catalog.attributes,
        catalog.images,
        EmbedderTraining(**settings),
        loss=loss,
        steps=steps,
        out=out,
        seed=seed,
        device="cpu",
        backbone=backbone or catalog.backbone,
    )


def hit_rate(path, catalog):
    """Share of first offers whose nearest second offer is of the same product."""
    model = load_embedder(path, "cpu")
    queries, gallery = (
        encode_listings(model, catalog.listings.iloc[offer::2], catalog.images, "multimodal", None, 12)
        for offer in (0, 1)
    )
    return float(((queries @ gallery.T).argmax(axis=1) == np.arange(len(queries))).mean())


@pytest.mark.parametrize("loss", ["infonce", "agcl"])
def test_it_learns(small_catalog, tmp_path, loss):
    result = train(small_catalog, tmp_path / "out", loss, steps=40, batch_size=12, mini_batch_size=12)
    assert hit_rate(tmp_path / "out", small_catalog) >= 0.9
    assert result.history.loss.iloc[-5:].mean() < 0.6 * result.history.loss.iloc[:5].mean()
    assert result.history.step.tolist() == list(range(1, 41))
    assert result.history.learning_rate.idxmax() == 2 and result.history.learning_rate.iloc[-1] < 3e-5
    assert result.metrics["steps"] == 40 and result.metrics["pairs"] == 480 and result.seconds > 0
    assert result.settings["loss"] == loss
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_same_seed_gives_the_same_model(small_catalog, tmp_path):
    for name in ("a", "b"):
        train(small_catalog, tmp_path / name)
    first, second = (load_embedder(tmp_path / name, "cpu").state_dict() for name in ("a", "b"))
    for name, weight in first.items():
        assert torch.equal(weight, second[name]), name


@pytest.mark.parametrize("by", ["attributes", "embedder"])
def test_look_alikes_are_those_of_the_attributes_or_of_the_embedder_it_starts_from(
    small_catalog, tmp_path, monkeypatch, by
):
    train(small_catalog, tmp_path / "start", "infonce")
    asked = {}
    original = training.plan_batches

    def recording(products, config, steps, seed, likeness):
        asked["likeness"] = likeness
        return original(products, config, steps, seed, likeness)

    monkeypatch.setattr(training, "plan_batches", recording)
    train(small_catalog, tmp_path / "out", base=tmp_path / "start", neighbours=2, neighbours_by=by)
    rows = np.arange(len(small_catalog.listings))
    if by == "embedder":
        start = load_embedder(tmp_path / "start", "cpu")
        vectors = encode_listings(start, small_catalog.listings, small_catalog.images, "multimodal", None, 5)
        expected = vectors @ vectors.T
    else:
        texts = [small_catalog.attributes.get(id_, "") for id_ in small_catalog.listings["listing_id"]]
        expected = BM25(texts).scores(rows.tolist(), rows.tolist()).numpy()
    found = np.stack([asked["likeness"](row, rows) for row in rows])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_both_losses_see_the_same_batches(small_catalog, tmp_path, monkeypatch):
    seen = {}
    original = training._objective

    def recording(loss, model, *rest):
        objective = original(loss, model, *rest)
        forward = objective.forward

        def record(features, labels):
            features = list(features)
            ids = [feature["input_ids"].tolist() for feature in features]
            pixels = [
                feature["pixel_values"].sum().item() for feature in features if "pixel_values" in feature
            ]
            seen.setdefault(loss, []).append((labels.tolist(), ids, pixels))
            return forward(features, labels)

        objective.forward = record
        return objective

    monkeypatch.setattr(training, "_objective", recording)
    for loss in ("infonce", "agcl"):
        train(small_catalog, tmp_path / loss, loss, steps=6)
    assert len(seen["agcl"]) == 6
    assert seen["infonce"] == seen["agcl"]
    assert len({str(batch) for batch in seen["agcl"]}) == 6


def test_training_continues_from_a_saved_embedder(small_catalog, tmp_path):
    train(small_catalog, tmp_path / "first", "infonce")
    train(small_catalog, tmp_path / "second", base=tmp_path / "first", learning_rate=1e-9)
    vectors = [
        encode_listings(
            load_embedder(tmp_path / name, "cpu"),
            small_catalog.listings,
            small_catalog.images,
            "text",
            None,
            9,
        )
        for name in ("first", "second")
    ]
    np.testing.assert_allclose(*vectors, atol=1e-4)


def test_caching_changes_nothing_but_memory(small_catalog, tmp_path):
    results = [
        train(small_catalog, tmp_path / "out", gradient_caching=caching, learning_rate=1e-4)
        for caching in (True, False)
    ]
    np.testing.assert_allclose(results[0].history.loss, results[1].history.loss, rtol=1e-4)
    np.testing.assert_allclose(results[0].history.grad_norm, results[1].history.grad_norm, rtol=1e-2)


def test_adapters_on_a_half_precision_backbone(small_catalog, tmp_path):
    backbone = BackboneConfig(pretrained=str(small_catalog.base), dtype="bfloat16", lora=LoraSettings(rank=4))
    result = train(small_catalog, tmp_path / "out", steps=3, backbone=backbone)
    assert np.isfinite(result.history.loss).all() and (result.history.grad_norm > 0).all()
    model = load_embedder(tmp_path / "out", "cpu")
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    vectors = encode_listings(model, small_catalog.listings, small_catalog.images, "multimodal", None, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_listings_without_product_or_attributes(small_catalog, tmp_path):
    listings = small_catalog.listings.assign(product_id=None)
    catalog = type(small_catalog)(
        listings, {}, small_catalog.images, small_catalog.base, small_catalog.backbone
    )
    assert np.isfinite(train(catalog, tmp_path / "out").metrics["train_loss"])


def test_refuses_what_it_cannot_train(small_catalog, tmp_path):
    with pytest.raises(ValueError, match="at least one step"):
        train(small_catalog, tmp_path / "out", steps=0)
    with pytest.raises(ValueError, match="at least two products"):
        train(small_catalog, tmp_path / "out", listings=small_catalog.listings.iloc[:2])
    with pytest.raises(ValueError, match="'infonce' or 'agcl'"):
        train(small_catalog, tmp_path / "out", loss="triplet")
    assert not list(tmp_path.iterdir())
