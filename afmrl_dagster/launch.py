"""Running a profile, and serving the web pages."""

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from afmrl_dagster import with_parent
from afmrl_dagster.dagster_home import prepare_dagster_home
from afmrl_dagster.defs.release.product_index import PRODUCT_INDEX
from afmrl_dagster.execution import cancel_dead_runs, execute, failure_reason
from afmrl_dagster.project import afmrl_home
from afmrl_dagster.resources import Pipeline, data_docs_root
from afmrl_dagster.resume import Output, Records
from afmrl_dagster.seeds import EVERYTHING, RELEASE, SEEDS, SHARED, partition_of
from afmrl_dagster.side_by_side import run_seeds, seeds_at_once
from afmrl_models.errors import UserError

INTERRUPTED = 130


def materialize(config: Path, select: str, *, parallel: int | None = None, resume: bool = False) -> int:
    """Materialize the selected assets; 0 when all succeed, 1 when one fails or is blocked, 130 on Ctrl-C.

    parallel: seeds at once; None: as many as cores allow, one on a GPU. resume: keep what is done.
    """
    os.environ["AFMRL_CONFIG"] = str(config)
    home = afmrl_home()
    prepare_dagster_home(home)
    from afmrl_dagster.definitions import build_definitions

    definitions = build_definitions(config, home)
    keys = _selected(definitions, select)
    started = time.monotonic()
    with dg.DagsterInstance.get() as instance:
        cancel_dead_runs(instance)
        run = _Run(definitions, instance, Pipeline(config_path=str(config), home=str(home)))
        try:
            failures = run.materialize(run.outstanding(keys) if resume else run.outputs(keys), parallel)
        except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
            sys.stderr.write("\nstopped; what is done is kept: run again with --resume\n")
            return INTERRUPTED
    minutes = (time.monotonic() - started) / 60
    for failure in failures:
        sys.stderr.write(f"\n{failure}\n")
    if not failures:
        _show_ablation(home, config)
    afmrl, named = as_typed(), f"--config {os.path.relpath(config)}"
    sys.stderr.write(f"\n{'FAILED' if failures else 'done'} in {minutes:.1f} minutes\n")
    if failures:
        sys.stderr.write(f"  what is done is kept; when it is mended: {afmrl} run {named} --resume\n")
    sys.stderr.write(f"  look: {afmrl} ui {named}\n")
    if run.pipeline.directory(PRODUCT_INDEX).is_dir():
        sys.stderr.write(f"  search: {afmrl} serve {named}\n")
    return 1 if failures else 0


def as_typed() -> str:
    """How this shell calls the command again: by its name, or by its path where it is not on the PATH."""
    beside = Path(sys.executable).with_name("afmrl")
    return os.path.relpath(beside) if beside.exists() and shutil.which("afmrl") is None else "afmrl"


def _selected(definitions: dg.Definitions, select: str) -> list[dg.AssetKey]:
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
    return keys


