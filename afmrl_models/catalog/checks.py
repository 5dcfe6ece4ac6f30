"""What must hold of a catalog's tables, as plain functions; orchestration reports their results."""

from dataclasses import dataclass, field

import pandas as pd

from afmrl_models.catalog.images import ImageStore
from afmrl_models.catalog.quarantine import Reason
from afmrl_models.catalog.splits import GALLERY, QUERY, TEST, TRAIN, VALIDATION

_EXAMPLES = 10


@dataclass(frozen=True)
class CheckResult:
    """One verdict: what was demanded, what was seen, and up to ten ids or rows that break it.

    allowed: of the observed counts that decide, what they may be (such as `0`, `at least 1`) and whether they
    are.
    """

    name: str
    description: str
    observed: dict[str, int]
    allowed: dict[str, tuple[str, bool]]
    examples: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Every count is what it may be."""
        return all(met for _, met in self.allowed.values())

    def counts(self) -> pd.DataFrame:
        """A row a count: counted, found, allowed, passed (blank where it decides nothing)."""
        rows = [
            (name, value, *(("", "") if limit is None else (limit[0], "yes" if limit[1] else "NO")))
            for name, value in self.observed.items()
            for limit in [self.allowed.get(name)]
        ]
        return pd.DataFrame(rows, columns=["counted", "found", "allowed", "passed"])


def _none(count: int) -> tuple[str, bool]:
    return "0", count == 0


def _some(count: int) -> tuple[str, bool]:
    return "at least 1", count > 0


def check_unique_ids(listings: pd.DataFrame) -> CheckResult:
    """There are listings, every one has an id, and no id comes twice."""
    ids = listings["listing_id"]
    bad = ids[ids.duplicated() | ids.isna() | (ids == "")]
    return CheckResult(
        "unique_listing_ids",
        "At least one listing; no listing id is missing or comes twice.",
        {"listings": len(ids), "missing_or_repeated": len(bad)},
        {"listings": _some(len(ids)), "missing_or_repeated": _none(len(bad))},
        [str(i) for i in bad.head(_EXAMPLES)],
    )


def check_rows_accounted(
    rows_in_source: int, listings: pd.DataFrame, quarantine: pd.DataFrame
) -> CheckResult:
    """Rows of the source = kept + quarantined; no row is quarantined twice or for an unknown reason."""
    repeated = quarantine["row"][quarantine["row"].duplicated()]
    unknown = quarantine["row"][~quarantine["reason"].isin([reason.value for reason in Reason])]
    bad = pd.concat([repeated, unknown])
    accounted = len(listings) + len(quarantine)
    return CheckResult(
        "rows_accounted",
        "Every row that was read is either kept or quarantined, with one reason of the closed set.",
        {
            "rows_read": rows_in_source,
            "kept": len(listings),
            "quarantined": len(quarantine),
            "kept_and_quarantined": accounted,
            "without_one_known_reason": len(bad),
        },
        {
            "kept_and_quarantined": (f"{rows_in_source}, the rows read", rows_in_source == accounted),
            "without_one_known_reason": _none(len(bad)),
        },
        [f"row {row}" for row in bad.head(_EXAMPLES)],
    )


def check_images_complete(listings: pd.DataFrame, images: ImageStore) -> CheckResult:
    """The store has exactly one photo for every listing."""
    wanted, stored = set(listings["listing_id"]), set(images.listing_ids)
    bad = sorted(wanted ^ stored)
    return CheckResult(
        "images_complete",
        "Every listing has its photo in the image store, and the store holds no other.",
        {
            "listings": len(wanted),
            "without_photo": len(wanted - stored),
            "unknown_photo": len(stored - wanted),
        },
        {"without_photo": _none(len(wanted - stored)), "unknown_photo": _none(len(stored - wanted))},
        bad[:_EXAMPLES],
    )


def check_products_in_one_split(
    listings: pd.DataFrame, splits: pd.DataFrame, *, by_files: bool = False
) -> CheckResult:
    """No product, and no label, has listings in two splits; by files, validation and test may share them."""
    columns = [name for name in ("product_id", "labels") if name in listings]
    joined = listings[["listing_id", *columns]].merge(splits, on="listing_id", how="inner")
    if by_files:
        joined = joined.assign(split=joined["split"].replace(VALIDATION, TEST))
    stated = pd.concat(
        [joined[["split", name]].explode(name).rename(columns={name: "product"}) for name in columns]
    )
    count = stated[stated["product"].notna()].groupby("product")["split"].nunique()
    bad = count[count > 1]
    return CheckResult(
        "products_in_one_split",
        "No product is both trained on and held out."
        if by_files
        else "No product is in two of train, validation and test.",
        {"products": len(count), "in_two_splits": len(bad)},
        {"in_two_splits": _none(len(bad))},
        [str(product) for product in bad.index[:_EXAMPLES]],
    )


def check_splits_cover_listings(
    listings: pd.DataFrame, splits: pd.DataFrame, *, by_files: bool = False
) -> CheckResult:
    """Every listing is in the splits table exactly once, and every split has listings.

    By files, a held-out listing may have several roles, each once; a training listing has no other.
    """
    ids = splits["listing_id"]
    repeated = ids[ids.duplicated()]
    if by_files:
        trained = splits.loc[splits["split"] == TRAIN, "listing_id"]
        repeated = pd.concat([ids[splits.duplicated()], repeated[repeated.isin(trained)]])
    bad = sorted(set(listings["listing_id"]) ^ set(ids)) + sorted(set(repeated))
    counts = {split: int((splits["split"] == split).sum()) for split in (TRAIN, VALIDATION, TEST)}
    return CheckResult(
        "splits_cover_listings",
        "Every listing is in exactly one of train, validation and test, and none of them is empty.",
        counts | {"of_no_split": len(splits) - sum(counts.values()), "missing_unknown_or_repeated": len(bad)},
        {split: _some(count) for split, count in counts.items()}
        | {
            "of_no_split": _none(len(splits) - sum(counts.values())),
            "missing_unknown_or_repeated": _none(len(bad)),
        },
        bad[:_EXAMPLES],
    )


def check_queries_answerable(
    listings: pd.DataFrame, splits: pd.DataFrame, *, by_files: bool = False
) -> CheckResult:
    """Held-out listings have a role; the gallery holds the product, or a label, of each query of a known one.

    By files, or with labels, single queries may be without an answer (evaluation counts them and leaves them
    out), but some test query must have one.
    """
    labels = listings.get("labels", pd.Series(None, listings.index, dtype=object))
    names = pd.DataFrame(
        {
            "listing_id": listings["listing_id"],
            "names": [
                stated if isinstance(stated, list) else [] if pd.isna(product) else [product]
                for stated, product in zip(labels, listings["product_id"], strict=True)
            ],
        }
    )
    joined = splits.merge(names, on="listing_id", how="left")
    held_out = joined["split"] != TRAIN
    wrong_role = joined[held_out != joined["role"].isin([QUERY, GALLERY])]
    gallery = joined[joined["role"] == GALLERY]
    holders: dict[tuple[str, str], set[str]] = {}
    for listing_id, split, found in gallery[["listing_id", "split", "names"]].itertuples(index=False):
        for name in found if isinstance(found, list) else ():
            holders.setdefault((split, name), set()).add(listing_id)
    named = pd.Series([isinstance(found, list) and len(found) > 0 for found in joined["names"]], joined.index)
    queries = joined[(joined["role"] == QUERY) & named]
    unanswered = [
        not any(len(found := holders.get((split, name), set())) > (listing_id in found) for name in stated)
        for listing_id, split, stated in queries[["listing_id", "split", "names"]].itertuples(index=False)
    ]
    alone = queries[pd.Series(unanswered, queries.index, dtype=bool)]
    refused = alone
    if by_files or labels.notna().any():
        tested = queries[queries["split"] == TEST]
        refused = alone if set(tested["listing_id"]) <= set(alone["listing_id"]) else alone.iloc[:0]
    bad = pd.concat([wrong_role["listing_id"], refused["listing_id"]])
    return CheckResult(
        "queries_answerable",
        "Held-out listings are query or gallery; each query of a known product has it in the gallery.",
        {
            "queries": len(queries),
            "gallery": len(gallery),
            "without_answer": len(alone),
            "refused": len(refused),
            "wrong_role": len(wrong_role),
        },
        {"refused": _none(len(refused)), "wrong_role": _none(len(wrong_role))},
        [str(i) for i in bad.head(_EXAMPLES)],
    )
