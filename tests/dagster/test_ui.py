"""`afmrl ui` serves Dagster, MLflow and Data Docs; Ctrl-C stops all and leaves no process behind."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path


def free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def answers(url: str, patience: float = 120) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
    return False


def test_the_pages_are_served_until_ctrl_c(tmp_path: Path) -> None:
    dagster_port, mlflow_port, docs_port = free_ports(3)
    command = [sys.executable, "-m", "afmrl_dagster", "ui", "--port", str(dagster_port)]
    log = (tmp_path / "ui.log").open("w")
    process = subprocess.Popen(
        [*command, "--mlflow-port", str(mlflow_port), "--docs-port", str(docs_port)],
        env={**os.environ, "AFMRL_HOME": str(tmp_path / "home")},
        stdout=log, stderr=log, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        assert answers(f"http://127.0.0.1:{dagster_port}/server_info"), (tmp_path / "ui.log").read_text()
        assert answers(f"http://127.0.0.1:{mlflow_port}/health"), (tmp_path / "ui.log").read_text()
        assert answers(f"http://127.0.0.1:{docs_port}/"), (tmp_path / "ui.log").read_text()
    finally:
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=60)
    assert status == 0
    for port in (dagster_port, mlflow_port, docs_port):
        with socket.socket() as probe:
            probe.settimeout(2)
            assert probe.connect_ex(("127.0.0.1", port)) != 0, f"something still listens on {port}"
