"""What is kept of decisions: a line a night, and tags and a description on the versions."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from afmrl_models.registry.promotion.decision import Decision, Judgement
from afmrl_models.registry.promotion.pair import tag_version
from afmrl_models.registry.promotion.rules import Ruling
from afmrl_models.registry.tracking import Tracking

DECISION, REASON, DECIDED_AT = "afmrl.decision", "afmrl.reason", "afmrl.decided_at"
EVALUATION_SET, REPLACED, HEADLINE = "afmrl.evaluation_set", "afmrl.replaced", "afmrl.headline"
RUN, REPORT_PAGE = "afmrl.decision_run", "afmrl.report"


def append_history(path: Path, event: Mapping[str, Any]) -> None:
    """Add one line of JSON; all nights and all ways back are in one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(event, ensure_ascii=False) + "\n")


def read_history(path: Path) -> list[dict[str, Any]]:
    """All events, the oldest first; a line that was cut off is left out."""
    if not path.exists():
        return []
    events = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            continue
    return events


def note_on_versions(tracking: Tracking, judgement: Judgement, run_url: str, report: Path) -> None:
    """Tag both versions of the challenger with the decision, and put the report among their files.

    The embedder gets the decision as its description, too.
    """
    decision = judgement.decision
    if decision.outcome == "unchanged":
        return
    tags = {
        DECISION: decision.outcome,
        REASON: decision.reason,
        DECIDED_AT: decision.decided_at,
        EVALUATION_SET: decision.evaluation_set,
        RUN: run_url,
        REPORT_PAGE: report_url(run_url, report.name),
    }
    own = decision.rules[0].challenger if decision.rules else None
    if own is not None:
        tags[HEADLINE] = f"{own:.4f}"
    if decision.outcome == "promoted" and decision.champion_before:
        tags[REPLACED] = decision.champion_before
    for version in judgement.pair.versions:
        tag_version(tracking, version, tags)
        tracking.client.log_model_artifact(version.model_id, str(report))
    embedder = judgement.pair.embedder
    tracking.client.update_model_version(
        embedder.name, str(embedder.version), description=_description(decision, tags)
    )


def report_url(run_url: str, name: str) -> str:
    """The page of a run's artifact in the MLflow UI."""
    return f"{run_url}/artifactPath/{name}"


def rules_markdown(rules: Sequence[Ruling]) -> str:
    """A table, one line a rule."""
    lines = [
        "| rule | champion | challenger | difference | 95 % interval | limit | verdict |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rules:
        if r.difference is None:
            numbers = ["", "", "", "not measured"]
        else:
            numbers = [
                f"{r.champion:.4f}",
                f"{r.challenger:.4f}",
                f"{r.difference:+.4f}",
                f"{r.low:+.4f} to {r.high:+.4f}",
            ]
        cells = [r.rule, *numbers, f"{r.limit:+g}", "holds" if r.passed else "**broken**"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _description(decision: Decision, tags: Mapping[str, str]) -> str:
    parts = [f"**{decision.outcome}** {decision.decided_at}: {decision.reason}"]
    if decision.rules:
        parts.append(rules_markdown(decision.rules))
    parts.append(f"[champion versus challenger]({tags[REPORT_PAGE]}) · [the decision's run]({tags[RUN]})")
    return "\n\n".join(parts)
