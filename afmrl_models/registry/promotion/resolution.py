"""What the frozen set can tell: how often a rule would let in a challenger that is just as good.

The width of a rule's interval says how far two equally good models come to lie apart by chance. Taken as
normal, with no true difference, it gives the share of nights in which the rule holds, and the limit at which
it would hold in more of them.
"""

from collections.abc import Sequence
from math import prod
from statistics import NormalDist

from afmrl_models.registry.promotion.rules import Ruling

_NORMAL = NormalDist()
_REACH = _NORMAL.inv_cdf(0.975)  # of a 95 % interval, in standard errors
WANTED = 0.8


def half_width(ruling: Ruling) -> float | None:
    """Differences within it are not told from none; None where nothing was measured or no query differs."""
    if ruling.low is None or ruling.high is None or ruling.low == ruling.high:
        return None
    return (ruling.high - ruling.low) / 2


def passes_when_equal(ruling: Ruling) -> float | None:
    """Share of nights in which the rule holds for a challenger that is just as good as the champion."""
    half = half_width(ruling)
    return None if half is None else _NORMAL.cdf(-ruling.limit * _REACH / half - _needed(ruling))


def limit_for(ruling: Ruling, share: float = WANTED) -> float | None:
    """How far below zero the limit would have to lie for that share to be `share`.

    Of a rule whose limit is zero: the true gain that is promoted in that share of nights.
    """
    half = half_width(ruling)
    return None if half is None else (_needed(ruling) + _NORMAL.inv_cdf(share)) * half / _REACH


def resolution(rules: Sequence[Ruling]) -> str:
    """In words, of the champion's own task and of all rules together; why not, where nothing can be said."""
    if not rules:
        return "nothing was compared"
    own, half = rules[0], half_width(rules[0])
    passes, limit = passes_when_equal(own), limit_for(own)
    if half is None or passes is None or limit is None:
        return own.why if own.difference is None else "no query tells the two models apart"
    found = (
        f"{own.queries} queries tell differences of {half:.3f} in {own.measure}; a challenger that is just "
        f"as good would pass this rule in {_percent(passes)} of nights"
    )
    shares = [share for rule in rules if (share := passes_when_equal(rule)) is not None]
    if len(shares) > 1:
        found += f", all rules in about {_percent(prod(shares))} or more"
    if own.limit == 0:
        return f"{found}; a true gain of {limit:.3f} would be seen in {_percent(WANTED)}"
    return f"{found}; with max_regression: {limit:.3f} it would in {_percent(WANTED)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _needed(ruling: Ruling) -> float:
    """Standard errors by which the difference must lie above the limit."""
    return _REACH if ruling.by_interval else 0.0
