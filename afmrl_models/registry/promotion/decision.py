"""Whether the challenger becomes champion.

Where none is in force yet, the run's own baseline stands in for the champion.
"""

import dataclasses
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from afmrl_models.registry.models import set_alias
from afmrl_models.registry.promotion.pair import (
    CHALLENGER,
    REFUSED,
    Pair,
    champion_pair,
    note_generator,
    put_in_force,
    version_tags,
)
from afmrl_models.registry.promotion.rules import Ruling, rulings, verdict
from afmrl_models.registry.promotion.sides import Bench, Side
from afmrl_models.registry.promotion.trust import Shown, Untrusted

Outcome = Literal["promoted", "kept", "refused", "unusable champion", "unchanged"]


@dataclass(frozen=True)
class Decision:
    """What was decided and why.

    outcome: `promoted`; `kept`, where a rule speaks against the challenger; `refused`, where it cannot be
    trusted; `unusable champion`, where what it is held against cannot be; `unchanged`, where it is the
    champion already. against: `champion`, or `baseline` where there was none.
    """

    outcome: Outcome
    reason: str
    challenger: str
    champion_before: str | None
    champion_after: str | None
    against: Literal["champion", "baseline"]
    evaluation_set: str
    decided_at: str
    rules: tuple[Ruling, ...] = ()

    @property
    def sound(self) -> bool:
        """Both sides could be trusted."""
        return self.outcome not in ("refused", "unusable champion")

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Judgement:
    """The decision and what was measured for it; None where it was not.

    opponent: what the pair was held against, or was to be.
    """

    decision: Decision
    pair: Pair
    opponent: Pair
    challenger: Side | None = None
    champion: Side | None = None


def judge_challenger(bench: Bench, challenger: Pair, baseline: Pair, shown: Shown) -> Judgement:
    """Promote the challenger if it can be trusted and every rule of the profile speaks for it.

    shown: what the challenger was evaluated with tonight. Sets the alias `challenger` on a pair that can be
    trusted, and `champion` on a promoted one; a baseline that holds out becomes the first champion.
    """
    profile, tracking = bench.profile, bench.tracking
    before = champion_pair(tracking, profile.name)
    if before is not None:
        # Of one that an earlier version of this code promoted, only the aliases tell: and they may move.
        note_generator(tracking, before)
    opponent = before or baseline
    measured: dict[str, Side] = {}

    def judged(
        outcome: Outcome, reason: str, after: Pair | None = before, rules: tuple[Ruling, ...] = ()
    ) -> Judgement:
        decision = Decision(
            outcome=outcome,
            reason=reason,
            challenger=challenger.name,
            champion_before=None if before is None else before.name,
            champion_after=None if after is None else after.name,
            against="baseline" if before is None else "champion",
            evaluation_set=bench.frozen.digest,
            decided_at=datetime.now(UTC).isoformat(timespec="seconds"),
            rules=rules,
        )
        return Judgement(decision, challenger, opponent, measured.get("challenger"), measured.get("champion"))

    if before is not None and before.embedder.version == challenger.embedder.version:
        return judged("unchanged", f"{challenger.embedder.uri} is the champion already")
    for version in challenger.versions:
        if why := version_tags(tracking, version).get(REFUSED):
            return judged("refused", f"{version.uri} is not promoted again: {why}")
    try:
        measured["challenger"] = bench.measure(challenger, shown)
    except Untrusted as error:
        return judged("refused", str(error))
    for version in challenger.versions:
        set_alias(tracking, version.name, CHALLENGER, version.version)
    note_generator(tracking, challenger)
    try:
        measured["champion"] = bench.measure(opponent)
    except Untrusted as error:
        return judged("unusable champion", f"nothing is promoted, for nothing can be compared with: {error}")
    theirs, ours = measured["challenger"].evaluation, measured["champion"].evaluation
    rules = tuple(rulings(profile.champion, theirs, ours, profile.evaluation.bootstrap, profile.seeds[0]))
    reason = verdict(rules)
    if all(ruling.passed for ruling in rules):
        put_in_force(tracking, profile.name, challenger)
        return judged("promoted", reason, challenger, rules)
    if before is None:
        put_in_force(tracking, profile.name, baseline)
        reason += "; there was no champion, so the baseline becomes it"
    return judged("kept", reason, opponent, rules)
