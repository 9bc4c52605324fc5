"""``track``: the MLflow UI over the runs' SQLite store, on this machine only unless told otherwise."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import FrameType

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.offers import training_commands
from tabstar_lit.config import roots
from tabstar_lit.errors import RunError

LOCALHOST = "127.0.0.1"
PORTS_TRIED = 100
SECONDS_TO_END = 10.0


@click.command("track", help="Open the MLflow UI over all runs. Stop it with Ctrl-C.")
@click.option("-p", "--port", type=click.IntRange(1, 65535), default=5000, show_default=True, help="Port of the UI.")
@click.option(
    "--save-dir",
    type=click.Path(path_type=Path),
    help="Folder of the runs (experiment_config.save_dir); default: ANALYSIS_ML_LOGS_DIR, else runs/logs.",
)
@click.option("--host", default=LOCALHOST, show_default=True, help="Address to listen on; the UI asks for no password.")
@click.option("--allowed-hosts", help="Host names MLflow answers to, with --host; comma-separated.")
@click.version_option(package_name="tabstar_lit")
def track(port: int, save_dir: Path | None, host: str, allowed_hosts: str | None) -> None:
    """Check what can be checked, then run the UI until it ends or is stopped."""
    with reported_errors():
        database = find_database(save_dir or roots().logs)
        check_port(host, port)
        if host != LOCALHOST:
            click.echo(
                f"warning: listening on {host}; whoever reaches this port can read and delete all runs", err=True
            )
        click.echo(f"MLflow UI over {database} at http://{host}:{port} (Ctrl-C stops it)")
        sys.exit(serve(ui_command(database, host, port, allowed_hosts)))


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


def serve(command: list[str]) -> int:
    """Run ``command`` until it ends, pass on the signals that stop this process, and leave none of it behind.

    Returns
    -------
    int
        The exit code of the command; 128 and the signal's number when a signal came.
    """
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    process = subprocess.Popen(command, env={**os.environ, **quiet}, start_new_session=True)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _raise_stopped)
    try:
        return process.wait()
    except Stopped as stopped:
        end_group(process, stopped.number)
        return 128 + stopped.number


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
