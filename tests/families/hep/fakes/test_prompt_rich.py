"""Where most tight leptons are prompt no head is lost: the factor is learned beside regions of negative weight."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from benchmarks.prompt_rich import FAKES, LOW, PROMPT, agreement, log_factor, tight_density, write_prompt_rich
from fakes_bench import FakesBench

from tabstar_lit.families.hep.fakes.factor.restore import restore

SHIPPED = (
    "model_config.architecture_config.layers_dim=[32, 32]",
    "model_config.architecture_config.ensemble={heads: 4, hidden_dims: [], dropout: 0.0}",
    "model_config.training_config.mc_norm_sigma=0",
    "model_config.training_config.max_epochs=20",
    "model_config.training_config.monitor=train_loss",
    "dataset_config.feature_scaling.numer_scaler_type=quantile_normal",
    "dataset_config.dataloader_kwargs.batch_size=1024",
    "dataset_config.split.test=0.2",
    "experiment_config.check_metrics_n_epoch=null",
)
"""As it is shipped, but smaller."""


def test_no_head_is_lost_where_tight_leptons_are_mostly_prompt(tmp_path: Path) -> None:
    file = write_prompt_rich(tmp_path / "events.h5", seed=1, share=0.5)
    bench = FakesBench(tmp_path, events=file.path)
    bench.train(*SHIPPED)
    found = agreement(restore(bench.best("ratio")), file, share=0.5)
    assert found.total == pytest.approx(1, abs=0.15)
    assert np.abs(found.heads - 1).max() < 0.3
    assert found.log_error < 0.4  # -3.8 in the median where heads are lost


def test_the_events_are_what_they_say(tmp_path: Path) -> None:
    file = write_prompt_rich(tmp_path / "events.h5", seed=1, negative=0.35, share=0.5)
    weights, labels, pt = file.weights(), file.labels(), file.column("pt").astype(float)
    for number, name in enumerate(file.classes):
        region, kind = name.split("_")
        expected = 0.5 * (PROMPT[region] + (FAKES[region] if kind == "data" else 0))
        assert weights[labels == number].sum() == pytest.approx(expected, rel=0.05)
        assert (weights[labels == number] < 0).mean() == pytest.approx(0.35 if kind == "mc" else 0, abs=0.02)
    grid = np.linspace(LOW, 300, 20_001)
    assert np.trapezoid(tight_density(grid), grid) == pytest.approx(1, abs=1e-3)
    loose = pt[labels == file.classes.index("loose_data")]
    # Over all loose leptons the prompt ones are in addition; the fakes alone give the tight yield back.
    assert np.exp(log_factor(loose)).sum() > 0.5 * FAKES["tight"]
