"""A command that ends with the process that started it: `python -m afmrl_dagster.with_parent COMMAND…`.

Whoever starts it, in a session of its own, holds the other end of its standard input: when that is closed, or
its holder is gone, however it ended, all processes of the session end, too.
"""

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress

PATIENCE = 20.0


def main(*command: str) -> int:
    """Run the command; its exit status."""
    # A handler, for what is ignored stays ignored in the command.
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, lambda *_: None)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as child:
        threading.Thread(target=_end_with_parent, args=(child,), daemon=True).start()
        status = child.wait()
    os.killpg(0, signal.SIGTERM)  # what the command has left behind
    return status


def _end_with_parent(child: subprocess.Popen[bytes]) -> None:
    os.read(0, 1)
    os.killpg(0, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        child.wait(PATIENCE)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
