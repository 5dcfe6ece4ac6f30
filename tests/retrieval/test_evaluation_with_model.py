"""Evaluation of a real, untrained embedder with photos: from checkpoint to contact sheet."""

import numpy as np
import pandas as pd

from afmrl_models.backbones.small import build_embedder
from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.config import BackboneConfig, EvaluationConfig
from afmrl_models.embedding.embedder import encode_listings, new_embedder
from afmrl_models.retrieval.contact_sheet import contact_sheet, sheet_rows
from afmrl_models.retrieval.evaluation import evaluate_embedder, model_encoder


def test_a_model_is_evaluated_on_its_own_vectors(tmp_path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"listing_id": f"l{p}{o}", "product_id": f"p{p}", "title": f"thing {p} {o}", "category": f"c{p % 2}"}
        for p in range(6)
        for o in "ab"
    ]
    listings = pd.DataFrame(rows)
    splits = listings[["listing_id"]].assign(
        split="test", role=["query" if id_.endswith("a") else "gallery" for id_ in listings["listing_id"]]
    )
    with ImageStoreWriter(tmp_path, 28) as writer:
        for listing_id in listings["listing_id"]:
            writer.add(listing_id, rng.integers(0, 256, (28, 28, 3), dtype=np.uint8))
    images = ImageStore.open(tmp_path)
    backbone = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=320)
    base = build_embedder(backbone, listings["title"], 28, tmp_path / "base", seed=0)
    model = new_embedder(base, backbone, "cpu")
    config = EvaluationConfig(ks=[1, 3], bootstrap=100, batch_size=4)
    texts = {"l0a": "colour: red", "l1a": "colour: blue"}
    evaluation = evaluate_embedder(model, listings, splits, images, config, query_attributes=texts, seed=0)
    assert not evaluation.left_out
    queries, gallery = listings.iloc[::2], listings.iloc[1::2]
    q = encode_listings(model, queries, images, "text", texts, 12)
    g = encode_listings(model, gallery, images, "image", None, 12)
    hits = [
        own == gallery["product_id"].iloc[np.argmax(g @ v)]
        for v, own in zip(q, queries["product_id"], strict=True)
    ]
    assert evaluation.metrics["text_to_image/recall_at_1"] == np.mean(hits)
    assert evaluation.metrics["fine_grained/queries"] == 6
    assert contact_sheet(sheet_rows(evaluation, listings, worst=3, best=3), images).size[0] > 500


def test_rows_of_one_embedder_share_what_it_embeds(tmp_path, monkeypatch) -> None:
    import afmrl_models.embedding.embedder as embedder

    asked: list[tuple[str, int, bool]] = []

    def counted(model, listings, images, modality, attributes, batch_size, progress):
        asked.append((modality, len(listings), attributes is not None))
        return np.ones((len(listings), 2), dtype=np.float32)

    monkeypatch.setattr(embedder, "encode_listings", counted)
    listings = pd.DataFrame({"listing_id": ["a", "b"]})
    encode = model_encoder(None, None, 8, progress=False)
    encode(listings, "multimodal", None)
    encode(listings, "multimodal", {"elsewhere": "colour: red"})
    encode(listings, "multimodal", {"a": "colour: red"})
    encode(listings, "multimodal", {"a": "colour: blue"})
    encode(listings, "image", {"a": "colour: blue"})
    encode(listings, "image", None)
    encode(listings[:1], "multimodal", None)
    assert [modality for modality, _, _ in asked] == ["multimodal"] * 3 + ["image", "multimodal"]
