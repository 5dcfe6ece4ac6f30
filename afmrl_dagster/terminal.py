"""What a person at a terminal sees of a run: a line when an asset starts, ends, fails or is checked."""

import logging
import sys
import time

import dagster as dg


class _EventLines(logging.Handler):
    """Turns Dagster's events into lines; warnings and errors of the assets pass through."""

    def __init__(self) -> None:
        super().__init__()
        self._started: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        line = self._line(event) if event is not None else self._message(record)
        if line:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def _line(self, event: dg.DagsterEvent) -> str | None:
        step = (event.step_key or "").replace("__", "/")
        kind = event.event_type
        if kind == dg.DagsterEventType.STEP_START:
            self._started[step] = time.monotonic()
            return f"▶ {step}"
        if kind == dg.DagsterEventType.STEP_SUCCESS:
            return f"✔ {step}  {time.monotonic() - self._started.get(step, time.monotonic()):.0f} s"
        if kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            mark = "✔" if check.passed else "✘"
            return f"  {mark} check {check.check_name}"
        if kind == dg.DagsterEventType.STEP_FAILURE:
            return f"✘ {step}"
        if kind == dg.DagsterEventType.STEP_SKIPPED:
            return f"– {step} skipped"
        return None

    def _message(self, record: logging.LogRecord) -> str | None:
        message = getattr(record, "dagster_meta", {}).get("orig_message", record.getMessage())
        if record.levelno < logging.WARNING or message.startswith("Dependencies for step"):
            return None
        return f"  {record.levelname.lower()}: {message}"


@dg.logger({}, description="One line an event, for `afmrl run`.")
def terminal_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
    """A logger that writes `_EventLines` to standard error."""
    logger = logging.Logger("afmrl", level=logging.DEBUG)
    logger.addHandler(_EventLines())
    return logger
