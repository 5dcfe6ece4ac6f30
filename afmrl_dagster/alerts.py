"""Telling people of a run that failed: a line in a log, always, and a message to a webhook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import dagster as dg

from afmrl_dagster.execution import failure_in_brief, only_a_check_failed
from afmrl_dagster.resources import dagster_ui
from afmrl_dagster.resume import entries
from afmrl_models.config import AlertsConfig

LOG = "alerts.log"
_EXAMINED = {
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ENGINE_EVENT,
}
_CHAMPION = dg.AssetKey(["release", "champion"])
_NO_NEWS = ("promoted", "unchanged")
# What Dagster says of a run whose process is gone.
_CRASHED = ("was terminated by signal", "unexpectedly exited")
_RETRIED = (429, 500, 502, 503, 504)
GO_ON = "What was finished is kept: go on with --resume."


@dataclass(frozen=True)
class Alert:
    """What is told of one run. failed: assets, and checks as `asset: check`."""

    kind: Literal["failed", "killed", "warning"]
    profile: str
    run_id: str
    job: str
    failed: Sequence[str]
    reason: str
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def link(self) -> str:
        """The run's page in the Dagster UI."""
        return f"{dagster_ui()}/runs/{self.run_id}"

    @property
    def text(self) -> str:
        """One line for people."""
        said = {"failed": "failed", "killed": "was killed", "warning": "ended with warnings"}[self.kind]
        which = f": {_by_asset(self.failed)}" if self.failed else ""
        return f"AFMRL {self.profile}: run {self.run_id[:8]} ({self.job}) {said}{which}. {self.reason}"

    def as_json(self) -> dict[str, str | list[str]]:
        """The body of the webhook's request; chat programs show its `text`."""
        return {
            "text": f"{self.text} {self.link}",
            "kind": self.kind,
            "profile": self.profile,
            "run_id": self.run_id,
            "job": self.job,
            "run_url": self.link,
            "failed": list(self.failed),
            "reason": self.reason,
            "time": self.time,
        }


def _by_asset(failed: Sequence[str]) -> str:
    """Each asset once, its checks behind it."""
    checks: dict[str, list[str]] = {}
    for name in failed:
        asset, _, check = name.partition(": ")
        checks.setdefault(asset, []).extend([check] if check else [])
    return "; ".join(f"{asset}: {', '.join(names)}" if names else asset for asset, names in checks.items())


@dataclass(frozen=True)
class Findings:
    """What a run recorded that people may want to know."""

    failed: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    not_promoted: str | None = None


def examine(instance: dg.DagsterInstance, run_id: str) -> Findings:
    """Failed steps with their reasons, failed checks, and a promotion that was refused."""
    failed, reasons, warnings, not_promoted = list[str](), list[str](), list[str](), None
    for entry in entries(instance, run_id, _EXAMINED):
        event = entry.get_dagster_event()
        if event.is_step_failure:
            if not (failed and only_a_check_failed(event)):
                failed.append((event.step_key or "").replace("__", "/"))
                reasons.append(failure_in_brief(event))
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if not check.passed:
                name = f"{check.asset_key.to_user_string()}: {check.check_name}"
                if check.severity == dg.AssetCheckSeverity.WARN:
                    warnings.append(name)
                else:
                    failed.append(name)
                    reasons.append(_found(check))
        elif event.event_type == dg.DagsterEventType.ENGINE_EVENT:
            if any(words in (event.message or "") for words in _CRASHED):
                reasons.append(f"{_of_the_crash(event.message or '')} {GO_ON}")
        elif event.asset_key == _CHAMPION:
            stated = event.step_materialization_data.materialization.metadata
            if "outcome" in stated and stated["outcome"].value not in _NO_NEWS:
                not_promoted = _why_not(stated)
    return Findings(failed, reasons, warnings, not_promoted)


def _of_the_crash(message: str) -> str:
    """Dagster's words, without who says so and without its advice."""
    said = message.partition("] ")[2] if message.startswith("[") else message
    return said.partition(" Possible solutions")[0]


def _found(check: dg.AssetCheckEvaluation) -> str:
    """What a failed check found, and what stays in force."""
    found = f"{check.check_name}: {check.description}." if check.description else "Its table says why."
    if "table_in_force" in check.metadata:
        found += f" In force stays {check.metadata['table_in_force'].value}."
    return found


def _why_not(stated: Mapping[str, dg.MetadataValue]) -> str:
    """Who was not promoted, why, and who is champion, as `release/champion` states it."""
    said = {name: str(stated[name].value) for name in ("challenger", "reason", "champion") if name in stated}
    left = f" Champion: {said['champion']}." if "champion" in said else ""
    return f"{said.get('challenger', 'no challenger')}: {said.get('reason', 'no reason was given')}.{left}"


def deliver(alert: Alert, config: AlertsConfig, log: Path) -> str | None:
    """Write the alert to the log, then send it to the webhook. What went wrong, if anything; never raises."""
    trouble = note(log, alert.time, f"{alert.text} {alert.link}")
    if config.webhook is not None and (refused := _post(alert, config)):
        note(log, alert.time, f"{refused}; the alert of run {alert.run_id[:8]} was not sent")
        trouble = refused
    return trouble


def note(log: Path, time: str, text: str) -> str | None:
    """Add a line to the log; why that is not possible."""
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{time} {' '.join(text.split())}\n")
    except OSError as error:
        return f"{log} cannot be written: {error}"
    return None


def _post(alert: Alert, config: AlertsConfig) -> str | None:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    retry = Retry(
        total=config.tries - 1, backoff_factor=0.5, backoff_jitter=0.5, status_forcelist=_RETRIED,
        allowed_methods=None, respect_retry_after_header=False,
    )  # fmt: skip
    url = str(config.webhook)
    # The rest of a webhook's address is its password.
    where = f"the webhook at {urlsplit(url).hostname}"
    try:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=retry))
            answer = session.post(url, json=alert.as_json(), timeout=config.timeout)
    except requests.RequestException as error:
        return f"{where} cannot be reached: {type(error).__name__}"
    return None if answer.ok else f"{where} answered {answer.status_code}"
