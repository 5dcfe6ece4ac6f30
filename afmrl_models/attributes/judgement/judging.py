"""Running the expectations and reading what Great Expectations found."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from afmrl_models.attributes.judgement.material import Material
from afmrl_models.config.expectations import Entry, GxExpectation, Severity

if TYPE_CHECKING:
    from afmrl_models.attributes.judgement.plans import Plan

EXAMPLES = 20
_NEEDED = ("listing_id", "attributes_text", "attributes", "valid")
_WORST = 3


@dataclass(frozen=True)
class Verdict:
    """One entry, met or not.

    observed: counts, share and threshold of what fared worst, and what was asked. judged: a row for each
    column judged. unexpected: at most 20 rows with listing_id (or none), `found`. page: its Data Docs.
    """

    name: str
    passed: bool
    severity: Severity
    observed: dict[str, int | float | str]
    judged: pd.DataFrame = field(default_factory=pd.DataFrame)
    unexpected: pd.DataFrame = field(default_factory=pd.DataFrame)
    page: Path | None = None

    @property
    def in_words(self) -> str | None:
        """Why it was not judged as usual, or what was found where it failed; None where there is no news."""
        found = self.observed
        if "message" in found:
            return str(found["message"])
        if self.passed:
            return None
        if "share" in found:
            share, required = f"{found['share']:.0%}", f"{found['required']:.0%}"
            return (
                f"{found['of']}: {found['unexpected']} of {found['judged']} do not fulfil it "
                f"({share} do, {required} must)"
            )
        limits = [
            f"{name.replace('_', ' ')} {found[name]:g}" for name in ("at_least", "at_most") if name in found
        ]
        seen = found.get("observed", "nothing")
        shown = f"{seen:.3g}" if isinstance(seen, float) else seen
        return f"{found.get('of', 'table')}: {shown}, " + ", ".join(limits)


def is_accepted(verdicts: Sequence[Verdict]) -> bool:
    """Whether no critical expectation failed."""
    return all(verdict.passed for verdict in verdicts if verdict.severity == "critical")


def judge(entries: Sequence[Entry], material: Material, docs: Path | None = None) -> list[Verdict]:
    """Judge a table by each entry, in their order; with `docs`, a Data Docs site is built there anew.

    Nothing passes for want of rows or values, and a table without a needed column fails in words. A first
    table, which there is none to compare with, passes what compares it with the last accepted one.
    """
    if missing := [column for column in _NEEDED if column not in material.table]:
        message = f"the table has no column {', '.join(map(repr, missing))}"
        return [_in_words(entry, message) for entry in entries]
    # Read when the library is imported: it would report usage to its makers.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    from afmrl_models.attributes.judgement.data_docs import Context

    context = Context(docs)
    verdicts = [_judged(entry, material, context) for entry in entries]
    context.build(entries, verdicts)
    return verdicts


def _in_words(entry: Entry, message: str, passed: bool = False) -> Verdict:
    return Verdict(entry.name, passed, entry.severity, {"message": message})


def _judged(entry: Entry, material: Material, context: Any) -> Verdict:
    from afmrl_models.attributes.judgement import drift as drift  # registers its plans
    from afmrl_models.attributes.judgement.plans import CannotJudge, plan

    try:
        planned = plan(entry, material)
    except CannotJudge as nothing:
        return _in_words(entry, str(nothing))
    if planned.note is not None:
        return _in_words(entry, planned.note, passed=True)
    results, page = context.validate(entry, planned.frame, planned.expectations)
    findings = []
    for result in results:
        if not isinstance(result["success"], bool) or not result["result"]:
            reason = result["exception_info"]
            if isinstance(entry, GxExpectation):
                return _in_words(entry, f"{entry.expect} could not be evaluated: {_reason(reason)}")
            # Frames of our own making have the columns asked for, so this is not about the data.
            raise RuntimeError(f"{entry.name} could not be evaluated: {reason}")
        findings.append(_finding(result, planned))
    worst = sorted(findings, key=lambda finding: (finding.met, finding.ease))
    rows = [finding.row for finding in findings]
    return Verdict(
        entry.name,
        all(finding.met for finding in findings),
        entry.severity,
        {**worst[0].row, **planned.asked},
        pd.DataFrame(rows),
        _examples(planned, [finding for finding in worst if not finding.met] or worst[:_WORST], material),
        page,
    )


@dataclass(frozen=True)
class _Finding:
    """Of one column: whether it is as expected, by how much (more is better), and the rows that are not."""

    met: bool
    ease: float
    row: dict[str, int | float | str]
    columns: list[str]
    rows: list[int]


def _finding(result: Mapping[str, Any], planned: "Plan") -> _Finding:
    found, asked = result["result"], result["expectation_config"]["kwargs"]
    columns = [asked[name] for name in ("column", "column_A", "column_B") if name in asked]
    columns = columns or [c for c in asked.get("column_list", []) if c in planned.frame]
    met = bool(result["success"])
    row: dict[str, int | float | str] = {"of": " = ".join(columns) or "the table"}
    if "unexpected_count" in found:
        rows = [int(i) for i in found.get("unexpected_index_list") or []]
        judged = _number_judged(planned.frame, columns, asked, found)
        share = 1 - found["unexpected_count"] / judged if judged else 1.0
        required = float(asked.get("mostly", 1.0))
        row |= {
            "judged": judged,
            "unexpected": int(found["unexpected_count"]),
            "share": share,
            "required": required,
            "passed": _yes(met),
        }
        return _Finding(met, share - required, row, columns, rows)
    observed = found.get("observed_value")
    limits = {name: asked[name] for name in ("min_value", "max_value") if asked.get(name) is not None}
    row |= {"judged": len(planned.frame)}
    row |= {"observed": observed if isinstance(observed, int | float) else str(observed)[:200]}
    row |= {{"min_value": "at_least", "max_value": "at_most"}[name]: limit for name, limit in limits.items()}
    row["passed"] = _yes(met)
    ease = 0.0
    if isinstance(observed, int | float) and isinstance(limits.get("max_value"), int | float):
        ease = float(limits["max_value"] - observed)
    return _Finding(met, ease, row, columns, [i for c in columns for i in planned.suspects.get(c, [])])


def _yes(met: bool) -> str:
    return "yes" if met else "NO"


def _number_judged(frame: pd.DataFrame, columns: list[str], asked: Mapping[str, Any], found: Any) -> int:
    if len(columns) == 2 and "ignore_row_if" in asked:
        return int(frame[columns].notna().all(axis=1).sum())
    return int(found["element_count"] - (found.get("missing_count") or 0))


def _examples(planned: "Plan", findings: Sequence[_Finding], material: Material) -> pd.DataFrame:
    """The first unexpected rows, some of every column that failed."""
    share = max(1, EXAMPLES // max(1, len(findings)))
    chosen = [(row, finding.columns) for finding in findings for row in finding.rows[:share]][:EXAMPLES]
    if planned.listing_ids is None:
        return planned.frame.loc[[row for row, _ in chosen]].drop_duplicates().reset_index(drop=True)
    ids = planned.listing_ids.reset_index(drop=True)
    shown = pd.DataFrame(
        {
            "listing_id": [ids[row] for row, _ in chosen],
            "found": [
                "; ".join(f"{c}: {planned.frame.at[row, c]!s}" for c in columns) for row, columns in chosen
            ],
        },
        dtype=object,
    )
    texts = material.table.drop_duplicates("listing_id").set_index("listing_id")["attributes_text"]
    shown["title"] = list(material.of_listing("title", shown["listing_id"]))
    shown["attributes_text"] = list(shown["listing_id"].map(texts))
    return shown


def _reason(exception_info: Mapping[str, Any]) -> str:
    told = (
        exception_info if "exception_message" in exception_info else next(iter(exception_info.values()), {})
    )
    return str(told.get("exception_message"))
