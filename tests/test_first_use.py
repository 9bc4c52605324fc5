"""The first mile, as a stranger walks it: an empty folder, a terminal, a training, and the runs in a browser."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from browser import BROWSER, page
from command_line import TINY, command, environment, execute
from screen import Watched, watch

from tabstar_lit.engine.runs.files import RunFiles

FIGURE = "scores.png"
TRACK = [sys.executable, "-c", "from tabstar_lit.commands.track import track; track(prog_name='track')"]


@dataclass(frozen=True)
class Used:
    """A folder in which a training was watched in a terminal."""

    folder: Path
    screen: Watched

    @property
    def run(self) -> RunFiles:
        return RunFiles(self.folder / "runs/logs/tiny/run")


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Used:
    folder = tmp_path_factory.mktemp("empty")
    words = (
        "experiment_config.plot_metrics_n_epoch=1",
        "experiment_config.tqdm_refresh_rate=1",
        "model_config.training_config.max_epochs=2",
        "dataset_config.rows_per_dataset=192",
    )
    return Used(folder, watch(command("train_tabstar", *TINY, *words), 80, folder))


@dataclass(frozen=True)
class Tracked:
    """The UI over those runs, and the address that ``track`` printed."""

    process: subprocess.Popen[str]
    address: str

    @property
    def server(self) -> str:
        return self.address.partition("/#")[0]

    def ask(self, path: str, **question: Any) -> Any:
        data = json.dumps(question).encode() if question else None
        request = urllib.request.Request(  # noqa: S310  # an http address of this machine
            f"{self.server}/{path}", data, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  # as above
            body = answer.read()
        return json.loads(body) if question else body


@pytest.fixture(scope="module")
def tracked(used: Used) -> Iterator[Tracked]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen([*TRACK, "-p", str(port)], cwd=used.folder, env=environment(), **pipes)
    assert process.stdout is not None
    assert process.stderr is not None
    address = process.stdout.readline().strip()
    assert address.startswith(f"http://127.0.0.1:{port}/#/experiments/1/runs?workflowType=machine_learning")
    family = psutil.Process(process.pid).children(recursive=True)
    yield Tracked(process, address)
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130
    assert process.stdout.read() == "Ctrl-C stops it\n"
    assert len(process.stderr.readlines()) == 1, "what is started; nothing of the server's own"
    _, alive = psutil.wait_procs(family, timeout=60)
    assert alive == []


def test_a_narrow_terminal_shows_epoch_loss_metric_best_speed_and_time_left(used: Used) -> None:
    number = r"[\d.e+-]+"
    parts = rf"loss {number}  val_score {number} best {number}  {number}k? rows/s  ETA \d+:\d\d"
    live = re.compile(rf"epoch 2/2( ━*─*)?  (validating \d+/\d+  )?{parts}")
    lines = {line for shown in used.screen.screens for line in shown if live.fullmatch(line)}
    assert lines
    assert all(sum(line.startswith("epoch 2/2 ━") for line in shown) <= 1 for shown in used.screen.screens)


def test_the_training_fits_the_terminal_and_ends_with_what_to_do_next(used: Used) -> None:
    assert used.screen.exit_code == 0, used.screen.last
    text = "".join(line if len(line) == 80 else f"{line}\n" for line in used.screen.last)
    assert len(re.findall(r"^epoch [12]/2  train_loss \S+  val_loss \S+  val_score \S+ best", text, re.MULTILINE)) == 2
    (checkpoint,) = re.findall(r"^best \S+ \S+: (\S+\.ckpt)$", text, re.MULTILINE)
    assert (used.folder / checkpoint).is_file()
    assert "report: runs/logs/tiny/run/report.md\n" in text
    assert "track --open" in text
    assert "Traceback" not in text
    assert "Warning" not in text


def test_the_best_of_all_runs_is_named_and_can_be_opened(used: Used) -> None:
    shown = execute(used.folder, "tabstar_lit", "runs", "best")
    assert shown.returncode == 0
    checkpoint = Path(shown.stdout.splitlines()[-1].removeprefix("best checkpoint: "))
    assert checkpoint.name == used.run.stages["pretrain"]["best_checkpoint"]
    assert checkpoint.is_file()


def test_the_ui_listens_on_this_machine_alone(tracked: Tracked) -> None:
    port = int(tracked.server.rpartition(":")[2])
    family = psutil.Process(tracked.process.pid).children(recursive=True)
    sockets = [connection for member in family for connection in member.net_connections(kind="tcp")]
    listening = {c.laddr.ip for c in sockets if c.status == psutil.CONN_LISTEN and c.laddr.port == port}
    assert listening == {"127.0.0.1"}


def assert_found_over_http(used: Used, tracked: Tracked, folder: Path) -> None:
    """Find what a browser would show in what the server gives its scripts."""
    assert b"MLflow" in tracked.ask("")
    (run,) = tracked.ask("api/2.0/mlflow/runs/search", experiment_ids=["1"])["runs"]
    assert run["info"]["run_name"] == "run"
    best = used.run.stages["pretrain"]
    assert {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}.keys() >= {best["monitor"], "val_loss"}
    (data,) = run["inputs"]["dataset_inputs"]
    assert best["data_fingerprint"].startswith(data["dataset"]["digest"])
    picture = tracked.ask(f"get-artifact?run_uuid={run['info']['run_id']}&path=figures/{FIGURE}")
    assert picture.startswith(b"\x89PNG")
    experiment = tracked.ask("api/2.0/mlflow/experiments/get?experiment_id=1")
    assert f"metrics.`{best['monitor']}`" in experiment.decode()


def assert_found_in_a_browser(used: Used, tracked: Tracked, folder: Path) -> None:
    """Find run, data and monitored metric on the page that was printed, and then a figure."""
    stage = used.run.stages["pretrain"]
    table = page(tracked.address, folder)
    assert ">run<" in table
    assert stage["monitor"] in table
    assert stage["data_fingerprint"][:12] in table
    run_page = f"{tracked.server}/#/experiments/1/runs/{stage['mlflow_run_id']}"
    assert "Created by" in page(run_page, folder)
    figure = page(f"{run_page}/artifacts/figures/{FIGURE}", folder)
    assert f"figures/{FIGURE}" in figure
    assert re.search(r"<img[^>]*src=\"(blob|data):", figure)


@pytest.mark.parametrize(
    "assert_found",
    [assert_found_in_a_browser if BROWSER else assert_found_over_http],
    ids=["in a browser" if BROWSER else "over http, as there is no browser"],
)
def test_the_run_its_metric_and_a_figure_are_found_where_track_leads(
    assert_found: Any, used: Used, tracked: Tracked, tmp_path: Path
) -> None:
    assert_found(used, tracked, tmp_path)


def test_the_server_has_the_run_its_data_and_a_figure(used: Used, tracked: Tracked, tmp_path: Path) -> None:
    assert_found_over_http(used, tracked, tmp_path)
