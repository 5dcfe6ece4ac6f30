"""The similarity above which listings are linked, and what it does to listings whose products are known.

Links are counted from each labelled listing of a split into the whole catalog, in its direction: so there are
as many look-alikes as in production, and a wrong link into another split weighs as much as a right one.
Products are dealt whole to the splits, so a link into another split is a wrong one; links to listings of
unknown product are left out and counted.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from afmrl_models.errors import UserError
from afmrl_models.retrieval.confidence import ConfidenceCurve, fit_confidence
from afmrl_models.retrieval.links import Links
from afmrl_models.retrieval.significance import bootstrap_interval

logger = logging.getLogger(__name__)

CALIBRATION = "calibration.json"
_CURVE_POINTS = 200
# A share of fewer links is chance.
_LEAST_LINKS = 20


@dataclass(frozen=True)
class Share:
    """A share of `count` cases with its 95 % interval over products; None where there is no case."""

    value: float | None
    low: float | None
    high: float | None
    count: int

    def __str__(self) -> str:
        if self.value is None:
            return "no case"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, {self.count:,} cases)"


@dataclass(frozen=True)
class Calibration:
    """A threshold, the confidence of links, and the precision and recall of every possible threshold.

    threshold: the lowest similarity at which 20 links or more on validation reach the wanted precision; None
    where there is none: nothing is grouped. reachable: columns threshold, precision, recall, links.
    best_precision: the highest that at least 20 links reach, and its recall. embedder_digest: whose vectors.
    """

    threshold: float | None
    min_precision: float
    curve: ConfidenceCurve
    reachable: tuple[tuple[float, float, float, int], ...]
    best_precision: float | None
    recall_at_best: float | None
    embedder_digest: str = ""

    def save(self, folder: Path) -> None:
        """Write calibration.json."""
        (folder / CALIBRATION).write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> "Calibration":
        """Read what `save` wrote. Raises UserError naming the file."""
        path = folder / CALIBRATION
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            curve = stored.pop("curve")
            return cls(
                **{**stored, "reachable": tuple(map(tuple, stored["reachable"]))},
                curve=ConfidenceCurve(
                    curve["kind"], tuple(curve["similarities"]), tuple(curve["probabilities"])
                ),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: cannot be read: {error}; run release/identical_products") from None


def labelled_links(links: Links, products: Sequence[str | None], chosen: np.ndarray) -> pd.DataFrame:
    """Directed links from the chosen rows (bool, N) whose product is known: score, right, product.

    products: of every row, None for an unknown one. Sorted by score, best first.
    """
    codes, names = pd.factorize(pd.Series(list(products), dtype=object))
    source = np.concatenate([links.left, links.right])
    other = np.concatenate([links.right, links.left])
    scores = np.concatenate([links.scores, links.scores])
    kept = chosen[source] & (codes[source] >= 0) & (codes[other] >= 0)
    source, other, scores = source[kept], other[kept], scores[kept]
    frame = pd.DataFrame(
        {
            "score": scores,
            "right": codes[source] == codes[other],
            "product": np.asarray(names, dtype=object)[codes[source]],
        }
    )
    return frame.sort_values("score", ascending=False, kind="stable", ignore_index=True)


def pairs_of_one_product(products: Sequence[str | None], chosen: np.ndarray) -> int:
    """Directed pairs of chosen listings that share a product: what could be found."""
    sizes = pd.Series(list(products), dtype=object)[chosen].value_counts().to_numpy()
    return int((sizes * (sizes - 1)).sum())


def calibrate(
    links: Links,
    products: Sequence[str | None],
    chosen: np.ndarray,
    min_precision: float,
    embedder_digest: str = "",
) -> Calibration:
    """Set threshold and confidences on the chosen rows (validation) among all rows.

    Raises ValueError when no two chosen listings share a product: nothing can be calibrated.
    """
    possible = pairs_of_one_product(products, chosen)
    labelled = labelled_links(links, products, chosen)
    if not possible:
        raise ValueError("no two labelled listings share a product: there is nothing to set a threshold on")
    if labelled.empty:
        raise ValueError("no labelled listing has a neighbour of known product")
    scores = labelled["score"].to_numpy()
    right, counts = np.cumsum(labelled["right"].to_numpy()), np.arange(1, len(labelled) + 1)
    # A threshold cannot part equal similarities: only the last of them is a possible cut.
    cuts = np.flatnonzero(np.append(scores[1:] < scores[:-1], True))
    precision, recall = right[cuts] / counts[cuts], right[cuts] / possible
    good = np.flatnonzero((precision >= min_precision) & (counts[cuts] >= _LEAST_LINKS))
    enough = np.flatnonzero(counts[cuts] >= _LEAST_LINKS)
    best = enough[np.argmax(precision[enough])] if len(enough) else None
    if not len(good):
        logger.warning("no similarity threshold reaches precision %.3f: nothing is grouped", min_precision)
    shown = np.unique(np.linspace(0, len(cuts) - 1, min(_CURVE_POINTS, len(cuts))).astype(int))
    return Calibration(
        threshold=float(scores[cuts[good[-1]]]) if len(good) else None,
        min_precision=min_precision,
        curve=fit_confidence(labelled),
        reachable=tuple(
            (float(scores[cuts[i]]), float(precision[i]), float(recall[i]), int(counts[cuts[i]]))
            for i in shown.tolist()
        ),
        best_precision=None if best is None else float(precision[best]),
        recall_at_best=None if best is None else float(recall[best]),
        embedder_digest=embedder_digest,
    )


@dataclass(frozen=True)
class Quality:
    """Of the groups, seen from the listings of one split: are pairs in a group one product, and found?

    precision: share of the pairs within a group that are one product; recall: share of the pairs of one
    product that are in one group; unknown: pairs left out, because the other listing's product is unknown.
    """

    precision: Share
    recall: Share
    unknown: int


def measure_groups(
    groups: pd.DataFrame,
    ids: Sequence[str],
    products: Sequence[str | None],
    chosen: np.ndarray,
    bootstrap: int,
    seed: int = 0,
) -> Quality:
    """Precision and recall of `group_identical`'s groups for the chosen rows, groups reaching anywhere."""
    frame = pd.DataFrame({"listing_id": list(ids), "product": pd.Series(list(products), dtype=object)})
    frame["chosen"] = chosen
    frame = frame.merge(groups[["listing_id", "group_id"]], on="listing_id", how="left")
    asking = frame[frame["chosen"] & frame["product"].notna()]
    grouped = asking.dropna(subset="group_id").merge(
        frame.dropna(subset="group_id"), on="group_id", suffixes=("", "_other")
    )
    grouped = grouped[grouped["listing_id"] != grouped["listing_id_other"]]
    known = grouped[grouped["product_other"].notna()]
    wanted = asking.merge(asking, on="product", suffixes=("", "_other"))
    wanted = wanted[wanted["listing_id"] != wanted["listing_id_other"]]
    return Quality(
        precision=_share(known["product"] == known["product_other"], known["product"], bootstrap, seed),
        recall=_share(wanted["group_id"] == wanted["group_id_other"], wanted["product"], bootstrap, seed),
        unknown=len(grouped) - len(known),
    )


def _share(hits: pd.Series, products: pd.Series, bootstrap: int, seed: int) -> Share:
    if hits.empty:
        return Share(None, None, None, 0)
    interval = bootstrap_interval(hits.to_numpy(dtype=float), list(products), bootstrap, seed)
    return Share(float(hits.mean()), *interval, len(hits))
