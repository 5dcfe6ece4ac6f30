"""The first page of a judgement's Data Docs: a line an expectation, with nothing fetched from the web."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from afmrl_models.config.expectations import Entry

if TYPE_CHECKING:
    from afmrl_models.attributes.judgement.judging import Verdict


def index_page(entries: Sequence[Entry], verdicts: Sequence["Verdict"], docs: Path) -> str:
    """HTML of all verdicts, linked to their pages below `docs`. Catalog text is escaped.

    Great Expectations' own index is drawn by scripts from the web: where that cannot be reached it is empty.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("afmrl_models.attributes.judgement", package_path=""), autoescape=True
    )
    refused = [v.name for v in verdicts if v.severity == "critical" and not v.passed]
    return environment.get_template("index_page.html.jinja").render(
        table=f"{docs.name}/product_attributes",
        accepted=not refused,
        refused=refused,
        judged=f"Judged {datetime.now(UTC):%Y-%m-%d %H:%M} UTC.",
        rows=[_row(entry, verdict, docs) for entry, verdict in zip(entries, verdicts, strict=True)],
    )


def _row(entry: Entry, verdict: "Verdict", docs: Path) -> dict[str, Any]:
    observed = verdict.observed
    limits = [f"{word} {_number(observed[key])}" for key, word in _LIMITS.items() if key in observed]
    return {
        "name": verdict.name,
        "description": entry.description,
        "page": verdict.page and verdict.page.relative_to(docs).as_posix(),
        "verdict": "passed" if verdict.passed else f"failed ({verdict.severity})",
        "style": "passed" if verdict.passed else f"failed-{verdict.severity}",
        "message": observed.get("message"),
        "of": observed.get("of", ""),
        "judged": _number(observed.get("judged", "")),
        "unexpected": _number(observed.get("unexpected", "")),
        "found": _number(observed.get("share", observed.get("observed", ""))),
        "demanded": ", ".join(limits),
    }


_LIMITS = {"required": "at least", "at_least": "at least", "at_most": "at most"}


def _number(value: object) -> str:
    return (
        f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
    )
