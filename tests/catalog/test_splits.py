import numpy as np
import pandas as pd
import pytest

from afmrl_models.catalog import CatalogError, split_by_files, split_products
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


def by_files(with_validation: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Listings of a benchmark with several labels, and what its files hold out."""
    rows = [("g1", ["a"]), ("g2", ["b"]), ("q1", ["a", "b"]), ("q2", ["nowhere"]), ("v1", ["b"])]
    rows += [(f"t{i}", None if i < 4 else [f"t{i // 2}"]) for i in range(12)]
    if not with_validation:
        rows = [row for row in rows if row[0] != "v1"]
    frame = pd.DataFrame(rows, columns=["listing_id", "labels"], dtype=object)
    frame["product_id"] = [None if labels is None else "#;#".join(labels) for labels in frame["labels"]]
    held_out = [("g1", "test", "gallery"), ("g2", "test", "gallery"), ("q1", "test", "query")]
    held_out += [("q2", "test", "query"), ("g1", "test", "query"), ("lost", "test", "query")]
    if with_validation:
        held_out += [
            (i, "validation", role) for i, role in (("g1", "gallery"), ("g2", "gallery"), ("v1", "query"))
        ]
    return frame, pd.DataFrame(held_out, columns=["listing_id", "split", "role"], dtype=object)


CHECKS = (check_products_in_one_split, check_splits_cover_listings, check_queries_answerable)


def test_files_say_what_is_held_out() -> None:
    listings, held_out = by_files()
    splits = split_by_files(listings, held_out, SplitsConfig(kind="files"))
    expected = {tuple(row) for row in held_out.itertuples(index=False)} - {("lost", "test", "query")}
    found = [tuple(row) for row in splits[splits["split"] != "train"].itertuples(index=False)]
    assert set(found) == expected and len(found) == len(expected)
    assert splits.loc[splits["split"] == "train", "listing_id"].tolist() == [f"t{i}" for i in range(12)]
    for check in CHECKS:
        assert check(listings, splits, by_files=True).passed, check
    assert check_queries_answerable(listings, splits, by_files=True).observed["without_answer"] == 2
    assert not check_splits_cover_listings(listings, splits).passed, "without files, no listing has two roles"


def test_without_validation_files_training_products_are_dealt() -> None:
    listings, held_out = by_files(with_validation=False)
    splits = split_by_files(listings, held_out, SplitsConfig(kind="files", validation=0.4))
    counts = splits["split"].value_counts().to_dict()
    assert counts["test"] == 5 and counts["validation"] >= 3 and counts["validation"] + counts["train"] == 12
    assert set(splits.loc[splits["split"] == "validation", "listing_id"]) <= {f"t{i}" for i in range(12)}
    for check in CHECKS:
        assert check(listings, splits, by_files=True).passed, check
    shuffled = split_by_files(listings[::-1], held_out, SplitsConfig(kind="files", validation=0.4))
    assert set(shuffled.itertuples(index=False, name=None)) == set(splits.itertuples(index=False, name=None))


def test_checks_of_files_fail_on_leaks_and_on_tests_that_ask_nothing() -> None:
    listings, held_out = by_files()
    splits = split_by_files(listings, held_out, SplitsConfig(kind="files"))
    leak = listings.copy()
    leak.at[leak.index[-1], "labels"] = ["other", "b"]
    verdict = check_products_in_one_split(leak, splits, by_files=True)
    assert (verdict.passed, verdict.examples) == (False, ["b"])
    trained = pd.concat([splits, pd.DataFrame([("g1", "train", None)], columns=splits.columns)])
    assert not check_splits_cover_listings(listings, trained, by_files=True).passed
    assert not check_splits_cover_listings(listings, pd.concat([splits, splits[:1]]), by_files=True).passed
    alone = splits[~((splits["split"] == "test") & splits["listing_id"].isin(["q1", "g1"]))]
    verdict = check_queries_answerable(listings, alone, by_files=True)
    assert not verdict.passed and "q2" in verdict.examples


@pytest.mark.parametrize(("kept", "named"), [("t", "test query"), ("gq", "train"), ("tq", "test gallery")])
def test_a_side_that_is_wholly_quarantined_is_named(kept: str, named: str) -> None:
    listings, held_out = by_files()
    listings = listings[listings["listing_id"].str[0].isin(list(kept))]
    held_out = held_out[(held_out["listing_id"] != "g1") | (held_out["role"] == "gallery")]
    with pytest.raises(CatalogError, match=f"no listing of the {named} files was kept"):
        split_by_files(listings, held_out, SplitsConfig(kind="files"))


def test_listings_that_share_labels_are_dealt_together() -> None:
    rng = np.random.default_rng(0)
    labels = [sorted({f"p{i // 2}", f"p{i // 2 + int(rng.integers(0, 2))}"}) for i in range(200)]
    listings = pd.DataFrame(
        {
            "listing_id": [f"l{i:03}" for i in range(200)],
            "product_id": ["#;#".join(x) for x in labels],
            "labels": labels,
        }
    )
    splits = split_products(listings, SplitsConfig())
    assert check_products_in_one_split(listings, splits).passed
    assert check_splits_cover_listings(listings, splits).passed
    again = split_products(listings.sample(frac=1, random_state=1), SplitsConfig()).set_index("listing_id")
    assert splits["split"].tolist() == again.loc[splits["listing_id"], "split"].tolist()
