"""What champion and challenger reach: a line a metric of each task, a line a category, ranks moved."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from afmrl_models.config import ChampionConfig, EvaluationConfig
from afmrl_models.registry.promotion.compared import NotMeasured, compare
from afmrl_models.retrieval.evaluation import Evaluation
from afmrl_models.retrieval.moved_queries import first_matches
from afmrl_models.retrieval.tasks import TASKS

# A bootstrap over fewer products gives intervals that are too narrow.
LEAST_PRODUCTS = 10
_DOWNSTREAM = "downstream"


@dataclass(frozen=True)
class Line:
    """One comparison. low, high: the 95 % interval of the difference, None where none is known.

    limit: where a rule of promotion ends.
    """

    label: str
    champion: float
    challenger: float
    difference: float
    low: float | None = None
    high: float | None = None
    queries: int | None = None
    limit: float | None = None

    @property
    def verdict(self) -> str:
        """better or worse, where zero lies outside the interval; else unclear."""
        if self.low is not None and self.low > 0:
            return "better"
        return "worse" if self.high is not None and self.high < 0 else "unclear"


@dataclass(frozen=True)
class Measures:
    """Lines of each task; left_out: what was not measured, and why."""

    lines: dict[str, list[Line]]
    left_out: dict[str, str]


@dataclass(frozen=True)
class RankTable:
    """Queries by the rank of their first true match: counts[i][j], champion in band i, challenger in j."""

    bands: list[str]
    counts: list[list[int]]

    @property
    def queries(self) -> int:
        """All of them."""
        return sum(map(sum, self.counts))


def by_task(
    asked: EvaluationConfig,
    rules: ChampionConfig,
    challenger: Evaluation,
    champion: Evaluation,
    seed: int,
) -> Measures:
    """The metrics that rules name, and the headline at the first and the last k, of every task."""
    limits = {(task, limit.metric): -limit.max_drop for task, limit in rules.other_limits.items()}
    own = 0.0 if rules.require == "better" else -rules.max_regression
    limits = {(rules.task, rules.metric): own, **limits}
    lines: dict[str, list[Line]] = {}
    left_out: dict[str, str] = {}
    for task in dict.fromkeys([rules.task, *asked.tasks]):
        ruled = [metric for of_task, metric in limits if of_task == task]
        known_by = [f"{TASKS[task].headline}_at_{k}" for k in (asked.ks[0], asked.ks[-1])]
        for metric in sorted({*ruled, *known_by}, key=_by_cutoff):
            found = compare(task, metric, challenger, champion, asked.bootstrap, seed)
            if isinstance(found, NotMeasured):
                left_out[task] = found.reason
                continue
            lines.setdefault(task, []).append(
                Line(
                    label=metric.replace("_at_", "@"),
                    champion=found.champion,
                    challenger=found.challenger,
                    difference=found.difference,
                    low=found.low,
                    high=found.high,
                    queries=found.queries,
                    limit=limits.get((task, metric)),
                )
            )
    shared = [
        name for name in champion.metrics if name.startswith(_DOWNSTREAM) and name in challenger.metrics
    ]
    for name in shared:
        before, after = champion.metrics[name], challenger.metrics[name]
        line = Line(name.partition("/")[2], before, after, after - before)
        lines.setdefault(_DOWNSTREAM, []).append(line)
    if not shared:
        reasons = (side.left_out.get(_DOWNSTREAM) for side in (champion, challenger))
        left_out[_DOWNSTREAM] = next(filter(None, reasons), "not evaluated")
    return Measures(lines, left_out)


def by_category(
    task: str,
    metric: str,
    challenger: Evaluation,
    champion: Evaluation,
    listings: pd.DataFrame,
    bootstrap: int,
    seed: int,
    *,
    most: int = 12,
) -> list[Line]:
    """The task's metric in the `most` categories with most queries, then in all others together.

    Queries without a category are a line of their own. Empty where the task was not measured or no query
    has a category.
    """
    categories = dict(zip(listings["listing_id"], listings["category"], strict=True))
    asked = challenger.per_query.loc[challenger.per_query["task"] == task, "query_id"]
    of_query = asked.map(categories.get)
    sizes = of_query.value_counts().sort_index().sort_values(ascending=False, kind="stable")
    shown, others = list(sizes.index[:most]), list(sizes.index[most:])
    groups: list[tuple[str, Collection[str]]] = [
        (str(category), set(asked[of_query == category])) for category in shown
    ]
    if others:
        groups.append((f"{len(others)} other categories", set(asked[of_query.isin(others)])))
    if groups and of_query.isna().any():
        groups.append(("(no category)", set(asked[of_query.isna()])))
    lines = []
    for label, queries in groups:
        found = compare(task, metric, challenger, champion, bootstrap, seed, queries)
        if isinstance(found, NotMeasured):
            return []
        enough = found.products >= LEAST_PRODUCTS
        lines.append(
            Line(
                label=label,
                champion=found.champion,
                challenger=found.challenger,
                difference=found.difference,
                low=found.low if enough else None,
                high=found.high if enough else None,
                queries=found.queries,
            )
        )
    return lines


def rank_table(task: str, challenger: Evaluation, champion: Evaluation, ks: Sequence[int]) -> RankTable:
    """How many queries' first true matches moved from which band of ranks to which; bands end at the ks."""
    sides = [side.ranked[side.ranked["task"] == task] for side in (champion, challenger)]
    deepest = max((int(side["rank"].max()) for side in sides if len(side)), default=max(ks))
    ends = sorted({k for k in ks if k < deepest} | {deepest})
    starts = [1, *(end + 1 for end in ends[:-1])]
    bands = [str(end) if end == start else f"{start}–{end}" for start, end in zip(starts, ends, strict=True)]
    first = [first_matches(side, task) for side in (champion, challenger)]
    counts = np.zeros((len(ends) + 1, len(ends) + 1), dtype=int)
    for query in set(sides[0]["query_id"]) & set(sides[1]["query_id"]):
        ranks = [found[query][0] if query in found else deepest + 1 for found in first]
        counts[tuple(np.searchsorted(ends, ranks))] += 1
    return RankTable([*bands, f"beyond {deepest}"], counts.tolist())


def _by_cutoff(metric: str) -> tuple[int, str]:
    return int(metric.rpartition("_at_")[2]), metric
