"""What a person at a terminal sees of a run: a line when an asset starts, ends, fails or is checked."""

import logging
import sys

import dagster as dg


class EventLines:
    """Dagster's events as lines; it remembers when steps started. steps: how many there are; 0: unknown."""

    def __init__(self, steps: int = 0) -> None:
        self.step: str | None = None
        self._started: dict[str, float] = {}
        self._steps = steps

    def line(self, event: dg.DagsterEvent, at: float) -> str | None:
        """The line of an event, `at` seconds since the epoch; None where it is not worth one."""
        step = (event.step_key or "").replace("__", "/")
        kind = event.event_type
        if kind == dg.DagsterEventType.STEP_START:
            self.step = step
            self._started[step] = at
            return f"▶ {step}" + (f"  ({len(self._started)} of {self._steps})" if self._steps else "")
        if kind == dg.DagsterEventType.STEP_SUCCESS:
            return f"✔ {step}  {self.seconds(at, step):.0f} s"
        if kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            warns = check.severity == dg.AssetCheckSeverity.WARN
            mark = "✔" if check.passed else "!" if warns else "✘"
            why = f": {check.description}" if check.description and not check.passed else ""
            return f"  {mark} check {check.check_name}{why}"
        if kind == dg.DagsterEventType.STEP_FAILURE:
            return f"✘ {step}"
        if kind == dg.DagsterEventType.STEP_SKIPPED:
            return f"– {step} skipped"
        return None

    def seconds(self, now: float, step: str | None = None) -> float:
        """Seconds from the start of `step` (default: the one under way) until `now`."""
        return now - self._started.get(step or self.step or "", now)


class _Handler(logging.Handler):
    """Writes the lines of events to standard error; warnings and errors of the assets pass through."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._lines = EventLines(steps)

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "dagster_meta", {}).get("dagster_event")
        line = self._lines.line(event, record.created) if event is not None else self._message(record)
        if line:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()

    def _message(self, record: logging.LogRecord) -> str | None:
        message = getattr(record, "dagster_meta", {}).get("orig_message", record.getMessage())
        if record.levelno < logging.WARNING or message.startswith("Dependencies for step"):
            return None
        return f"  {record.levelname.lower()}: {message}"


@dg.logger({}, description="One line an event, for `afmrl run`.")
def terminal_logger(init_context: dg.InitLoggerContext) -> logging.Logger:
    """A logger that writes `EventLines` to standard error."""
    logger = logging.Logger("afmrl", level=logging.DEBUG)
    logger.addHandler(_Handler(0 if init_context.job_def is None else len(init_context.job_def.nodes)))
    return logger
