"""What must hold of a catalog's tables, as plain functions; orchestration reports their results."""

from dataclasses import dataclass, field

import pandas as pd

from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.quarantine import Reason
from afmrl_models.catalog.splits import GALLERY, QUERY, TEST, TRAIN, VALIDATION

_EXAMPLES = 10


@dataclass(frozen=True)
class CheckResult:
    """One verdict: what was demanded, what was seen, and up to ten ids or rows that break it."""

    name: str
    passed: bool
    description: str
    observed: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)


def check_unique_ids(listings: pd.DataFrame) -> CheckResult:
    """There are listings, every one has an id, and no id comes twice."""
    ids = listings["listing_id"]
    bad = ids[ids.duplicated() | ids.isna() | (ids == "")]
    return CheckResult(
        "unique_listing_ids",
        len(ids) > 0 and bad.empty,
        "At least one listing; no listing id is missing or comes twice.",
        {"listings": len(ids), "missing_or_repeated": len(bad)},
        [str(i) for i in bad.head(_EXAMPLES)],
    )


def check_rows_accounted(
    rows_in_source: int, listings: pd.DataFrame, quarantine: pd.DataFrame
) -> CheckResult:
    """Rows of the source = kept + quarantined; no row is quarantined twice or for an unknown reason."""
    repeated = quarantine["row"][quarantine["row"].duplicated()]
    unknown = quarantine["row"][~quarantine["reason"].isin([reason.value for reason in Reason])]
    bad = pd.concat([repeated, unknown])
    return CheckResult(
        "rows_accounted",
        rows_in_source == len(listings) + len(quarantine) and bad.empty,
        "Every row that was read is either kept or quarantined, with one reason of the closed set.",
        {"rows_read": rows_in_source, "kept": len(listings), "quarantined": len(quarantine)},
        [f"row {row}" for row in bad.head(_EXAMPLES)],
    )


def check_images_complete(listings: pd.DataFrame, images: ImageStore) -> CheckResult:
    """The store has exactly one photo for every listing."""
    wanted, stored = set(listings["listing_id"]), set(images.listing_ids)
    bad = sorted(wanted ^ stored)
    return CheckResult(
        "images_complete",
        not bad,
        "Every listing has its photo in the image store, and the store holds no other.",
        {
            "listings": len(wanted),
            "without_photo": len(wanted - stored),
            "unknown_photo": len(stored - wanted),
        },
        bad[:_EXAMPLES],
    )


def check_products_in_one_split(listings: pd.DataFrame, splits: pd.DataFrame) -> CheckResult:
    """No product has listings in two splits."""
    joined = listings[["listing_id", "product_id"]].merge(splits, on="listing_id", how="inner")
    known = joined[joined["product_id"].notna()]
    count = known.groupby("product_id")["split"].nunique()
    bad = count[count > 1]
    return CheckResult(
        "products_in_one_split",
        bad.empty,
        "No product is in two of train, validation and test.",
        {"products": len(count), "in_two_splits": len(bad)},
        [str(product) for product in bad.index[:_EXAMPLES]],
    )


def check_splits_cover_listings(listings: pd.DataFrame, splits: pd.DataFrame) -> CheckResult:
    """Every listing is in the splits table exactly once, and every split has listings."""
    ids = splits["listing_id"]
    bad = sorted(set(listings["listing_id"]) ^ set(ids)) + sorted(set(ids[ids.duplicated()]))
    counts = {split: int((splits["split"] == split).sum()) for split in (TRAIN, VALIDATION, TEST)}
    return CheckResult(
        "splits_cover_listings",
        not bad and all(counts.values()) and sum(counts.values()) == len(splits),
        "Every listing is in exactly one of train, validation and test, and none of them is empty.",
        counts | {"missing_unknown_or_repeated": len(bad)},
        bad[:_EXAMPLES],
    )


def check_queries_answerable(listings: pd.DataFrame, splits: pd.DataFrame) -> CheckResult:
    """Held-out listings have a role; the gallery holds the product of each query of a known one."""
    joined = splits.merge(listings[["listing_id", "product_id"]], on="listing_id", how="left")
    held_out = joined["split"] != TRAIN
    wrong_role = joined[held_out != joined["role"].isin([QUERY, GALLERY])]
    gallery = joined[joined["role"] == GALLERY]
    answers = set(zip(gallery["split"], gallery["product_id"], strict=True))
    queries = joined[(joined["role"] == QUERY) & joined["product_id"].notna()]
    asked = pd.Series(
        list(zip(queries["split"], queries["product_id"], strict=True)), queries.index, dtype=object
    )
    alone = queries[~asked.isin(answers)]
    bad = pd.concat([wrong_role["listing_id"], alone["listing_id"]])
    return CheckResult(
        "queries_answerable",
        bad.empty,
        "Held-out listings are query or gallery; each query of a known product has it in the gallery.",
        {
            "queries": len(queries),
            "gallery": len(gallery),
            "without_answer": len(alone),
            "wrong_role": len(wrong_role),
        },
        [str(i) for i in bad.head(_EXAMPLES)],
    )
