"""A round's attribute tables: the candidate written last, and the accepted one that everything reads."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from afmrl_dagster.resources import RUN_FILE, Pipeline
from afmrl_models.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from afmrl_models.attributes.judgement import Verdict

ATTRIBUTES = "attributes.parquet"
PREVIOUS = "previous.parquet"
VERDICTS = "verdicts.json"
_NAME = "product_attributes"


class AttributeTableError(UserError):
    """There is no attribute table where one is needed; the message names the asset and what to do."""


@dataclass(frozen=True)
class AttributeTables:
    """Of one round (`group`) and the run's seed.

    `<group>/product_attributes` is the table in force, `<group>/product_attributes.candidate` the one written
    last, there until it is accepted. Both hold `verdicts.json` once judged; an accepted table keeps beside it
    the one it replaced, `previous.parquet`.
    """

    pipeline: Pipeline
    group: str

    @property
    def directory(self) -> Path:
        """The folder of the table in force."""
        return self.pipeline.directory((self.group, _NAME))

    @property
    def candidate(self) -> Path:
        """The folder of the table that waits for its acceptance, or was refused."""
        return self.pipeline.directory((self.group, f"{_NAME}.candidate"))

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """A fresh folder that becomes the candidate when the block succeeds."""
        with self.pipeline.replacing((self.group, f"{_NAME}.candidate"), of=(self.group, _NAME)) as out:
            yield out

    def require(self) -> Path:
        """The file of the table in force. Raises AttributeTableError where none was accepted yet."""
        path = self.directory / ATTRIBUTES
        if not path.exists():
            refused = _refusals(self.candidate)
            why = f"; the candidate was refused by {', '.join(refused)}" if refused else ""
            raise AttributeTableError(
                f"{self.group}/{_NAME}: no table has been accepted yet{why}: "
                "materialize the asset with its checks"
            )
        return path

    def accepted(self) -> "pd.DataFrame":
        """The table in force. Raises AttributeTableError where none was accepted yet."""
        from afmrl_models.catalog.schema import read_table

        return read_table(self.require())

    def to_judge(self) -> tuple["pd.DataFrame", "pd.DataFrame | None"]:
        """The candidate and the table in force; without a candidate the latter and the one it replaced.

        Raises AttributeTableError where there is neither.
        """
        from afmrl_models.catalog.schema import read_table

        waits = (self.candidate / ATTRIBUTES).exists()
        last = (self.directory / ATTRIBUTES) if waits else (self.directory / PREVIOUS)
        table = read_table(self.candidate / ATTRIBUTES) if waits else self.accepted()
        return table, read_table(last) if last.exists() else None

    def record(self, verdicts: Sequence["Verdict"], accepted: bool) -> None:
        """Keep the verdicts beside the table they judge; an accepted candidate comes into force."""
        waits = self.candidate.exists()
        folder = self.candidate if waits else self.directory
        document = {
            "judged": datetime.now(UTC).isoformat(timespec="seconds"),
            "accepted": accepted,
            "verdicts": [
                {"name": v.name, "passed": v.passed, "severity": v.severity, "observed": v.observed}
                for v in verdicts
            ],
        }
        partial = folder / f".{VERDICTS}.partial"
        partial.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
        partial.replace(folder / VERDICTS)
        if waits and accepted:
            if (self.directory / ATTRIBUTES).exists():
                _link(self.directory / ATTRIBUTES, folder / PREVIOUS)
            self.pipeline.put(folder, (self.group, _NAME))

    def in_force(self) -> str:
        """Which table is in force, in words."""
        if not (self.directory / ATTRIBUTES).exists():
            return "none: no table has been accepted yet"
        signed = self.directory / RUN_FILE
        run = signed.read_text(encoding="utf-8")[:8] if signed.exists() else "unknown"
        judged = _verdicts(self.directory).get("judged")
        return f"the table of run {run}" + (f", accepted {judged}" if judged else "")


def _verdicts(folder: Path) -> dict:
    path = folder / VERDICTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _refusals(folder: Path) -> list[str]:
    return [
        verdict["name"]
        for verdict in _verdicts(folder).get("verdicts", [])
        if verdict["severity"] == "critical" and not verdict["passed"]
    ]


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copy2(source, target)
