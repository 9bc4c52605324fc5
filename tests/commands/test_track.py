from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from tabstar_lit.commands.track import page, port_problem, reachable, track, ui_command


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
    monkeypatch.setattr("tabstar_lit.commands.track.serve", lambda command, health, tell: 7)
    result = CliRunner().invoke(track, ["-p", str(free_port()), "--host", host, "--save-dir", str(save_dir)])
    assert result.exit_code == 7
    assert ("warning: listening on 0.0.0.0" in result.output) == warned


FAKE_UI = """
import sys
from tabstar_lit.commands.track import serve
child = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']);"
child += "from http.server import test, SimpleHTTPRequestHandler as H; test(H, port=int(sys.argv[1]), bind='127.0.0.1')"
command = [sys.executable, "-c", child if len(sys.argv) == 2 else sys.argv[2], sys.argv[1]]
sys.exit(serve(command, f"http://127.0.0.1:{sys.argv[1]}/", lambda: print("up", flush=True)))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_leaves_no_process_behind(number: signal.Signals, code: int) -> None:
    command = [sys.executable, "-c", FAKE_UI, str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) == 2
        process.send_signal(number)
        assert process.communicate(timeout=100) == ("", "")
        assert process.returncode == code
    _, alive = psutil.wait_procs(family, timeout=60)
    assert [p for p in alive if p.status() != psutil.STATUS_ZOMBIE] == []


def test_a_server_that_ends_by_itself_shows_its_last_lines_and_its_exit_code() -> None:
    broken = "print(*range(99), sep='\\n'); raise SystemExit(3)"
    command = [sys.executable, "-c", FAKE_UI, str(free_port()), broken]
    done = subprocess.run(command, timeout=60, check=False, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stdout == ""
    *lines, end = done.stderr.splitlines()
    assert lines == [str(number) for number in range(79, 99)]
    assert end == "the MLflow UI ended by itself, with exit code 3"


EXPERIMENTS = """
CREATE TABLE runs (experiment_id INTEGER, lifecycle_stage TEXT, start_time INTEGER);
CREATE TABLE experiment_tags (key TEXT, value TEXT, experiment_id INTEGER);
INSERT INTO runs VALUES (1, 'active', 10), (3, 'active', 30), (2, 'active', 20), (4, 'deleted', 40);
INSERT INTO experiment_tags VALUES ('mlflow.sharedViewState.tabstar_lit', '{}', 3), ('mlflow.note.content', 'x', 2);
"""


def test_the_page_is_that_of_the_experiment_trained_last(save_dir: Path) -> None:
    database = save_dir / "mlruns" / "mlflow.db"
    assert page(database) == "/"
    with closing(sqlite3.connect(database)) as store:
        store.executescript(EXPERIMENTS)
        view = "/#/experiments/3/runs?workflowType=machine_learning&viewStateShareKey=tabstar_lit"
        assert page(database) == view
        store.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE experiment_id = 3")
        store.commit()
        assert page(database) == "/#/experiments/2/runs?workflowType=machine_learning"


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]"), ("0.0.0.0", socket.gethostname())],  # noqa: S104  # the point
)
def test_the_address_can_be_reached(host: str, shown: str) -> None:
    assert reachable(host) == shown


@pytest.mark.parametrize(("opens", "can"), [(False, True), (True, True), (True, False)])
def test_the_browser_is_opened_when_asked_for(
    opens: bool, can: bool, save_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("tabstar_lit.commands.track.serve", lambda command, health, tell: tell() or 0)
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or can)
    port = free_port()
    result = CliRunner().invoke(track, ["-p", str(port), "--save-dir", str(save_dir), *["--open"] * opens])
    address = f"http://127.0.0.1:{port}/"
    assert result.stdout == f"{address}\nCtrl-C stops it\n"
    assert opened == [address] * opens
    assert ("no browser could be opened here" in result.stderr) == (not can)
