"""``track``: the MLflow UI over the runs' SQLite store, on this machine only unless told otherwise."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import FrameType

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.offers import training_commands
from tabstar_lit.config import roots
from tabstar_lit.engine.options import examples
from tabstar_lit.engine.runs.records import VIEW
from tabstar_lit.errors import RunError

LOCALHOST = "127.0.0.1"
PORTS_TRIED = 100
SECONDS_TO_END = 10.0
POLL_SECONDS = 0.2
LINES_SHOWN = 20
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104  # what a user may ask for, with a warning
NEWEST_EXPERIMENT = """
    SELECT runs.experiment_id, tags.value IS NOT NULL FROM runs
    LEFT JOIN experiment_tags AS tags ON tags.experiment_id = runs.experiment_id AND tags.key = ?
    WHERE runs.lifecycle_stage = 'active' ORDER BY runs.start_time DESC LIMIT 1
"""


@click.command(
    "track",
    help="Open the MLflow UI over all runs. Stop it with Ctrl-C.",
    epilog=examples(
        ("track --open", "the runs in the browser"),
        ("track -p 5001", "on another port"),
        ("track --save-dir /data/runs/logs", "runs from elsewhere"),
    ),
)
@click.option("-p", "--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port of the UI.")
@click.option("--open", "opens", is_flag=True, help="Open the runs in the browser, too.")
@click.option(
    "--save-dir",
    type=click.Path(path_type=Path),
    help="Folder of the runs (experiment_config.save_dir); default: ANALYSIS_ML_LOGS_DIR, else runs/logs.",
)
@click.option("--host", default=LOCALHOST, show_default=True, help="Address to listen on; the UI asks for no password.")
@click.option("--allowed-hosts", help="Host names MLflow answers to, with --host; comma-separated.")
@click.version_option(package_name="tabstar_lit")
def track(port: int, opens: bool, save_dir: Path | None, host: str, allowed_hosts: str | None) -> None:
    """Check what can be checked, then run the UI until it ends or is stopped."""
    with reported_errors():
        database = find_database(save_dir or roots().logs)
        check_port(host, port)
        if host != LOCALHOST:
            click.echo(
                f"warning: listening on {host}; whoever reaches this port can read and delete all runs", err=True
            )
        click.echo(f"starting the MLflow UI over {database} …", err=True)
        server = f"http://{reachable(host)}:{port}"

        def tell() -> None:
            address = f"{server}{page(database)}"
            click.echo(f"{address}\nCtrl-C stops it")
            if opens and not webbrowser.open(address):
                click.echo("note: no browser could be opened here", err=True)

        sys.exit(serve(ui_command(database, host, port, allowed_hosts), f"{server}/health", tell))


def reachable(host: str) -> str:
    """Return what to write into an address for a server that listens on ``host``."""
    if host in EVERYWHERE:
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def page(database: Path) -> str:
    """Return the page of the runs last trained, below the server's address, with the monitored metric as a column.

    MLflow's own front page counts traces of language models. The front page it is where nothing has been trained.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as store:
        try:
            newest = store.execute(NEWEST_EXPERIMENT, (f"mlflow.sharedViewState.{VIEW}",)).fetchone()
        except sqlite3.Error:  # another release's tables; the UI says what it thinks of them
            newest = None
    if newest is None:
        return "/"
    experiment, has_view = newest
    return f"/#/experiments/{experiment}/runs?workflowType=machine_learning" + (
        f"&viewStateShareKey={VIEW}" if has_view else ""
    )


def find_database(save_dir: Path) -> Path:
    """Return the database below ``save_dir``.

    Raises
    ------
    RunError
        No run has been logged there yet.
    """
    database = (save_dir / "mlruns" / "mlflow.db").absolute()
    if not database.is_file():
        raise RunError(
            f"No runs to show: {database} does not exist. Train something first ({training_commands()}), or name the "
            "folder of the runs with --save-dir or the variable ANALYSIS_ML_LOGS_DIR."
        )
    return database


def check_port(host: str, port: int) -> None:
    """Make sure the UI can listen.

    Raises
    ------
    RunError
        The port is taken, or may not be used.
    """
    problem = port_problem(host, port)
    if problem is not None:
        free = next((p for p in range(port + 1, min(port + PORTS_TRIED, 65536)) if not port_problem(host, p)), None)
        advice = "Choose another with -p." if free is None else f"Port {free} is free: track -p {free}"
        raise RunError(f"Port {port} on {host} cannot be used: {problem}. {advice}")


def port_problem(host: str, port: int) -> str | None:
    """Return why nothing can listen on ``port``, None when it is free."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return (error.strerror or str(error)).lower()
    return None


def ui_command(database: Path, host: str, port: int, allowed_hosts: str | None = None) -> list[str]:
    """Return the command line of MLflow's UI: one worker is enough for a person looking at runs."""
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{database}"]
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    return command if allowed_hosts is None else [*command, "--allowed-hosts", allowed_hosts]


def serve(command: list[str], health: str, tell: Callable[[], None]) -> int:
    """Run ``command`` until it ends, pass on the signals that stop this process, and leave none of it behind.

    Parameters
    ----------
    command : list of str
        The command line of a server. What it prints is shown only where it ends by itself.
    health : str
        An address that answers when the server is up.
    tell : callable
        Called once, when it answers.

    Returns
    -------
    int
        The exit code of the command; 128 and the signal's number when a signal came.
    """
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with tempfile.TemporaryFile("w+b") as said:
        environment = {**os.environ, **quiet}
        process = subprocess.Popen(command, env=environment, start_new_session=True, stdout=said, stderr=said)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _raise_stopped)
        try:
            if answers(process, health):
                tell()
            code = process.wait()
        except Stopped as stopped:
            end_group(process, stopped.number)
            return 128 + stopped.number
        said.seek(0)
        last = said.read().decode(errors="replace").splitlines()[-LINES_SHOWN:]
        click.echo("\n".join([*last, f"the MLflow UI ended by itself, with exit code {code}"]), err=True)
        return code


def answers(process: subprocess.Popen[bytes], address: str) -> bool:
    """Wait until ``address`` answers; False when the process has ended instead."""
    while process.poll() is None:
        try:
            with urllib.request.urlopen(address, timeout=SECONDS_TO_END):  # noqa: S310  # an http address of ours
                return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(POLL_SECONDS)
    return False


class Stopped(Exception):  # an event, not an error
    """A signal asked this process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _raise_stopped(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def end_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Send ``number`` to the process and its children, and kill what has not ended after some seconds."""
    for number_sent in (number, signal.SIGKILL):
        try:
            os.killpg(process.pid, number_sent)
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            return
