"""A shop, its registry, and nights in which versions are registered, evaluated and judged."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.writing import write_attributes
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.catalog.evaluation_set import freeze_evaluation_set, open_evaluation_set
from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.catalog.splits import split_products
from afmrl_models.config import BackboneConfig, Profile
from afmrl_models.embedding.embedder import load_embedder, new_embedder, save_embedder
from afmrl_models.registry.models import ModelVersion, local_directory, log_embedder, log_generator
from afmrl_models.registry.promotion import (
    Bench,
    Judgement,
    Pair,
    Shown,
    champion_pair,
    judge_challenger,
)
from afmrl_models.registry.promotion.record import note_on_versions
from afmrl_models.registry.promotion.report import REPORT, champion_report
from afmrl_models.registry.tracking import Tracking
from afmrl_models.retrieval.evaluation import evaluate_embedder

SIZE = 28
SMALL = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=300)
HOSTILE = '<script src="http://evil.example/x.js"></script><img src=x onerror=alert(1)> red'
LENIENT = {"max_regression": 1.0, "limits": {}}


def profile(**champion: object) -> Profile:
    return Profile.model_validate(
        {
            "name": "shop",
            "catalog": {"source": {"kind": "generated"}, "image_size": SIZE},
            "attributes": {"generation": {"batch_size": 8, "max_new_tokens": 8}},
            "evaluation": {"tasks": ["fine_grained"], "ks": [1], "bootstrap": 100},
            "champion": {**LENIENT, **champion},
        }
    )


class Shop:
    """A catalog, two embedders and a generator with random weights, and what an evaluation showed them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rows = [(f"l{p}-{o}", f"p{p}") for p in range(16) for o in range(2)]
        self.listings = pd.DataFrame(rows, columns=["listing_id", "product_id"], dtype=object).assign(
            title=[f"shirt {p} {HOSTILE}" for p, _ in rows],
            image_path="",
            content_hash=[p for p, _ in rows],
            category="shirt",
            **dict.fromkeys(("description", "seller", "attributes", "labels"), None),
        )
        self.splits = split_products(self.listings, profile().splits.model_copy(update={"test": 0.6}))
        rng = np.random.default_rng(0)
        with ImageStoreWriter(folder / "images", SIZE) as writer:
            for listing_id in self.listings["listing_id"]:
                writer.add(listing_id, rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8))
        self.images = ImageStore.open(folder / "images")
        (folder / "set").mkdir()
        freeze_evaluation_set(self.listings, self.splits, self.images, folder / "set")
        texts = ["shirt red blue long", "colour: red; sleeve: long"]
        for seed in (0, 1):
            base = build_embedder(SMALL, texts, SIZE, folder / f"base{seed}", seed)
            save_embedder(new_embedder(base, SMALL, "cpu"), folder / f"embedder{seed}")
        build_generator(SMALL, texts, SIZE, folder / "generator0", 0)
        self.texts = self._texts()
        valid = self.texts[self.texts["valid"]]
        self.sample = evaluate_embedder(
            load_embedder(folder / "embedder0", "cpu"),
            self.listings,
            self.splits,
            self.images,
            profile().evaluation,
            query_attributes=dict(zip(valid["listing_id"], valid["attributes_text"], strict=True)),
            seed=0,
        ).sample

    def _texts(self) -> pd.DataFrame:
        queries = set(self.splits.loc[self.splits["role"] == "query", "listing_id"])
        return write_attributes(
            AttributeGenerator.load(self.folder / "generator0", "cpu"),
            self.listings[self.listings["listing_id"].isin(queries)],
            self.images,
            ["colour"],
            profile().attributes.generation,
            version="generator0",
            out=self.folder / "texts.parquet",
        )


class Nights:
    """A registry of its own, and nights in which versions are registered, evaluated and judged."""

    def __init__(self, shop: Shop, home: Path) -> None:
        self.shop, self.home = shop, home
        self.tracking = Tracking(None, home, "shop")
        self.history: list[dict[str, object]] = []

    def register(self, role: str, seed: int) -> ModelVersion:
        directory = self.shop.folder / f"{role}{seed}"
        # A copy: the registry would link the files, and damage would reach the model of all tests.
        shutil.copytree(directory, self.home / "trained" / role, dirs_exist_ok=True)
        with self.tracking.run(role, tags={"round": "round_1"}) as run:
            run.log_params({"seed": seed, "training.steps": 3})
            if role == "embedder":
                return log_embedder(run, self.home / "trained" / role, "shop", image_size=SIZE)
            return log_generator(
                run,
                self.home / "trained" / role,
                "shop",
                image_size=SIZE,
                keys=["colour"],
                generation=profile().attributes.generation,
            )

    def pair(self, seed: int = 0) -> Pair:
        return Pair(self.register("embedder", seed), self.register("generator", seed))

    def shown(self, pair: Pair) -> Shown:
        """What tonight's evaluation showed to a pair that was trained to the weights of seed 0."""
        shop, generator = self.shop, pair.generator
        assert generator is not None
        texts = shop.texts.assign(generator_version=f"{generator.name}/{generator.version}")
        return Shown(shop.sample, texts, shop.listings, shop.images, gallery_texts=False)

    def judge(
        self, pair: Pair, shown: Shown, baseline: ModelVersion | None = None, **champion: object
    ) -> Judgement:
        frozen = open_evaluation_set(self.shop.folder / "set")
        assert frozen is not None
        bench = Bench(profile(**champion), self.tracking, frozen, "cpu", self.home / "texts")
        judgement = judge_challenger(bench, pair, Pair(baseline or pair.embedder), shown)
        report = self.home / REPORT
        report.write_text(champion_report(judgement, bench, self.history), encoding="utf-8")
        self.history.append(judgement.decision.as_dict())
        note_on_versions(self.tracking, judgement, "http://runs/1", report)
        return judgement

    def page(self) -> str:
        """The last night's report."""
        return (self.home / REPORT).read_text(encoding="utf-8")

    def champion(self) -> Pair | None:
        return champion_pair(self.tracking, "shop")

    def files(self, version: ModelVersion | None) -> Path:
        assert version is not None
        return local_directory(self.tracking, version.uri)
