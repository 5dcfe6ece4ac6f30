"""Running a profile in this process, and serving the two web pages."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import dagster as dg

from afmrl_dagster.project import afmrl_home, prepare_dagster_home
from afmrl_models.errors import UserError


def materialize(config: Path, select: str) -> int:
    """Materialize the selected assets; 0 when all succeed, 1 when one fails or is blocked."""
    os.environ["AFMRL_CONFIG"] = str(config)
    home = afmrl_home()
    prepare_dagster_home(home)
    from afmrl_dagster.definitions import EVERYTHING, build_definitions

    definitions = build_definitions(config, home)
    graph = definitions.resolve_asset_graph()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dg.BetaWarning)
            keys = sorted(dg.AssetSelection.from_string(select).resolve(graph))
    except (
        Exception
    ) as error:  # Dagster raises several kinds, of private modules, for a selection it cannot read
        raise UserError(f"--select: {select!r} is not an asset selection: {error}") from None
    if not keys:
        raise UserError(f"--select: {select!r} selects no asset")
    started = time.monotonic()
    with dg.DagsterInstance.get() as instance:
        result = definitions.resolve_job_def(EVERYTHING).execute_in_process(
            instance=instance,
            asset_selection=keys,
            raise_on_error=False,
            run_config={"loggers": {"terminal": {}}},
        )
    minutes = (time.monotonic() - started) / 60
    for event in result.all_events:
        if event.is_step_failure:
            sys.stderr.write(f"\n{event.step_key} failed: {_reason(event)}\n")
    if result.success:
        _show_ablation(home, config)
    sys.stderr.write(
        f"\nrun {result.run_id}: {'done' if result.success else 'FAILED'} in {minutes:.1f} minutes. "
        f"Look: afmrl ui --config {os.path.relpath(config)}\n"
    )
    return 0 if result.success else 1


def _reason(event: dg.DagsterEvent) -> str:
    """The message of a user's mistake; the whole trace of anything else."""
    error = event.step_failure_data.error
    if error is None:
        return "no error was recorded"
    cause = error
    while cause.cause is not None:
        cause = cause.cause
    return cause.message.strip() if _is_users(cause.cls_name) else error.to_string()


def _is_users(name: str | None) -> bool:
    """Whether an error class of this name is one that a user can mend."""

    def names(kind: type[BaseException]) -> set[str]:
        return {kind.__name__}.union(*map(names, kind.__subclasses__()))

    return name in names(UserError) | {dg.Failure.__name__, "DagsterAssetCheckFailedError"}


def _show_ablation(home: Path, config: Path) -> None:
    from afmrl_models.config import load_profile

    table = home / load_profile(config).name / "release" / "ablation" / "ablation.md"
    if table.exists():
        sys.stdout.write(table.read_text(encoding="utf-8") + "\n")


def serve(config: Path, port: int, mlflow_port: int) -> int:
    """Start `dagster dev` and `mlflow server`; both end with this process."""
    from afmrl_models.config import load_profile

    profile = load_profile(config)
    home = afmrl_home()
    environment = {
        **os.environ,
        "AFMRL_CONFIG": str(config),
        "AFMRL_HOME": str(home),
        "AFMRL_MLFLOW_UI": f"http://127.0.0.1:{mlflow_port}",
        "DAGSTER_HOME": str(prepare_dagster_home(home)),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    store = profile.tracking.uri or f"sqlite:///{home / 'mlflow.db'}"
    commands = [
        [sys.executable, "-m", "dagster", "dev", "-m", "afmrl_dagster.definitions",
         "-h", "127.0.0.1", "-p", str(port)],
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--host", "127.0.0.1",
         "--port", str(mlflow_port), "--workers", "1", "--default-artifact-root", str(home / "mlartifacts")],
    ]  # fmt: skip
    sys.stderr.write(
        f"Dagster  http://127.0.0.1:{port}\nMLflow   http://127.0.0.1:{mlflow_port}\nCtrl-C stops both.\n"
    )
    children = [
        (command, subprocess.Popen(command, env=environment, start_new_session=True)) for command in commands
    ]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        while True:
            for command, child in children:
                if child.poll() is not None:
                    sys.stderr.write(f"{' '.join(command[2:4])} ended with status {child.returncode}\n")
                    return 1
            time.sleep(0.5)
    except KeyboardInterrupt:
        return 0
    finally:
        # A second Ctrl-C must not leave one of them behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for _, child in children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
        for _, child in children:
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
