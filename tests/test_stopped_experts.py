"""`train_experts` stopped in any of its stages, and gone on with: it ends as a run that was never stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from checks import assert_equal
from click.testing import Result
from trained_experts import MODELS, SHORT, metrics, train, write_trees

from tabstar_lit.families.experts.module import ExpertsModule

ROLES = ("transformer", "state_space", "diffuser", "mixture")
LONGER = (
    "model_config.training_config.max_epochs=2",
    "model_config.architecture_config.dropout=0.1",
    "model_config.architecture_config.mixture.use_vector_store=true",
    "model_config.architecture_config.mixture.max_vectors=20",
    "stage_config.mixture.model_config.training_config.accumulate_grad_batches=2",
)
STOPPED_AT = 9
"""The training batch, counted from one over both epochs of six, that is in work when the run is stopped."""

KILLED = """
import os, signal, sys
from tabstar_lit.commands.train import train_experts
from tabstar_lit.families.experts.module import ExpertsModule

real, calls = ExpertsModule.compute, 0

def compute(self, batch):
    global calls
    calls += self.training and self.payload["role"] == "mixture"
    if calls == 9:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, batch)

ExpertsModule.compute = compute
train_experts(sys.argv[1:])
"""


@contextmanager
def stopping_in(role: str, signum: signal.Signals) -> Iterator[None]:
    """Send this process a signal in a training batch of a role."""
    real, calls = ExpertsModule.compute, 0

    def compute(self: ExpertsModule, batch: Any) -> Any:
        nonlocal calls
        if self.training and self.payload["role"] == role:
            calls += 1
            if calls == STOPPED_AT:
                os.kill(os.getpid(), signum)
        return real(self, batch)

    with patch.object(ExpertsModule, "compute", compute):
        yield
    assert calls >= STOPPED_AT


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that was never stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert trained(folder).exit_code == 0
    return folder


def trained(folder: Path, *more: str) -> Result:
    write_trees(folder)
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(folder)
        return train(*LONGER, *more)


def assert_same_end(ours: Path, theirs: Path) -> None:
    """Two runs ended with the same weights, states and metrics in all stages."""
    for role in ROLES:
        own, other = (
            torch.load(folder / MODELS / role / "run_last.ckpt", weights_only=True) for folder in (ours, theirs)
        )
        for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "tabstar_lit"):
            left, right = own[key], other[key]
            if key == "tabstar_lit":
                left, right = ({k: v for k, v in side.items() if k != "payload"} for side in (left, right))
            assert_equal(left, right, f"{role}/{key}")
    assert metrics(ours) == metrics(theirs)


@pytest.mark.parametrize("role", ROLES)
def test_a_run_that_is_stopped_ends_as_one_that_is_not(role: str, unbroken: Path, tmp_path: Path) -> None:
    with stopping_in(role, signal.SIGTERM):
        stopped = trained(tmp_path)
    assert stopped.exit_code == 143, stopped.output
    assert f"of stage {role}" in stopped.output
    done = trained(tmp_path, "--resume")
    assert done.exit_code == 0, done.output
    assert_same_end(tmp_path, unbroken)


def test_a_run_that_is_killed_ends_as_one_that_is_not(unbroken: Path, tmp_path: Path) -> None:
    write_trees(tmp_path)
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *SHORT, *LONGER], cwd=tmp_path, env=environment, timeout=240, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    done = trained(tmp_path, "--resume")
    assert done.exit_code == 0, done.output
    assert_same_end(tmp_path, unbroken)


def test_a_stale_interrupted_file_loses_to_a_newer_one(tmp_path: Path) -> None:
    with stopping_in("transformer", signal.SIGTERM):
        assert trained(tmp_path, "stages=[transformer]").exit_code == 143
    interrupted = next((tmp_path / MODELS).rglob("*interrupted*"))
    kept = shutil.copy(interrupted, tmp_path / "kept.ckpt")
    assert trained(tmp_path, "stages=[transformer]", "--resume").exit_code == 0
    shutil.copy(kept, interrupted)
    os.utime(interrupted)  # the newest file, with the oldest step
    more = ("model_config.training_config.max_epochs=3", "--resume")
    done = trained(tmp_path, "stages=[transformer]", *more)
    assert done.exit_code == 0, done.output
    assert "interrupted" not in done.output.split("going on from ")[1].split()[0]
