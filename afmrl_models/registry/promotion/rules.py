"""The rules of promotion: the champion's own task by the paired bootstrap, a limit for each other one."""

from collections.abc import Sequence
from dataclasses import dataclass

from afmrl_models.config import ChampionConfig
from afmrl_models.retrieval.evaluation import Evaluation
from afmrl_models.retrieval.significance import paired_bootstrap


@dataclass(frozen=True)
class Ruling:
    """One rule and its verdict. difference: challenger - champion, with its 95 % interval over products.

    limit: what the rule compares with. The numbers are None where nothing was measured; `why` says it.
    """

    rule: str
    passed: bool
    why: str
    limit: float
    champion: float | None = None
    challenger: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    queries: int = 0


def rulings(
    config: ChampionConfig, challenger: Evaluation, champion: Evaluation, bootstrap: int, seed: int
) -> list[Ruling]:
    """All rules on the same queries; the champion's task first.

    A task that neither side can ask breaks no limit, and one that a side cannot ask does. The champion's
    own task must be measured.
    """
    compared = {
        (task, metric): _compare(task, metric, challenger, champion, bootstrap, seed)
        for task, metric in [(config.task, config.metric)]
        + [(task, limit.metric) for task, limit in config.other_limits.items()]
    }
    own = compared[config.task, config.metric]
    return [
        _own_rule(config, own),
        *(
            _limit_rule(task, limit.metric, limit.max_drop, compared[task, limit.metric])
            for task, limit in config.other_limits.items()
        ),
    ]


def verdict(found: Sequence[Ruling]) -> str:
    """Why the challenger is promoted, or every rule that speaks against it."""
    broken = [ruling for ruling in found if not ruling.passed]
    return "; ".join(ruling.why for ruling in broken or found[:1])


@dataclass(frozen=True)
class _Compared:
    """The numbers of a Ruling, or why there are none and on how many sides they are missing."""

    numbers: dict[str, float]
    queries: int = 0
    missing: int = 0
    reason: str = ""


def _compare(
    task: str, metric: str, challenger: Evaluation, champion: Evaluation, bootstrap: int, seed: int
) -> _Compared:
    sides = {"the challenger": challenger, "the champion": champion}
    gaps = [
        f"{whose}: {side.left_out.get(task, 'not evaluated')}"
        for whose, side in sides.items()
        if f"{task}/{metric}" not in side.metrics
    ]
    if gaps:
        return _Compared({}, missing=len(gaps), reason="; ".join(gaps))
    frames = [side.per_query[side.per_query["task"] == task].set_index("query_id") for side in sides.values()]
    both = frames[0].index.intersection(frames[1].index)
    values = [frame.loc[both, metric].to_numpy() for frame in frames]
    products = list(frames[0].loc[both, "product_id"])
    found = paired_bootstrap(values[0], values[1], products, bootstrap, seed)
    numbers = {
        "challenger": float(values[0].mean()),
        "champion": float(values[1].mean()),
        "difference": found.difference,
        "low": found.low,
        "high": found.high,
    }
    return _Compared(numbers, queries=len(both))


def _own_rule(config: ChampionConfig, found: _Compared) -> Ruling:
    name = f"{config.task}/{config.metric}"
    better = config.require == "better"
    limit = 0.0 if better else -config.max_regression
    rule = f"{name} is better" if better else f"{name} is not worse by more than {config.max_regression:g}"
    if found.missing:
        return Ruling(rule, False, f"{name} cannot be measured ({found.reason})", limit)
    low = found.numbers["low"]
    passed = low > 0 if better else low >= limit
    if passed:
        why = f"{rule}: {_numbers(found)}"
    elif better:
        why = f"{name} is not shown to be better: {_numbers(found)}"
    else:
        why = f"{name} may be worse by more than {config.max_regression:g}: {_numbers(found)}"
    return Ruling(rule, passed, why, limit, queries=found.queries, **found.numbers)


def _limit_rule(task: str, metric: str, max_drop: float, found: _Compared) -> Ruling:
    name = f"{task}/{metric}"
    rule = f"{name} falls by no more than {max_drop:g}"
    if found.missing:
        passed = found.missing == 2
        return Ruling(rule, passed, f"{name} was not measured ({found.reason})", -max_drop)
    passed = found.numbers["difference"] >= -max_drop
    why = f"{rule}: {_numbers(found)}" if passed else f"{name} falls too far: {_numbers(found)}"
    return Ruling(rule, passed, why, -max_drop, queries=found.queries, **found.numbers)


def _numbers(found: _Compared) -> str:
    n = found.numbers
    return (
        f"{n['champion']:.4f} to {n['challenger']:.4f}, difference {n['difference']:+.4f}, "
        f"95 % interval {n['low']:+.4f} to {n['high']:+.4f}, {found.queries} queries"
    )
