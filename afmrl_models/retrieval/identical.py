"""Groups of identical products: linked listings, chains broken, the team's answers honoured.

Two listings are linked when each is among the other's nearest neighbours and their similarity reaches the
threshold. Links chain: A like B and B like C says little of A and C. So within a connected component of
links parts are joined as long as the similarity of their listings, averaged over all pairs of the two parts,
reaches `floor` (average linkage); a link that this cuts is put to a person. A pair that a person called the
same is joined first, and a pair called different is never in one group.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from afmrl_models.retrieval.links import Links, Searchable
from afmrl_models.retrieval.reviewed import Pair, Reviewed

logger = logging.getLogger(__name__)

GROUPS = "identical_products.parquet"  # the groups, as release/identical_products leaves them
# Above this, a component's links are thinned before all its pairs are compared.
_LARGEST = 2000
_NEVER = 1e6


@dataclass(frozen=True)
class Grouping:
    """Groups of two or more listings, and what was decided on the way.

    groups: group_id, listing_id, score (the highest similarity to a listing of the group), reviewed (a person
    called it the same as one of them); sorted. cut: links between listings that are not in one group after
    all. contradicted: pairs called the same that another answer parts.
    """

    groups: pd.DataFrame
    cut: Links
    contradicted: tuple[Pair, ...]


def group_identical(
    index: Searchable,
    links: Links,
    threshold: float,
    *,
    floor: float | None = None,
    reviewed: Reviewed | None = None,
    previous: pd.DataFrame | None = None,
) -> Grouping:
    """Group the listings of an index by its mutual links.

    threshold: least similarity of a link (infinite: only what a person joined). floor: see above; null: the
    threshold. previous: the groups of the last night, whose ids live on (`keep_group_ids`).
    """
    row_of = {listing_id: row for row, listing_id in enumerate(index.ids)}
    same, different = (
        {(row_of[a], row_of[b]) for a, b in pairs if a in row_of and b in row_of}
        for pairs in ((reviewed.same, reviewed.different) if reviewed else ((), ()))
    )
    strong = links.where(links.scores >= threshold)
    edges = pd.DataFrame({"left": strong.left, "right": strong.right, "score": strong.scores})
    if different:
        pairs = zip(edges["left"].tolist(), edges["right"].tolist(), strict=True)
        edges = edges[np.array([pair not in different for pair in pairs], dtype=bool)]
    if same:
        told = pd.DataFrame(sorted(same), columns=["left", "right"])
        products = index.vectors[told["left"]].astype(float) * index.vectors[told["right"]]
        edges = pd.concat([edges, told.assign(score=products.sum(axis=1))]).drop_duplicates(["left", "right"])
    part_of = np.full(len(index.ids), -1)
    parts = 0
    broken: set[tuple[int, int]] = set()
    for rows in _components(edges, len(index.ids)):
        joined = {pair for pair in same if pair[0] in rows} if same else set()
        parted = {pair for pair in different if pair[0] in rows and pair[1] in rows}
        members = np.array(sorted(rows))
        labels, contradicted = _split(index.vectors, members, floor or threshold, joined, parted)
        broken |= contradicted
        part_of[members] = parts + labels
        parts += int(labels.max()) + 1
    together = part_of[edges["left"].to_numpy(dtype=int)] == part_of[edges["right"].to_numpy(dtype=int)]
    groups = _frame(index, part_of, edges[together], same)
    cut = edges[~together & (edges["score"] >= threshold)]
    named = tuple(sorted((index.ids[a], index.ids[b]) for a, b in broken))
    if named:
        logger.warning("%d reviewed pairs contradict others, such as %s and %s", len(named), *named[0])
    return Grouping(
        keep_group_ids(groups, previous),
        Links(*(cut[name].to_numpy() for name in ("left", "right", "score"))),
        tuple((min(a, b), max(a, b)) for a, b in named),
    )


def keep_group_ids(groups: pd.DataFrame, previous: pd.DataFrame | None) -> pd.DataFrame:
    """Give groups the ids they had: each takes that of the earlier group most of whose listings it holds.

    Of several claimants the one with the most of them gets it. A new group is named after its first listing
    whose id no group bears.
    """
    groups = groups.copy()
    names: dict[str, str] = {}
    if previous is not None and len(previous) and len(groups):
        both = groups.merge(previous[["listing_id", "group_id"]], on="listing_id", suffixes=("", "_before"))
        shared = both.groupby(["group_id", "group_id_before"]).size().rename("shared").reset_index()
        order = ["shared", "group_id_before", "group_id"]
        for row in shared.sort_values(order, ascending=[False, True, True]).itertuples():
            if row.group_id not in names and row.group_id_before not in set(names.values()):
                names[str(row.group_id)] = str(row.group_id_before)
    taken = set(names.values())
    for provisional, members in groups.groupby("group_id")["listing_id"]:
        if provisional not in names:
            free = sorted(set(members) - taken)
            names[str(provisional)] = free[0] if free else f"{provisional}~"
            taken.add(names[str(provisional)])
    groups["group_id"] = groups["group_id"].map(names)
    return groups.sort_values(["group_id", "listing_id"], ignore_index=True)


def _components(edges: pd.DataFrame, count: int) -> Iterator[set[int]]:
    """Connected components of two or more rows; a huge one without its weaker links, until it falls apart."""
    if edges.empty:
        return
    nodes, positions = np.unique(edges[["left", "right"]].to_numpy(dtype=int), return_inverse=True)
    ends = positions.reshape(-1, 2)
    graph = coo_matrix((np.ones(len(ends), dtype=np.int8), (ends[:, 0], ends[:, 1])), shape=(len(nodes),) * 2)
    _, labels = connected_components(graph, directed=False)
    order = np.argsort(labels, kind="stable")
    for members in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        inside = edges[labels[ends[:, 0]] == labels[members[0]]] if len(members) > _LARGEST else None
        if inside is None or inside["score"].nunique() == 1:
            yield set(nodes[members].tolist())
        else:
            middle = inside["score"].quantile(0.5, interpolation="higher")
            weaker = inside["score"] >= middle if middle > inside["score"].min() else inside["score"] > middle
            yield from _components(inside[weaker], count)


def _split(
    vectors: np.ndarray,
    rows: np.ndarray,
    floor: float,
    same: set[tuple[int, int]],
    different: set[tuple[int, int]],
) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """A part number for each row of a component, and the pairs called the same that could not be joined."""
    if len(rows) > _LARGEST:  # all links are equal: no weak one to cut
        return np.zeros(len(rows), dtype=int), set()
    similarity = vectors[rows].astype(np.float64) @ vectors[rows].astype(np.float64).T
    if not same and not different and similarity.min() >= floor:
        return np.zeros(len(rows), dtype=int), set()
    place = {int(row): i for i, row in enumerate(rows)}
    for a, b in different:
        similarity[place[a], place[b]] = similarity[place[b], place[a]] = -_NEVER
    blocks, contradicted = _joined(len(rows), place, same, different)
    shares = np.eye(blocks.max() + 1)[blocks]
    shares /= shares.sum(axis=0)
    between = shares.T @ similarity @ shares
    if len(between) == 1:
        return blocks, contradicted
    distance = 1 - (between + between.T) / 2
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(distance, checks=False), "average")
    labels = fcluster(tree, 1 - floor + 1e-9, "distance") - 1
    return labels[blocks], contradicted


def _joined(
    count: int, place: Mapping[int, int], same: set[tuple[int, int]], different: set[tuple[int, int]]
) -> tuple[np.ndarray, set[tuple[int, int]]]:
    """Block numbers of rows that answers join; a block that another answer parts is not joined."""

    def blocks_of(pairs: set[tuple[int, int]]) -> np.ndarray:
        ends = np.array([(place[a], place[b]) for a, b in pairs], dtype=int).reshape(-1, 2)
        graph = coo_matrix((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(count, count))
        labels: np.ndarray = connected_components(graph, directed=False)[1]
        return labels

    blocks = blocks_of(same)
    torn = {int(blocks[place[a]]) for a, b in different if blocks[place[a]] == blocks[place[b]]}
    contradicted = {(a, b) for a, b in same if int(blocks[place[a]]) in torn}
    return (blocks_of(same - contradicted) if torn else blocks), contradicted


def _frame(
    index: Searchable, part_of: np.ndarray, edges: pd.DataFrame, same: set[tuple[int, int]]
) -> pd.DataFrame:
    best = np.full(len(part_of), -np.inf)
    for side in ("left", "right"):
        np.maximum.at(best, edges[side].to_numpy(dtype=int), edges["score"].to_numpy(dtype=float))
    sizes = np.bincount(part_of[part_of >= 0], minlength=1)
    rows = np.flatnonzero((part_of >= 0) & (sizes[np.maximum(part_of, 0)] > 1))
    joined = {row for a, b in same if part_of[a] == part_of[b] for row in (a, b)}
    frame = pd.DataFrame(
        {
            "part": part_of[rows],
            "listing_id": np.asarray(index.ids, dtype=object)[rows],
            "score": best[rows],
            "reviewed": [row in joined for row in rows.tolist()],
        }
    )
    for at in frame.index[~np.isfinite(frame["score"])]:  # joined by the average, not by a link of its own
        row = int(rows[at])
        others = rows[(part_of[rows] == part_of[row]) & (rows != row)]
        frame.at[at, "score"] = float((index.vectors[others].astype(float) @ index.vectors[row]).max())
    frame.insert(0, "group_id", frame.groupby("part")["listing_id"].transform("min"))
    return frame.drop(columns="part")
