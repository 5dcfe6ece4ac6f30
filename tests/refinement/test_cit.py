import random

import pandas as pd
import pytest

from afmrl_models.refinement.cit import listings_to_rewrite, merge_attributes


def attributes(ids: list[str], version: str) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "listing_id": ids,
            "attributes_text": [f"colour: {version}" for _ in ids],
            "attributes": [{"colour": version} for _ in ids],
            "valid": True,
            "generator_version": version,
            "content_hash": "h",
        }
    )


def test_the_choice_has_the_share_and_depends_only_on_ids_and_seed() -> None:
    ids = [f"listing-{i}" for i in range(200)]
    chosen = listings_to_rewrite(ids, 0.3, seed=1)
    assert len(chosen) == len(set(chosen)) == 60
    shuffled = random.Random(0).sample(ids, len(ids))
    assert set(listings_to_rewrite(shuffled, 0.3, seed=1)) == set(chosen)
    assert set(listings_to_rewrite(ids, 0.3, seed=2)) != set(chosen)
    assert chosen == sorted(chosen, key=ids.index)


def test_at_least_one_listing_and_at_most_all() -> None:
    assert len(listings_to_rewrite(["a", "b"], 0.01, seed=0)) == 1
    assert listings_to_rewrite(["b", "a"], 1.0, seed=0) == ["b", "a"]


@pytest.mark.parametrize(("ids", "share"), [([], 0.3), (["a", "a"], 0.3), (["a"], 0.0), (["a"], 1.5)])
def test_a_choice_that_makes_no_sense_is_refused(ids: list[str], share: float) -> None:
    with pytest.raises(ValueError):
        listings_to_rewrite(ids, share, seed=0)


def test_rewritten_rows_replace_previous_ones_in_place() -> None:
    merged = merge_attributes(attributes(["c", "a", "b"], "old"), attributes(["b", "c"], "new"))
    assert merged["listing_id"].tolist() == ["c", "a", "b"]
    assert merged["generator_version"].tolist() == ["new", "old", "new"]
    assert merged["attributes"].tolist() == [{"colour": v} for v in ("new", "old", "new")]


def test_unknown_or_repeated_ids_are_named() -> None:
    with pytest.raises(ValueError, match="'z'"):
        merge_attributes(attributes(["a"], "old"), attributes(["z"], "new"))
    with pytest.raises(ValueError, match="'a'"):
        merge_attributes(attributes(["a", "b"], "old"), attributes(["a", "a"], "new"))
    with pytest.raises(ValueError, match="columns"):
        merge_attributes(attributes(["a"], "old"), attributes(["a"], "new").drop(columns="valid"))
