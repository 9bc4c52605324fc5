from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from tabstar_lit.commands.track import port_problem, track, ui_command

COMMAND = [sys.executable, "-c", "from tabstar_lit.commands.track import track; track()"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def save_dir(tmp_path: Path) -> Path:
    (tmp_path / "mlruns").mkdir()
    sqlite3.connect(tmp_path / "mlruns" / "mlflow.db").close()
    (tmp_path / "mlruns" / "mlflow.db").touch()
    return tmp_path


def test_without_a_database_it_says_what_to_do(tmp_path: Path) -> None:
    result = CliRunner().invoke(track, ["--save-dir", str(tmp_path)])
    assert result.exit_code == 2
    assert "mlflow.db does not exist. Train something first" in result.output


def test_the_folder_of_the_runs_comes_from_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANALYSIS_ML_LOGS_DIR", str(tmp_path / "elsewhere"))
    result = CliRunner().invoke(track, [])
    assert result.exit_code == 2
    assert str(tmp_path / "elsewhere" / "mlruns" / "mlflow.db") in result.output


def test_a_port_in_use_is_refused_and_a_free_one_named(save_dir: Path) -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        result = CliRunner().invoke(track, ["-p", str(port), "--save-dir", str(save_dir)])
    assert result.exit_code == 2
    assert f"Port {port} on 127.0.0.1 cannot be used: address already in use" in result.output
    named = int(result.output.rsplit("track -p ", 1)[1])
    assert named > port
    assert port_problem("127.0.0.1", named) is None


@pytest.mark.parametrize("port", ["0", "65536", "abc"])
def test_an_impossible_port_is_refused(port: str) -> None:
    assert CliRunner().invoke(track, ["-p", port]).exit_code == 2


def test_the_ui_listens_on_this_machine_with_one_worker(tmp_path: Path) -> None:
    command = ui_command(tmp_path / "mlflow.db", "127.0.0.1", 5000)
    assert command[:4] == [sys.executable, "-m", "mlflow", "ui"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options == {
        "--backend-store-uri": f"sqlite:///{tmp_path}/mlflow.db",
        "--host": "127.0.0.1",
        "--port": "5000",
        "--workers": "1",
    }


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])  # noqa: S104  # the point
def test_another_host_is_warned_about(host: str, warned: bool, save_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tabstar_lit.commands.track.serve", lambda command: 7)
    result = CliRunner().invoke(track, ["-p", str(free_port()), "--host", host, "--save-dir", str(save_dir)])
    assert result.exit_code == 7
    assert ("warning: listening on 0.0.0.0" in result.output) == warned


FAKE_UI = """
import subprocess, sys
from tabstar_lit.commands.track import serve
child = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']);"
child += "print('up', flush=True); time.sleep(99)"
sys.exit(serve([sys.executable, "-c", child] if len(sys.argv) == 1 else [sys.executable, "-c", sys.argv[1]]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_no_process_behind(number: signal.Signals, code: int) -> None:
    with subprocess.Popen([sys.executable, "-c", FAKE_UI], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) == 2
        process.send_signal(number)
        assert process.wait(20) == code
    _, alive = psutil.wait_procs(family, timeout=5)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def test_the_exit_code_of_the_ui_is_passed_on() -> None:
    done = subprocess.run([sys.executable, "-c", FAKE_UI, "raise SystemExit(3)"], timeout=60, check=False)
    assert done.returncode == 3


def test_the_real_ui_answers_on_localhost_only_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    database = tmp_path / "mlruns" / "mlflow.db"
    make = "import sys; from mlflow import MlflowClient; MlflowClient(sys.argv[1])"
    subprocess.run([sys.executable, "-c", make, f"sqlite:///{database}"], timeout=200, check=True)
    port = free_port()
    process = subprocess.Popen(
        [*COMMAND, "-p", str(port), "--save-dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    try:
        body = wait_for(f"http://127.0.0.1:{port}/", process)
        assert "MLflow" in body
        family = psutil.Process(process.pid).children(recursive=True)
        listening = {
            connection.laddr.ip
            for member in family
            for connection in member.net_connections(kind="tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
        }
        assert listening == {"127.0.0.1"}
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    finally:
        process.kill()
    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert port_problem("127.0.0.1", port) is None


def wait_for(url: str, process: subprocess.Popen[bytes], seconds: float = 150.0) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310  # a fixed http address
                return str(answer.read().decode())
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    raise AssertionError(f"no answer from {url}; exit code {process.poll()}")
