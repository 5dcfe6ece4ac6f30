"""One seed's run in a process of its own: `python -m afmrl_dagster.seed_process CONFIG SEED RUN_ID KEY…`.

Started by `side_by_side`, which holds the other end of its standard input: when that closes, the parent is
gone, however it ended, and this process ends too.
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import dagster as dg

from afmrl_dagster.execution import execute, failure_reason
from afmrl_dagster.project import afmrl_home
from afmrl_dagster.seeds import SEEDS
from afmrl_models.config import load_profile
from afmrl_models.errors import UserError

_PATIENCE = 15.0


def main(config: str, seed: str, run_id: str, *keys: str) -> int:
    """Materialize the keys of the seed's partition; 0 when all succeed."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from afmrl_dagster.definitions import build_definitions

    chosen = [dg.AssetKey.from_user_string(key) for key in keys]
    with dg.DagsterInstance.get() as instance:
        definitions = build_definitions(Path(config), afmrl_home())
        # Not before: an interrupt amid imports can get lost.
        threading.Thread(target=_end_with_parent, daemon=True).start()
        name = load_profile(config).name
        result = execute(definitions, instance, SEEDS, chosen, profile=name, seed=int(seed), run_id=run_id)
    for event in result.all_events:
        if event.is_step_failure:
            sys.stderr.write(f"\n{event.step_key} failed: {failure_reason(event)}\n")
    return 0 if result.success else 1


def _end_with_parent() -> None:
    # Not through sys.stdin, whose lock a thread must not hold when the interpreter ends.
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_PATIENCE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        sys.stderr.write("stopped\n")
        sys.exit(130)
    except UserError as error:
        sys.stderr.write(f"afmrl: {error}\n")
        sys.exit(2)
