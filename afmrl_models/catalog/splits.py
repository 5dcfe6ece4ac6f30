"""Products dealt to train, validation and test, and held-out listings to query and gallery."""

import hashlib

import pandas as pd

from afmrl_models.catalog.errors import CatalogError
from afmrl_models.config import SplitsConfig

TRAIN, VALIDATION, TEST = "train", "validation", "test"
QUERY, GALLERY = "query", "gallery"


def split_products(
    listings: pd.DataFrame, config: SplitsConfig, frozen: pd.DataFrame | None = None
) -> pd.DataFrame:
    """The splits table: `listing_id`, `split`, `role`, one row a listing in the order of `listings`.

    Products are ordered by a hash of the seed and their id; the first share is test, the next
    validation, the rest train, at least one product each. So the order of the rows does not matter,
    and in a growing catalog most products stay where they were. A listing without product id is a
    product of its own. Held-out listings of a product are queries up to `query_share` (at least one,
    and at least one gallery listing); a product with one listing is gallery only. Of listings
    of unknown products `query_share` are queries: their category can be asked for. Train has no role.
    frozen: listings whose products are of the test split whatever their hash (evaluation_set.py).

    Raises CatalogError for fewer than three products, a listing id that comes twice, or frozen products
    that leave none to learn from.
    """
    ids = listings["listing_id"].tolist()
    if len(set(ids)) != len(ids):
        twice = listings["listing_id"][listings["listing_id"].duplicated()].iloc[0]
        raise CatalogError(f"splits: listing id {twice!r} comes twice")
    members = _members(listings)
    if len(members) < 3:
        raise CatalogError(
            f"splits: three products are needed to train, validate and test; there are {len(members)}"
        )

    products = _shuffled(members, config.seed)
    validation = max(1, round(config.validation * len(products)))
    test = max(1, min(round(config.test * len(products)), len(products) - validation - 1))
    if frozen is not None:
        held = listings_of_the_same_products(listings, frozen)
        products.sort(key=lambda product: held.isdisjoint(members[product]))
        first = [product for product in products if not held.isdisjoint(members[product])]
        test = max(test, len(first))
        if test + validation >= len(products):
            raise CatalogError(
                f"splits: {len(first)} of {len(products)} products are in the frozen evaluation set, which "
                "leaves none to learn from: freeze a new one with `afmrl freeze-evaluation`"
            )
    split_of: dict[str, str] = {}
    role_of: dict[str, str | None] = {}
    for position, product in enumerate(products):
        split = TEST if position < test else VALIDATION if position < test + validation else TRAIN
        queries = _queries(product[0], members[product], config) if split != TRAIN else set()
        for listing_id in members[product]:
            split_of[listing_id] = split
            role_of[listing_id] = None if split == TRAIN else QUERY if listing_id in queries else GALLERY
    return pd.DataFrame(
        {
            "listing_id": pd.Series(ids, dtype=object),
            "split": pd.Series([split_of[i] for i in ids], dtype=object),
            "role": pd.Series([role_of[i] for i in ids], dtype=object),
        }
    )


def split_by_files(listings: pd.DataFrame, held_out: pd.DataFrame, config: SplitsConfig) -> pd.DataFrame:
    """The splits table of a catalog whose files say what is held out; every other listing trains.

    held_out: `listing_id`, `split`, `role` as the files say. A held-out listing has a row for each of its
    roles: galleries are shared by validation and test, and queries may be in their own gallery. Where no file
    is for validation, a share of the training products is dealt to it as `split_products` deals them. The
    rows are in the order of `listings`; held-out ids that were not kept have none.

    Raises CatalogError for a split or role that no listing is left for.
    """
    roles: dict[str, list[tuple[str, str | None]]] = {}
    for listing_id, split, role in held_out[["listing_id", "split", "role"]].itertuples(index=False):
        roles.setdefault(listing_id, []).append((split, role))
    if VALIDATION not in set(held_out["split"]):
        members = _members(listings[~listings["listing_id"].isin(roles.keys())])
        products = _shuffled(members, config.seed)
        for product in products[: max(1, round(config.validation * len(products)))]:
            queries = _queries(product[0], members[product], config)
            for listing_id in members[product]:
                roles[listing_id] = [(VALIDATION, QUERY if listing_id in queries else GALLERY)]
    rows = [
        (listing_id, split, role)
        for listing_id in listings["listing_id"]
        for split, role in roles.get(listing_id, [(TRAIN, None)])
    ]
    present = {(split, role) for _, split, role in rows}
    for split, role in ((TRAIN, None), (TEST, QUERY), (TEST, GALLERY)):
        if (split, role) not in present:
            name = f"{split} {role}" if role else split
            raise CatalogError(f"splits: no listing of the {name} files was kept; see the quarantine table")
    return pd.DataFrame(rows, columns=["listing_id", "split", "role"], dtype=object)


def listings_of_the_same_products(listings: pd.DataFrame, frozen: pd.DataFrame) -> set[str]:
    """Ids of those `listings` that are one of the frozen listings, or of a product of theirs.

    A product is what the catalog says now, or what it said when the listing was frozen.
    """
    ids, now = set(frozen["listing_id"]), set(listings["listing_id"])
    columns = [name for name in ("listing_id", "product_id", "labels") if name in listings and name in frozen]
    groups = _members(pd.concat([listings[columns], frozen[columns]], ignore_index=True)).values()
    return {listing_id for group in groups if ids.intersection(group) for listing_id in group} & now


def _members(listings: pd.DataFrame) -> dict[tuple[str, str], list[str]]:
    """Listing ids by product; a listing of no known product is one of its own.

    Listings with a label in common, directly or by way of others, are dealt together as one product.
    """
    names: list[list[tuple[str, str]]] = [
        [("product", product_id) if isinstance(product_id, str) else ("listing", listing_id)]
        for listing_id, product_id in zip(listings["listing_id"], listings["product_id"], strict=True)
    ]
    for own, labels in zip(names, listings.get("labels", []), strict=False):
        own += [("label", label) for label in labels or ()]
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(name: tuple[str, str]) -> tuple[str, str]:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = parent[above]
            name = above
        return name

    for own in names:
        for other in own[1:]:
            parent[root(other)] = root(own[0])
    groups: dict[tuple[str, str], list[int]] = {}
    for position, own in enumerate(names):
        groups.setdefault(root(own[0]), []).append(position)
    ids = listings["listing_id"].tolist()
    # A group's name is its first product's, so that it depends on the listings and not on their order.
    return {min(names[p][0] for p in group): [ids[p] for p in group] for group in groups.values()}


def _shuffled(members: dict[tuple[str, str], list[str]], seed: int) -> list[tuple[str, str]]:
    return sorted(members, key=lambda product: (_hash(seed, *product), product))


def _queries(kind: str, listing_ids: list[str], config: SplitsConfig) -> set[str]:
    if kind == "listing":
        share = int.from_bytes(_hash(config.seed, "role", listing_ids[0])[:8]) / 2**64
        return set(listing_ids) if share < config.query_share else set()
    if len(listing_ids) == 1:
        return set()
    count = min(max(round(config.query_share * len(listing_ids)), 1), len(listing_ids) - 1)
    return set(sorted(listing_ids, key=lambda i: (_hash(config.seed, "role", i), i))[:count])


def _hash(seed: int, kind: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{kind}\0{name}".encode()).digest()
