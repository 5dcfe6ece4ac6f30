"""Pairs of listings that a person should look at: neither surely one product nor surely two."""

import pandas as pd

from afmrl_models.config.release import IdenticalProductsConfig
from afmrl_models.retrieval.confidence import ConfidenceCurve
from afmrl_models.retrieval.identical import Grouping
from afmrl_models.retrieval.links import Links, Searchable
from afmrl_models.retrieval.reviewed import Reviewed, ordered

PAIRS = "ambiguous_pairs.parquet"  # the pairs, as release/identical_products leaves them


def ambiguous_pairs(
    index: Searchable,
    links: Links,
    grouping: Grouping,
    curve: ConfidenceCurve,
    reviewed: Reviewed,
    config: IdenticalProductsConfig,
    *,
    calibrated: bool = True,
) -> tuple[pd.DataFrame, int]:
    """Undecided pairs, the likeliest first, and how many more there are than `most_ambiguous_pairs`.

    A mutual link whose confidence lies between `ambiguous_from` and `ambiguous_to`, or one that a broken
    chain cut, or whose answers contradict. Where no threshold was precise enough (not `calibrated`),
    the likeliest are listed however unsure.
    Columns: left_id, right_id, similarity, confidence, left_group, right_group (null: in none), reason
    (unsure, chain or contradiction), decision (null, for a person to fill with same or different).
    """
    group_of = dict(zip(grouping.groups["listing_id"], grouping.groups["group_id"], strict=True))
    cut = set(zip(grouping.cut.left.tolist(), grouping.cut.right.tolist(), strict=True))
    least = config.ambiguous_from if calibrated else 0.0
    confidence = curve(links.scores)
    rows = []
    for left, right, score, sure in zip(
        links.left.tolist(), links.right.tolist(), links.scores.tolist(), confidence.tolist(), strict=True
    ):
        pair = ordered(index.ids[left], index.ids[right])
        contradicts = pair in grouping.contradicted
        unsure = least <= sure <= config.ambiguous_to
        if not (unsure or (left, right) in cut or contradicts) or (pair in reviewed and not contradicts):
            continue
        reason = "contradiction" if contradicts else "chain" if (left, right) in cut else "unsure"
        rows.append((*pair, score, sure, group_of.get(pair[0]), group_of.get(pair[1]), reason, None))
    names = ["left_id", "right_id", "similarity", "confidence", "left_group", "right_group", "reason"]
    frame = pd.DataFrame(rows, columns=[*names, "decision"])
    order = ["confidence", "similarity", "left_id", "right_id"]
    frame = frame.sort_values(order, ascending=[False, False, True, True], ignore_index=True)
    texts = ["left_group", "right_group", "reason", "decision"]
    frame = frame.astype(dict.fromkeys(["left_id", "right_id", *texts], "string[pyarrow]"))
    return frame.head(config.most_ambiguous_pairs), max(0, len(frame) - config.most_ambiguous_pairs)
