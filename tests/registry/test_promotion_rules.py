"""What the rules say of given evaluations."""

import re

import numpy as np
import pandas as pd
import pytest

from afmrl_models.config import ChampionConfig
from afmrl_models.registry.promotion.resolution import limit_for, passes_when_equal, resolution
from afmrl_models.registry.promotion.rules import rulings, verdict
from afmrl_models.retrieval.evaluation import Evaluation

QUERIES = 200


def evaluation(left_out: dict[str, str] | None = None, **hits: int) -> Evaluation:
    """Of each task the first `hits` of 200 queries are right, at rank 1."""
    metrics = {
        f"{task}/{m}": n / QUERIES for task, n in hits.items() for m in ("recall_at_1", "recall_at_10")
    }
    frames = [
        pd.DataFrame(
            {
                "task": task,
                "query_id": [f"q{i}" for i in range(QUERIES)],
                "product_id": [f"p{i}" for i in range(QUERIES)],
                "recall_at_1": (np.arange(QUERIES) < n).astype(float),
                "recall_at_10": (np.arange(QUERIES) < n).astype(float),
            }
        )
        for task, n in hits.items()
    ]
    return Evaluation(metrics, {}, pd.concat(frames), pd.DataFrame(), left_out or {})


def config(**changes: object) -> ChampionConfig:
    return ChampionConfig.model_validate({"limits": {}, "max_regression": 0.02, **changes})


@pytest.mark.parametrize(
    ("require", "challenger", "passed"),
    [
        ("not_worse", 120, True),
        ("not_worse", 150, True),
        ("not_worse", 118, False),  # one point worse, and the interval says it may be more than two
        ("not_worse", 90, False),
        ("better", 120, False),
        ("better", 122, False),  # a point better, which may be chance
        ("better", 150, True),
    ],
)
def test_the_champions_own_task_is_judged_by_the_interval(
    require: str, challenger: int, passed: bool
) -> None:
    (own,) = rulings(
        config(require=require), evaluation(fine_grained=challenger), evaluation(fine_grained=120), 1000, 0
    )
    assert own.passed is passed
    assert own.difference == pytest.approx((challenger - 120) / QUERIES)
    assert own.low is not None and own.high is not None and own.low <= own.difference <= own.high
    assert own.queries == QUERIES and "200 queries" in own.why


def test_another_task_may_not_fall_beyond_its_own_limit() -> None:
    limits = {"image_to_text": {"max_drop": 0.05}, "text_to_image": {"max_drop": 0.2}}
    challenger = evaluation(fine_grained=150, image_to_text=80, text_to_image=80)
    champion = evaluation(fine_grained=100, image_to_text=100, text_to_image=100)
    found = rulings(config(limits=limits), challenger, champion, 200, 0)
    assert [ruling.passed for ruling in found] == [True, False, True]
    assert verdict(found).startswith("image_to_text/recall_at_10 falls too far: 0.5000 to 0.4000")


def test_what_neither_side_can_be_asked_is_said_and_breaks_no_limit() -> None:
    limits = {"text_to_image": {"max_drop": 0.0}}
    none = {"text_to_image": "no query has a match"}
    blind, seeing = evaluation(none, fine_grained=150), evaluation(fine_grained=100, text_to_image=50)
    neither = rulings(config(limits=limits), blind, evaluation(none, fine_grained=100), 200, 0)[1]
    assert neither.passed and neither.difference is None and "no query has a match" in neither.why
    assert not rulings(config(limits=limits), blind, seeing, 200, 0)[1].passed
    own = rulings(config(task="text_to_image"), blind, blind, 200, 0)[0]
    assert not own.passed and "cannot be measured" in own.why


def test_a_limit_on_the_champions_own_task_or_an_unknown_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="judged by require already"):
        config(limits={"fine_grained": {"max_drop": 0.1}})
    with pytest.raises(ValueError, match="recall@1"):
        config(metric="recall@1")


def chance_evaluation(hits: np.ndarray) -> Evaluation:
    frame = pd.DataFrame(
        {
            "task": "fine_grained",
            "query_id": [f"q{i}" for i in range(len(hits))],
            "product_id": [f"p{i}" for i in range(len(hits))],
            "recall_at_1": hits.astype(float),
        }
    )
    return Evaluation({"fine_grained/recall_at_1": hits.mean()}, {}, frame, pd.DataFrame(), {})


def test_an_equally_good_challenger_passes_as_often_as_is_said() -> None:
    rng, nights, queries = np.random.default_rng(0), 400, 500
    found = []
    for night in range(nights):
        # Each side finds each query with the same chance; a third of the queries are open.
        sure, chance = rng.random(queries) < 0.4, rng.random((2, queries)) < 0.5
        open_ = rng.random(queries) < 0.33
        sides = [chance_evaluation(np.where(open_, side, sure)) for side in chance]
        found += rulings(config(max_regression=0.04), *sides, 200, night)
    said = [passes_when_equal(rule) for rule in found]
    assert all(share is not None for share in said)
    passed = np.mean([rule.passed for rule in found])
    assert np.mean(said) == pytest.approx(passed, abs=0.06)  # type: ignore[arg-type]
    wanted = np.mean([limit_for(rule) for rule in found])  # type: ignore[list-item]
    assert np.mean([rule.low >= -wanted for rule in found]) == pytest.approx(0.8, abs=0.06)  # type: ignore[operator]


def test_what_the_set_can_tell_is_said_for_each_kind_of_rule() -> None:
    sides = evaluation(fine_grained=120), evaluation(fine_grained=110)
    not_worse = resolution(rulings(config(max_regression=0.02), *sides, 1000, 0))
    assert "200 queries tell differences of 0.0" in not_worse and "with max_regression: 0.0" in not_worse
    better = resolution(rulings(config(require="better"), *sides, 1000, 0))
    assert re.search(r"in [23] % of nights.*a true gain of 0\.0", better)
    limits = {"text_to_image": {"max_drop": 0.01}}
    two = evaluation(fine_grained=120, text_to_image=90), evaluation(fine_grained=110, text_to_image=80)
    assert "all rules in" in resolution(rulings(config(limits=limits), *two, 1000, 0))
    same = evaluation(fine_grained=120)
    assert resolution(rulings(config(), same, same, 100, 0)) == "no query tells the two models apart"
    blind = evaluation({"text_to_image": "no query has a match"}, fine_grained=150)
    assert "cannot be measured" in resolution(rulings(config(task="text_to_image"), blind, blind, 100, 0))
    assert resolution(()) == "nothing was compared"
