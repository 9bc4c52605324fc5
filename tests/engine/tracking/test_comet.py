from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tabstar_lit.engine.tracking.comet import CometLogger, offline_directory, wants_online

KEY = "canary0123456789canary0123456789"


def make(directory: Path, **changes: Any) -> CometLogger:
    options: dict[str, Any] = {
        "api_key": None,
        "project": "physics",
        "run_name": "first",
        "offline_directory": directory,
        "online": False,
        "tags": {"stage": "pretrain"},
    }
    logger = CometLogger(**(options | changes))
    logger.start()
    return logger


def archived(directory: Path) -> dict[str, bytes]:
    """Return every file of every archive below `directory`."""
    files: dict[str, bytes] = {}
    for archive in directory.glob("*.zip"):
        with zipfile.ZipFile(archive) as opened:
            files |= {f"{archive.name}/{name}": opened.read(name) for name in opened.namelist()}
    return files


def metrics(directory: Path, name: str) -> list[tuple[int, float]]:
    messages = [
        json.loads(line)
        for file, content in archived(directory).items()
        if file.endswith("messages.json")
        for line in content.decode().splitlines()
    ]
    found = [message["payload"]["metric"] for message in messages if message["type"] == "metric_msg"]
    return [(m["step"], float(m["metricValue"])) for m in found if m["metricName"] == name]


def test_the_offline_archive_holds_what_was_logged(tmp_path: Path) -> None:
    logger = make(tmp_path)
    figure = tmp_path / "roc.png"
    figure.write_bytes(b"figure bytes")
    config = tmp_path / "config.yaml"
    config.write_text("seed: 1\n")
    for step in range(4):
        logger.log_metrics({"val_loss": step / 3, "epoch": step}, step=step)
    logger.log_hyperparams({"model": {"layers": 3}})
    logger.log_figure(figure, "table/roc.png")
    logger.log_figure(figure, "table/roc.png")
    logger.log_file(config, "config.yaml")
    logger.finalize("success")
    logger.log_metrics({"test_loss": 0.25}, step=4)
    logger.finish("finished")

    assert metrics(tmp_path, "val_loss") == [(step, pytest.approx(step / 3, abs=1e-15)) for step in range(4)]
    assert metrics(tmp_path, "test_loss") == [(4, 0.25)]
    files = archived(tmp_path)
    everything = b"\n".join(files.values()).decode()
    assert "model.layers" in everything
    assert "figures/table/roc.png" in everything
    assert sum(content == b"figure bytes" for content in files.values()) == 1
    assert any(content == b"seed: 1\n" for content in files.values())
    assert '"interrupted"' not in everything
    assert "finished" in everything
    assert logger.guard.failure is None


def test_a_resumed_experiment_keeps_its_key(tmp_path: Path) -> None:
    first = make(tmp_path)
    first.log_metrics({"loss": 1.0}, step=1)
    first.finish("interrupted")
    second = make(tmp_path, experiment_key=first.run_id)
    second.log_metrics({"loss": 2.0}, step=2)
    second.finish("finished")
    assert second.run_id == first.run_id
    assert sorted(metrics(tmp_path, "loss")) == [(1, 1.0), (2, 2.0)]
    assert len(list(tmp_path.glob("*.zip"))) == 2


OFFLINE_FALLBACK = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_comet import KEY, make
logger = make(Path({directory!r}), api_key=KEY, online=True)
logger.log_metrics({{"loss": 0.5}}, step=1)
logger.finish("finished")
"""


def test_without_a_server_the_archive_is_written_and_holds_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COMET_URL_OVERRIDE", "http://127.0.0.1:9/")
    monkeypatch.setenv("COMET_HTTP_SESSION_RETRY_TOTAL", "1")
    monkeypatch.setenv("COMET_GET_OR_ADD_EXPERIMENT_RETRY_TOTAL", "1")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    code = textwrap.dedent(OFFLINE_FALLBACK).format(tests=str(Path(__file__).parent), directory=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True)
    assert metrics(tmp_path, "loss") == [(1, 0.5)]
    assert "Comet failed, training goes on without it" in done.stderr
    written = b"\n".join(archived(tmp_path).values()).decode()
    assert KEY not in written + done.stdout + done.stderr


def test_a_failing_service_is_reported_once(tmp_path: Path) -> None:
    logger = make(tmp_path)
    inner = logger._logger
    assert inner is not None

    def fail(*args: object) -> None:
        raise RuntimeError("gone")

    inner.log_metrics = fail  # type: ignore[method-assign]  # the injected failure
    with pytest.warns(UserWarning, match="Comet failed"):
        logger.log_metrics({"loss": 1.0}, step=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger.log_metrics({"loss": 1.0}, step=2)
    logger.finish("finished")


def test_environment_decides_where_and_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert wants_online()
    monkeypatch.setenv("COMET_START_ONLINE", "0")
    assert not wants_online()
    assert offline_directory(tmp_path) == tmp_path / "comet"
    monkeypatch.setenv("COMET_OFFLINE_DIRECTORY", str(tmp_path / "elsewhere"))
    assert offline_directory(tmp_path) == tmp_path / "elsewhere"
