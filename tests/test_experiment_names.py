"""Runs of different data sets are filed apart: the shipped experiments are named after them."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from tabstar_lit.commands.train import train_command

NAMES = {
    ("tabstar",): "tabstar_builtin",
    ("tabstar", "dataset_config=tabstar/corpus"): "tabstar_corpus",
    ("tabstar", "dataset_config.corpus=folder/wines.h5"): "tabstar_wines",
    ("tabstar", "dataset_config.corpus=[my wines.h5, more.h5]"): "tabstar_my_wines",
    ("tabstar", "dataset_config.corpus=wines/*.h5"): "tabstar_wines",
    ("tabstar", "dataset_config.corpus=wines.h5", "dataset_config.name=mine"): "tabstar_mine",
    ("tabstar", "dataset_config.corpus=../*.h5"): "tabstar_builtin",
    ("tabstar", "dataset_config.corpus=null"): "tabstar_builtin",
    ("signal",): "signal_toy",
    ("signal", "dataset_config=signal/higgsml", "model_config=signal/mlp"): "signal_higgsml",
    ("signal", "dataset_config.files=mine.h5"): "signal_mine",
    ("fakes", "dataset_config.files=[run1.h5, run2.h5]"): "fakes_run1",
    ("microbes", "dataset_config.study=gut.h5"): "microbes_gut",
    ("antibody", "dataset_config.files=ours.h5"): "antibody_ours",
    ("experts", "dataset_config.corpus=letters.h5"): "experts_letters",
    ("signal", "dataset_config=signal/events", "dataset_config.files=mine.h5"): "signal_events",
    ("signal", "dataset_config.name=mine"): "signal_mine",
    ("signal", "dataset_config.name=mine", "experiment_config.experiment_name=study"): "study",
    ("fakes",): "fakes_toy",
    ("fakes", "dataset_config=fakes/zee", "stages=[ratio]"): "fakes_zee_probes",
    ("microbes",): "microbes_generated",
    ("microbes", "dataset_config=microbes/ibd"): "microbes_ibd",
}


@pytest.mark.parametrize("arguments", NAMES, ids=" ".join)
def test_an_experiment_is_named_after_its_data(arguments: tuple[str, ...]) -> None:
    family, *overrides = arguments
    done = CliRunner().invoke(train_command(family), [*overrides, "--print-config"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert f"  experiment_name: {NAMES[arguments]}\n" in done.stdout
