"""Runs of both stages: stopped anywhere and resumed, they end as if nobody had stopped them."""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path
from typing import Any, ClassVar

import pytest
from bench import RUN, EventsBench, logged, metrics
from checks import assert_equal

from tabstar_lit.errors import RunInterrupted
from tabstar_lit.families.microbes.family import family
from tabstar_lit.families.microbes.study.generated import generate
from tabstar_lit.families.microbes.study.study import write_study

SMALL = (
    *(f"model_config.architecture_config.{name}=1" for name in ("asv_layers", "sample_layers", "encoder_layers")),
    "model_config.architecture_config.embedding_dim=16",
    "model_config.architecture_config.heads=2",
    "model_config.architecture_config.dropout=0.1",
    "model_config.training_config.max_epochs=3",
    "dataset_config.dataloader_kwargs.batch_size=8",
    "dataset_config.max_asvs=20",
)
TUNED = "model_config.freeze_base=false"
"""The encoder is trained along: bases are hidden in the predictor's steps, too."""


class MicrobesBench(EventsBench):
    """A folder to train on a small study in."""

    always: ClassVar[tuple[str, ...]] = RUN
    stop: tuple[str, int] | None = None

    @property
    def places(self) -> tuple[str, ...]:
        """Name the study where others name events."""
        return (f"dataset_config.study={self.events}", *super().places[1:])

    def noted(self, module: Any, batch: Any) -> Any:
        """Return the rows of a batch, and let a signal come in the middle of the step that ``stop`` names."""
        if (module.payload["role"], module.trainer.global_step) == self.stop:
            os.kill(os.getpid(), signal.SIGTERM)
        return super().noted(module, batch)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "study.h5"
    write_study(path, generate(n_subjects=8))
    return path


KINDS = {"encoder": ("encoder", ()), "frozen": ("predictor", ()), "tuned": ("predictor", (TUNED,))}


@pytest.mark.parametrize(("stop_in", "more"), KINDS.values(), ids=KINDS)
def test_stopped_inside_an_epoch_and_resumed_equals_unbroken(
    study: Path, tmp_path: Path, stop_in: str, more: tuple[str, ...]
) -> None:
    unbroken, broken = (MicrobesBench(tmp_path / name, family, events=study) for name in ("unbroken", "broken"))
    whole = unbroken.train(*SMALL, "dataset_config.baseline=none", *more)
    broken.stop = (stop_in, 4)
    with pytest.raises(RunInterrupted, match="SIGTERM"):
        broken.train(*SMALL, "dataset_config.baseline=none", *more)
    broken.stop = None
    resumed = broken.train(*SMALL, "dataset_config.baseline=none", *more, resume=True)
    for stage in ("encoder", "predictor"):
        first, second = broken.last(stage), unbroken.last(stage)
        for part in ("state_dict", "optimizer_states", "lr_schedulers", "global_step"):
            assert_equal(first[part], second[part], part)
    assert metrics(resumed) == metrics(whole)
    assert broken.seen == unbroken.seen


def test_the_classical_line_stands_in_metrics_and_report(study: Path, tmp_path: Path) -> None:
    own = MicrobesBench(tmp_path, family, events=study)
    run = own.train(*SMALL, "model_config.training_config.max_epochs=1", "experiment_config.plot_metrics_n_epoch=1")
    for name in ("forest", "linear"):
        values = logged(run, f"val_auroc/{name}")
        assert len(values) == 1
        assert math.isfinite(values[0])
    report = (run.root / "report.md").read_text()
    assert "| forest | val_auroc |" in report
    assert list((tmp_path / "figures").rglob("baselines/*.png"))


def test_held_out_groups_are_what_is_validated(study: Path, tmp_path: Path) -> None:
    own = MicrobesBench(tmp_path, family, events=study)
    alone = ("stages=[predictor]", "~stage_config.predictor.model_config.load_modules", TUNED)
    run = own.train(*SMALL, *alone, "model_config.training_config.max_epochs=1", "dataset_config.baseline=none")
    trained_on = {row for rows in own.seen for row in rows}
    subjects = {row // 4 for row in trained_on}
    assert len(trained_on) == 4 * len(subjects) < 32  # all samples of some subjects, and none of the others
    assert run.record()["stages"]["predictor"]["status"] == "finished"
