"""Champion and challenger: trust, rules, the decision and its record, the way back."""

from afmrl_models.registry.promotion.decision import Decision, Judgement, judge_challenger
from afmrl_models.registry.promotion.pair import Pair, champion_pair
from afmrl_models.registry.promotion.record import append_history, read_history
from afmrl_models.registry.promotion.rollback import WayBack, find_way_back, roll_back, versions_table
from afmrl_models.registry.promotion.sides import Bench, Side
from afmrl_models.registry.promotion.trust import Shown

__all__ = [
    "Bench",
    "Decision",
    "Judgement",
    "Pair",
    "Shown",
    "Side",
    "WayBack",
    "append_history",
    "champion_pair",
    "find_way_back",
    "judge_challenger",
    "read_history",
    "roll_back",
    "versions_table",
]
