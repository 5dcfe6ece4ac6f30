"""Champion and challenger side by side on the same queries: means, and the paired difference."""

from collections.abc import Collection
from dataclasses import dataclass

from afmrl_models.retrieval.evaluation import Evaluation
from afmrl_models.retrieval.significance import paired_bootstrap


@dataclass(frozen=True)
class Compared:
    """Both means over the same queries; difference: challenger - champion, with its 95 % interval."""

    champion: float
    challenger: float
    difference: float
    low: float
    high: float
    queries: int
    products: int


@dataclass(frozen=True)
class NotMeasured:
    """Why there is nothing to compare, and on how many of the two sides it is missing."""

    reason: str
    sides: int


def compare(
    task: str,
    metric: str,
    challenger: Evaluation,
    champion: Evaluation,
    bootstrap: int,
    seed: int,
    among: Collection[str] | None = None,
) -> Compared | NotMeasured:
    """Compare one metric of a task over the queries of both, and `among` these where given.

    The interval is a bootstrap over products. Raises ValueError where the two share no such query.
    """
    sides = {"the challenger": challenger, "the champion": champion}
    gaps = [
        f"{whose}: {side.left_out.get(task, 'not evaluated')}"
        for whose, side in sides.items()
        if f"{task}/{metric}" not in side.metrics
    ]
    if gaps:
        return NotMeasured("; ".join(gaps), len(gaps))
    frames = [side.per_query[side.per_query["task"] == task].set_index("query_id") for side in sides.values()]
    both = frames[0].index.intersection(frames[1].index)
    if among is not None:
        both = both[both.isin(among)]
    theirs, ours = (frame.loc[both, metric].to_numpy() for frame in frames)
    products = list(frames[0].loc[both, "product_id"])
    found = paired_bootstrap(theirs, ours, products, bootstrap, seed)
    return Compared(
        champion=float(ours.mean()),
        challenger=float(theirs.mean()),
        difference=found.difference,
        low=found.low,
        high=found.high,
        queries=len(both),
        products=len(set(products)),
    )
