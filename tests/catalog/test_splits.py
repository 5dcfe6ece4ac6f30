import pandas as pd
import pytest

from afmrl_models.catalog import CatalogError, split_products
from afmrl_models.catalog.checks import (
    check_products_in_one_split,
    check_queries_answerable,
    check_rows_accounted,
    check_splits_cover_listings,
    check_unique_ids,
)
from afmrl_models.config import SplitsConfig


def catalog(products: int, offers: int) -> pd.DataFrame:
    pairs = [(f"l{p}-{o}", f"p{p}") for p in range(products) for o in range(offers)]
    return pd.DataFrame(pairs, columns=["listing_id", "product_id"], dtype=object)


def test_products_are_dealt_whole_and_in_the_configured_shares() -> None:
    listings = catalog(100, 3)
    splits = split_products(listings, SplitsConfig(validation=0.1, test=0.2))
    assert splits["listing_id"].tolist() == listings["listing_id"].tolist()
    joined = listings.merge(splits, on="listing_id")
    assert joined.groupby("product_id")["split"].nunique().max() == 1
    assert joined.groupby("split")["product_id"].nunique().to_dict() == {
        "test": 20,
        "train": 70,
        "validation": 10,
    }
    assert splits.loc[splits["split"] == "train", "role"].isna().all()
    for check in (check_products_in_one_split, check_splits_cover_listings, check_queries_answerable):
        assert check(listings, splits).passed, check


def test_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    listings = catalog(50, 2)
    config = SplitsConfig()
    splits = split_products(listings, config).set_index("listing_id")
    shuffled = split_products(listings.sample(frac=1, random_state=1), config).set_index("listing_id")
    pd.testing.assert_frame_equal(splits.sort_index(), shuffled.sort_index())
    other = split_products(listings, SplitsConfig(seed=1)).set_index("listing_id")
    assert not splits["split"].equals(other["split"])


def test_most_products_stay_when_the_catalog_grows() -> None:
    before = split_products(catalog(1000, 1), SplitsConfig()).set_index("listing_id")["split"]
    after = split_products(catalog(1100, 1), SplitsConfig()).set_index("listing_id")["split"]
    assert (before == after[before.index]).mean() > 0.95


@pytest.mark.parametrize(
    ("offers", "share", "queries"),
    [(1, 0.5, 0), (2, 0.5, 1), (2, 0.01, 1), (2, 0.99, 1), (3, 0.99, 2), (10, 0.3, 3)],
)
def test_queries_of_a_held_out_product(offers: int, share: float, queries: int) -> None:
    listings = catalog(20, offers)
    joined = listings.merge(split_products(listings, SplitsConfig(query_share=share)), on="listing_id")
    held_out = joined[joined["split"] != "train"]
    assert set(held_out.groupby("product_id")["role"].apply(lambda roles: (roles == "query").sum())) == {
        queries
    }
    assert set(held_out["role"]) <= {"query", "gallery"}


def test_a_catalog_without_product_ids_is_split_by_listing() -> None:
    listings = pd.DataFrame(
        {"listing_id": [f"l{i}" for i in range(400)], "product_id": [None] * 400}, dtype=object
    )
    splits = split_products(listings, SplitsConfig(query_share=0.25))
    assert splits["split"].value_counts().to_dict() == {"train": 280, "test": 80, "validation": 40}
    # Their categories can still be asked for, so some are queries.
    assert 15 <= (splits["role"] == "query").sum() <= 45
    assert check_queries_answerable(listings, splits).passed


def test_a_listing_id_that_equals_a_product_id_is_another_product() -> None:
    listings = pd.DataFrame(
        {"listing_id": ["p", "a", "b", "c"], "product_id": [None, "p", "q", "r"]}, dtype=object
    )
    splits = split_products(listings, SplitsConfig(test=0.49, validation=0.49))
    assert set(splits["split"]) == {"train", "validation", "test"}


@pytest.mark.parametrize("products", range(3, 12))
def test_no_split_is_empty_in_a_small_catalog(products: int) -> None:
    for shares in ({}, {"validation": 0.49, "test": 0.49}, {"validation": 0.01, "test": 0.01}):
        listings = catalog(products, 2)
        assert check_splits_cover_listings(listings, split_products(listings, SplitsConfig(**shares))).passed


def test_too_few_products_and_repeated_listings_are_errors() -> None:
    with pytest.raises(CatalogError, match=r"three products are needed .* there are 2"):
        split_products(catalog(2, 5), SplitsConfig())
    listings = pd.concat([catalog(5, 1), catalog(1, 1)])
    with pytest.raises(CatalogError, match="listing id 'l0-0' comes twice"):
        split_products(listings, SplitsConfig())


def test_each_check_fails_on_what_it_is_for() -> None:
    listings = catalog(10, 2)
    splits = split_products(listings, SplitsConfig())

    leaked = splits.copy()
    first_train = leaked.index[leaked["split"] == "train"][0]
    leaked.loc[first_train, ["split", "role"]] = ["test", "gallery"]
    verdict = check_products_in_one_split(listings, leaked)
    assert not verdict.passed
    assert verdict.examples == [listings["product_id"][first_train]]

    assert not check_splits_cover_listings(listings, splits.iloc[1:]).passed
    assert not check_splits_cover_listings(listings, pd.concat([splits, splits.iloc[:1]])).passed
    assert not check_splits_cover_listings(listings, splits.assign(split="train")).passed

    only_queries = splits.assign(role=splits["role"].replace("gallery", "query"))
    assert not check_queries_answerable(listings, only_queries).passed
    assert not check_queries_answerable(listings, splits.assign(role=None)).passed

    assert check_unique_ids(listings).passed
    assert not check_unique_ids(listings.iloc[:0]).passed
    twice = check_unique_ids(pd.concat([listings, listings.iloc[3:4]]))
    assert (twice.passed, twice.examples) == (False, [listings["listing_id"][3]])

    quarantine = pd.DataFrame({"row": [21, 22], "reason": ["missing_title", "ragged_row"]})
    assert check_rows_accounted(22, listings, quarantine).passed
    assert not check_rows_accounted(23, listings, quarantine).passed
    assert not check_rows_accounted(22, listings, quarantine.assign(reason="because")).passed
    assert not check_rows_accounted(22, listings, quarantine.assign(row=21)).passed