@dataclass(frozen=True)
class _Run:
    """One call of `afmrl run`: what is to be made, in its stages."""

    definitions: dg.Definitions
    instance: dg.DagsterInstance
    pipeline: Pipeline

    def outputs(self, keys: Sequence[dg.AssetKey]) -> list[Output]:
        """All outputs of these assets."""
        records = Records(self.pipeline, self.definitions, self.instance)
        return [output for key in keys for output in records.outputs(key)]

    def outstanding(self, keys: Sequence[dg.AssetKey]) -> list[Output]:
        """The missing and the stale outputs of these assets; says what is kept and why the rest is not."""
        faults = Records(self.pipeline, self.definitions, self.instance).faults()
        chosen = {output: fault for output, fault in faults.items() if output.key in set(keys)}
        for output, fault in chosen.items():
            sys.stderr.write(f"{output}: {fault or 'done, kept'}\n")
        return [output for output, fault in chosen.items() if fault]

    def materialize(self, outputs: Sequence[Output], parallel: int | None) -> list[str]:
        """Make the outputs: what seeds share, the seeds side by side, what compares them; what failed."""
        profile = self.pipeline.profile()
        if len(profile.seeds) == 1:
            return self._stage(EVERYTHING, outputs)
        stages: dict[str, list[Output]] = {SHARED: [], SEEDS: [], RELEASE: []}
        for output in outputs:
            job = RELEASE if output.key.path[0] == RELEASE else SHARED if output.seed is None else SEEDS
            stages[job].append(output)
        if failures := self._stage(SHARED, stages[SHARED]):
            return failures
        work = {
            seed: keys
            for seed in profile.seeds
            if (keys := [output.key for output in stages[SEEDS] if output.seed == seed])
        }
        if work:
            failed = run_seeds(self.instance, self.pipeline, work, parallel or seeds_at_once(profile))
            failures = [f"{partition_of(seed)} failed: {reason}" for seed, reason in failed.items()]
        if failures and stages[RELEASE]:
            failures.append(
                "release/* waits for all seeds; when the reason is mended, run again with --resume"
            )
        return failures or self._stage(RELEASE, stages[RELEASE])

    def _stage(self, job: str, outputs: Sequence[Output]) -> list[str]:
        if not outputs:
            return []
        keys = [output.key for output in outputs]
        name = self.pipeline.profile().name
        result = execute(self.definitions, self.instance, job, keys, profile=name)
        failures = [
            f"{event.step_key} failed: {failure_reason(event)}"
            for event in result.all_events
            if event.is_step_failure
        ]
        return failures if result.success else failures or [f"run {result.run_id} failed"]


def _show_ablation(home: Path, config: Path) -> None:
    from afmrl_models.config import load_profile

    table = home / load_profile(config).name / "release" / "ablation" / "ablation.md"
    if table.exists():
        sys.stdout.write(table.read_text(encoding="utf-8") + "\n")


def serve(config: Path, port: int, mlflow_port: int, docs_port: int) -> int:
    """Start `dagster dev`, `mlflow server` and a server of the Data Docs; all end with this process.

    Where the profile names an MLflow server, none is started.
    """
    from afmrl_models.config import load_profile

    profile = load_profile(config)
    home = afmrl_home()
    store = profile.tracking.uri or f"sqlite:///{home / 'mlflow.db'}"
    own, mlflow_url = not store.startswith(("http://", "https://")), f"http://127.0.0.1:{mlflow_port}"
    environment = {
        **os.environ,
        "AFMRL_CONFIG": str(config),
        "AFMRL_HOME": str(home),
        "AFMRL_DAGSTER_UI": f"http://127.0.0.1:{port}",
        "AFMRL_MLFLOW_UI": mlflow_url,
        "AFMRL_DOCS_UI": f"http://127.0.0.1:{docs_port}",
        "DAGSTER_HOME": str(prepare_dagster_home(home)),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # A look at a large catalog takes longer than the minute that Dagster gives a sensor.
        "DAGSTER_SENSOR_GRPC_TIMEOUT_SECONDS": "900",
    }
    docs = data_docs_root(home)
    docs.mkdir(parents=True, exist_ok=True)
    commands = [
        [sys.executable, "-m", "dagster", "dev", "-m", "afmrl_dagster.definitions",
         "-h", "127.0.0.1", "-p", str(port)],
        [sys.executable, "-m", "http.server", str(docs_port), "--bind", "127.0.0.1", "-d", str(docs)],
    ]  # fmt: skip
    if own:
        commands.append(
            [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, "--host", "127.0.0.1",
             "--port", str(mlflow_port), "--workers", "1",
             "--default-artifact-root", str(home / "mlartifacts")]
        )  # fmt: skip
    sys.stderr.write(
        f"Dagster    http://127.0.0.1:{port}\n"
        f"MLflow     {mlflow_url if own else f'{store} (the profile names it)'}\n"
        f"Data Docs  http://127.0.0.1:{docs_port}\nCtrl-C stops all.\n"
    )
    children = [
        (command, subprocess.Popen(
            [sys.executable, "-m", with_parent.__name__, *command], env=environment,
            stdin=subprocess.PIPE, start_new_session=True,
        ))
        for command in commands
    ]  # fmt: skip
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
            child.stdin.close()  # type: ignore[union-attr]
        for _, child in children:
            child.wait()
