"""Who becomes champion: real versions in a real registry, their files damaged as files get damaged."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from nights import Nights, Shop

from afmrl_models.registry.models import DIGEST, RegistryError, get_alias, set_alias
from afmrl_models.registry.promotion import Pair, find_way_back, roll_back, versions_table


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
