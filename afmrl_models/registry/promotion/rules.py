"""The rules of promotion: the champion's own task by the paired bootstrap, a limit for each other one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from afmrl_models.config import ChampionConfig
from afmrl_models.registry.promotion.compared import Compared, NotMeasured, compare
from afmrl_models.retrieval.evaluation import Evaluation


@dataclass(frozen=True)
class Ruling:
    """One rule and its verdict. difference: challenger - champion, with its 95 % interval over products.

    limit: what the rule compares with the difference, or by_interval with the interval's lower end. The
    numbers are None where nothing was measured; `why` says it.
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
    by_interval: bool = False

    @property
    def measure(self) -> str:
        """Such as `fine_grained/recall_at_1`."""
        return self.rule.partition(" ")[0]


def rulings(
    config: ChampionConfig, challenger: Evaluation, champion: Evaluation, bootstrap: int, seed: int
) -> list[Ruling]:
    """All rules on the same queries; the champion's task first.

    A task that neither side can ask breaks no limit, and one that a side cannot ask does. The champion's
    own task must be measured.
    """
    compared = {
        (task, metric): compare(task, metric, challenger, champion, bootstrap, seed)
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


def _own_rule(config: ChampionConfig, found: Compared | NotMeasured) -> Ruling:
    name = f"{config.task}/{config.metric}"
    better = config.require == "better"
    limit = 0.0 if better else -config.max_regression
    rule = f"{name} is better" if better else f"{name} is not worse by more than {config.max_regression:g}"
    if isinstance(found, NotMeasured):
        return Ruling(rule, False, f"{name} cannot be measured ({found.reason})", limit, by_interval=True)
    passed = found.low > 0 if better else found.low >= limit
    if passed:
        why = f"{rule}: {_numbers(found)}"
    elif better:
        why = f"{name} is not shown to be better: {_numbers(found)}"
    else:
        why = f"{name} may be worse by more than {config.max_regression:g}: {_numbers(found)}"
    return replace(_measured(rule, passed, why, limit, found), by_interval=True)


def _limit_rule(task: str, metric: str, max_drop: float, found: Compared | NotMeasured) -> Ruling:
    name = f"{task}/{metric}"
    rule = f"{name} falls by no more than {max_drop:g}"
    if isinstance(found, NotMeasured):
        passed = found.sides == 2
        return Ruling(rule, passed, f"{name} was not measured ({found.reason})", -max_drop)
    passed = found.difference >= -max_drop
    why = f"{rule}: {_numbers(found)}" if passed else f"{name} falls too far: {_numbers(found)}"
    return _measured(rule, passed, why, -max_drop, found)


def _measured(rule: str, passed: bool, why: str, limit: float, found: Compared) -> Ruling:
    return Ruling(
        rule=rule,
        passed=passed,
        why=why,
        limit=limit,
        champion=found.champion,
        challenger=found.challenger,
        difference=found.difference,
        low=found.low,
        high=found.high,
        queries=found.queries,
    )


def _numbers(found: Compared) -> str:
    return (
        f"{found.champion:.4f} to {found.challenger:.4f}, difference {found.difference:+.4f}, "
        f"95 % interval {found.low:+.4f} to {found.high:+.4f}, {found.queries} queries"
    )
