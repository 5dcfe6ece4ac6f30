"""Who becomes champion: real versions in a real registry, their files damaged as files get damaged."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from afmrl_models.attributes.generator import AttributeGenerator
from afmrl_models.attributes.writing import write_attributes
from afmrl_models.backbones.small import build_embedder, build_generator
from afmrl_models.catalog.evaluation_set import freeze_evaluation_set, open_evaluation_set
from afmrl_models.catalog.images import ImageStore, ImageStoreWriter
from afmrl_models.catalog.splits import split_products
from afmrl_models.config import BackboneConfig, Profile
from afmrl_models.embedding.embedder import load_embedder, new_embedder, save_embedder
from afmrl_models.registry.models import (
    DIGEST,
    ModelVersion,
    RegistryError,
    get_alias,
    local_directory,
    log_embedder,
    log_generator,
    set_alias,
)
from afmrl_models.registry.promotion import (
    Bench,
    Judgement,
    Pair,
    Shown,
    champion_pair,
    find_way_back,
    judge_challenger,
    roll_back,
    versions_table,
)
from afmrl_models.registry.promotion.record import note_on_versions
from afmrl_models.registry.tracking import Tracking
from afmrl_models.retrieval.evaluation import evaluate_embedder

SIZE = 28
SMALL = BackboneConfig(hidden_size=32, layers=1, vision_layers=1, vocabulary=300)
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
            title=[f"shirt {p} red" for p, _ in rows],
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

    def register(self, role: str, seed: int) -> ModelVersion:
        directory = self.shop.folder / f"{role}{seed}"
        # A copy: the registry would link the files, and damage would reach the model of all tests.
        shutil.copytree(directory, self.home / "trained" / role, dirs_exist_ok=True)
        with self.tracking.run(role, tags={}) as run:
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
        note_on_versions(self.tracking, judgement, "http://reports")
        return judgement

    def champion(self) -> Pair | None:
        return champion_pair(self.tracking, "shop")

    def files(self, version: ModelVersion | None) -> Path:
        assert version is not None
        return local_directory(self.tracking, version.uri)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return Shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture
def nights(shop: Shop, tmp_path: Path) -> Nights:
    return Nights(shop, tmp_path)


def test_a_fortnight_in_short(nights: Nights) -> None:
    """Promoted, kept, promoted, rolled back, not promoted again, and forward by name."""
    first = nights.pair()
    shown = nights.shown(first)
    decision = nights.judge(first, shown).decision
    assert (decision.outcome, decision.against, decision.champion_before) == ("promoted", "baseline", None)
    assert nights.champion() == first
    assert nights.judge(first, shown).decision.outcome == "unchanged"

    second = nights.pair()
    shown = nights.shown(second)
    kept = nights.judge(second, shown, require="better")
    assert kept.decision.outcome == "kept" and "is not shown to be better" in kept.decision.reason
    assert kept.champion is not None and kept.challenger is not None and nights.champion() == first
    challenger = get_alias(nights.tracking, "shop-embedder", "challenger")
    assert challenger == second.embedder
    with pytest.raises(RegistryError, match="replaced no champion"):
        find_way_back(nights.tracking, "shop", None, {first.name})

    assert nights.judge(second, shown).decision.champion_before == first.name
    assert nights.champion() == second
    formerly = {first.name, second.name}
    for to, why in ((2, "is the champion already"), (99, "no such version")):
        with pytest.raises(RegistryError, match=why):
            find_way_back(nights.tracking, "shop", to, formerly)
    with pytest.raises(RegistryError, match="was never champion"):
        find_way_back(nights.tracking, "shop", 1, {second.name})
    way = find_way_back(nights.tracking, "shop", None, formerly)
    roll_back(nights.tracking, "shop", way, way.event("ann", "wrong colours"))
    assert nights.champion() == first
    generator = get_alias(nights.tracking, "shop-generator", "champion")
    assert generator == first.generator
    again = nights.judge(second, shown).decision
    assert again.outcome == "refused" and "by ann: wrong colours" in again.reason
    assert nights.champion() == first

    table = versions_table(nights.tracking, "shop").set_index("version")
    assert table.loc[1, "aliases"] == "champion" and table.loc[2, "decision"] == "refused"
    assert "wrong colours" in table.loc[2, "refused"] and table.loc[1, "generator"] == "1"
    forward = find_way_back(nights.tracking, "shop", 2, formerly)
    roll_back(nights.tracking, "shop", forward, forward.event("ann", ""))
    assert nights.champion() == second
    assert nights.judge(second, shown).decision.outcome == "unchanged"


def test_a_baseline_that_holds_out_is_the_first_champion_and_has_no_generator(nights: Nights) -> None:
    baseline, challenger = nights.register("embedder", 1), nights.pair()
    decision = nights.judge(challenger, nights.shown(challenger), baseline, require="better").decision
    assert decision.outcome == "kept" and "the baseline becomes it" in decision.reason
    assert nights.champion() == Pair(baseline)


def test_a_champion_known_by_its_alias_alone_is_gone_back_to_without_a_generator(nights: Nights) -> None:
    baseline, challenger = nights.register("embedder", 1), nights.pair()
    set_alias(nights.tracking, baseline.name, "champion", baseline.version)
    assert nights.judge(challenger, nights.shown(challenger)).decision.outcome == "promoted"
    assert nights.champion() == challenger
    way = find_way_back(nights.tracking, "shop", None, {f"shop-embedder/{baseline.version}"})
    roll_back(nights.tracking, "shop", way, way.event("ann", ""))
    assert nights.champion() == Pair(baseline)
    assert get_alias(nights.tracking, "shop-generator", "champion") is None


def cut_off(directory: Path) -> None:
    weights = directory / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def without_weights(directory: Path) -> None:
    (directory / "model.safetensors").unlink()


def one_bit(directory: Path) -> None:
    weights = directory / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def another_architecture(directory: Path) -> None:
    config = directory / "config.json"
    config.write_text(config.read_text().replace('"hidden_size": 32', '"hidden_size": 64'))


def gone(directory: Path) -> None:
    shutil.rmtree(directory)


# With its digest on record, and where only loading it can tell.
DAMAGE = [(one_bit, True), *((how, False) for how in (cut_off, without_weights, another_architecture, gone))]


@pytest.mark.parametrize("role", ["embedder", "generator"])
def test_a_damaged_version_is_refused(nights: Nights, role: str) -> None:
    champion = nights.pair()
    nights.judge(champion, nights.shown(champion))
    sound = nights.pair()
    for damage, known in DAMAGE:
        version = nights.register(role, 0)
        challenger = replace(sound, **{role: version})
        shown = nights.shown(challenger)
        if not known:
            nights.tracking.client.delete_model_version_tag(version.name, str(version.version), DIGEST)
        damage(nights.files(version))
        decision = nights.judge(challenger, shown).decision
        assert decision.outcome == "refused" and not decision.sound, damage
        assert decision.reason.startswith(f"{version.uri}: "), damage
        assert nights.champion() == champion, damage
        assert get_alias(nights.tracking, "shop-embedder", "challenger") == champion.embedder, damage


def test_other_weights_than_those_evaluated_are_refused_though_they_load(nights: Nights) -> None:
    challenger = nights.pair()
    shown, other = nights.shown(challenger), nights.register("embedder", 1)
    reason = nights.judge(replace(challenger, embedder=other), shown).decision.reason
    assert "its vectors are not those that were evaluated" in reason
    silent = replace(shown, sample=shown.sample.head(0))
    assert "kept no vectors" in nights.judge(challenger, silent).decision.reason
    assert challenger.generator is not None
    texts = shown.texts.assign(attributes_text="colour: red")
    assert "its texts are not those" in nights.judge(challenger, replace(shown, texts=texts)).decision.reason
    texts = shown.texts.assign(generator_version="shop-generator/99")
    assert "no text that it wrote" in nights.judge(challenger, replace(shown, texts=texts)).decision.reason
    assert nights.champion() is None


def test_a_champion_that_cannot_be_loaded_is_named_and_nothing_is_promoted(nights: Nights) -> None:
    champion = nights.pair()
    nights.judge(champion, nights.shown(champion))
    challenger = nights.pair()
    without_weights(nights.files(champion.embedder))
    decision = nights.judge(challenger, nights.shown(challenger)).decision
    assert decision.outcome == "unusable champion" and champion.embedder.uri in decision.reason
    assert nights.champion() == champion
    nights.tracking.client.set_model_version_tag("shop-embedder", "2", "afmrl.replaced", champion.name)
    with pytest.raises(RegistryError, match="its files are not those that were registered"):
        nights.tracking.client.set_registered_model_alias("shop-embedder", "champion", "2")
        find_way_back(nights.tracking, "shop", None, {champion.name, challenger.name})
