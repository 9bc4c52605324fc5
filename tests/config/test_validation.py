from __future__ import annotations

from typing import Any

import pytest

from tabstar_lit.config.messages import MAX_SHOWN
from tabstar_lit.errors import EXIT_BAD_INPUT, ConfigError

EXPERIMENT = "experiment_config."
MODEL = "model_config."
TRAINING = "model_config.training_config."


def message_of(project: Any, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:  # noqa: PT011 each test looks at the whole message
        project.load(*overrides)
    assert error.value.exit_code == EXIT_BAD_INPUT
    return str(error.value)


def test_every_problem_of_every_file_is_reported_at_once(project: Any) -> None:
    project.write(
        "model_config/mlp.yaml",
        """
        name: mlp
        architecture_config:
          model: mlp
          dropuot: 0.1
        training_config:
          loss: bce
          max_epoch: 5
          optimizer:
            optimiser_name: Adam
        """,
    )
    project.write("dataset_config/toy.yaml", "name: 3\nfiles: a.h5\n")
    assert message_of(project, "experiment_config.sed=1", "stages=[]").splitlines() == [
        "7 problems in the configuration:",
        "command line: 'experiment_config.sed=1': unknown key 'sed' in experiment_config. Did you mean 'seed'?",
        "command line: 'stages=[]': must not be empty, got a list",
        "dataset_config/toy.yaml:1:1: expected text, got the number 3",
        "dataset_config/toy.yaml:2:1: expected a list, got the text 'a.h5'",
        "model_config/mlp.yaml:4:3: unknown key 'dropuot' in model_config.architecture_config. Did you mean 'dropout'?",
        "model_config/mlp.yaml:7:3: unknown key 'max_epoch' in model_config.training_config. "
        "Did you mean 'max_epochs'?",
        "model_config/mlp.yaml:9:5: unknown key 'optimiser_name' in model_config.training_config.optimizer. "
        "Did you mean 'optimizer_name'?",
    ]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (TRAINING + "max_epochs='10'", "expected a whole number, got the text '10'; remove the quotes"),
        (TRAINING + "max_epochs=true", "expected a whole number, got true"),
        (TRAINING + "max_epochs=1.5", "expected a whole number, got the number 1.5"),
        (TRAINING + "max_epochs=0", "must be at least 1, got the number 0"),
        (TRAINING + "max_epochs=null", "expected a whole number, got null"),
        (TRAINING + "max_epochs=[1]", "expected a whole number, got a list"),
        (TRAINING + "gradient_clip_val=abc", "expected a number, got the text 'abc'"),
        (TRAINING + "gradient_clip_val=0", "must be greater than 0, got the number 0"),
        (TRAINING + "gradient_clip_val=.nan", "got the number nan"),
        (TRAINING + "save_last=yes", "expected true or false, got the text 'yes'; write true or false"),
        (TRAINING + "save_last=1", "expected true or false, got the number 1"),
        (TRAINING + "save_top_k=-2", "must be at least -1, got the number -2"),
        (TRAINING + "early_stop_patience=0", "must be at least 1"),
        (TRAINING + "max_time=12h", "expected a duration DD:HH:MM:SS such as 00:12:00:00, got '12h'"),
        (TRAINING + "monitor=3", "expected text, got the number 3"),
        (TRAINING + "monitor_mode=mni", "monitor_mode cannot be the text 'mni'. Did you mean 'min'?"),
        (TRAINING + "non_finite.policy=warn", "policy cannot be the text 'warn'. Allowed: stop, skip."),
        (TRAINING + "non_finite.bugdet=1", "unknown key 'bugdet' in model_config.training_config.non_finite."),
        (TRAINING + "loss=3", "expected text or a mapping, got the number 3"),
        (TRAINING + "loss={loss_name: 3}", "expected text, got the number 3"),
        (TRAINING + "loss={loss_nam: x}", "unknown key 'loss_nam' in model_config.training_config.loss. Did you"),
        (TRAINING + "loss={}", "the key 'loss_name' is missing in model_config.training_config.loss"),
        (TRAINING + "scheduler={interval: step}", "the key 'scheduler_name' is missing"),
        (TRAINING + "scheduler={scheduler_name: ReduceLROnPlateau}", "Set scheduler.interval to epoch"),
        (TRAINING + "parameter_groups.groups=[{lr: 1}]", "the key 'pattern' is missing"),
        (TRAINING + "parameter_groups.groups=[{pattern: a, lr: 1, lr_scale: 2}]", "keep one of them"),
        (TRAINING + "parameter_groups.groups=[{patern: a}]", "unknown key 'patern'"),
        (MODEL + "continue_training=true", "continue_training needs load_checkpoint"),
        (MODEL + "load_modules={encoder: {sorce: x}}", "unknown key 'sorce' in model_config.load_modules.encoder."),
        (MODEL + "load_modules={encoder: 3}", "expected text or a mapping, got the number 3"),
        (MODEL + "unfreeze_last={encoder.layer: 0}", "must be at least 1"),
        (MODEL + "freeze=encoder", "expected a list, got the text 'encoder'"),
        (MODEL + "architecture_config.model=mpl", "model cannot be the text 'mpl'. Did you mean 'mlp'?"),
        ("~model_config.architecture_config.model", "the key 'model' is missing in model_config.architecture_config"),
        (MODEL + "architecture_config.head=2", "unknown key 'head' in model_config.architecture_config."),
        (EXPERIMENT + "precision=33", "precision cannot be the number 33. Allowed: 64, 32, 16,"),
        (EXPERIMENT + "precision=bf16-mixd", "Did you mean 'bf16-mixed'?"),
        (EXPERIMENT + "accelerator=gpuu", "accelerator cannot be the text 'gpuu'. Did you mean 'gpu'?"),
        (EXPERIMENT + "deterministic=sometimes", "expected true or false or 'warn', got the text 'sometimes'"),
        (EXPERIMENT + "devices=0", "expected a number of devices, a list of indices, '0,1' or 'auto', got 0"),
        (EXPERIMENT + "devices=-2", "expected a number of devices"),
        (EXPERIMENT + "devices=[]", "expected a number of devices"),
        (EXPERIMENT + "devices=[0,0]", "expected a number of devices"),
        (EXPERIMENT + "devices=[a]", "expected a whole number, got the text 'a'"),
        (EXPERIMENT + "devices=all", "expected a number of devices"),
        (EXPERIMENT + "devices=true", "got true"),
        (EXPERIMENT + "seed=-1", "must be at least 0"),
        (EXPERIMENT + "check_eval_n_epoch=0", "must be at least 1"),
        (EXPERIMENT + "plot_metrics_n_epoch=3 | experiment_config.check_metrics_n_epoch=2", "must be a multiple of"),
        (EXPERIMENT + "check_metrics_n_epoch=null", "plot_metrics_n_epoch is set while check_metrics_n_epoch is null"),
        (EXPERIMENT + "experiment_name=a/b", "'a/b' cannot name a folder"),
        (EXPERIMENT + "run_name=..", "'..' cannot name a folder"),
        (EXPERIMENT + 'run_name="a\\0b"', "cannot name a folder"),
        (EXPERIMENT + "run_name='a\\b'", "cannot name a folder"),
        (EXPERIMENT + "run_name=" + "x" * 200, "at most 128 characters"),
        (EXPERIMENT + "experiment_name=null", "expected text, got null"),
        ("~experiment_config.experiment_name", "the key 'experiment_name' is missing in experiment_config"),
        ("~model_config.name", "model_config/mlp.yaml:1:1: the key 'name' is missing in model_config"),
        ("min_logging_level=loud", "min_logging_level cannot be the text 'loud'. Allowed: debug"),
        ("min_logging_level=" + "y" * 300, f"cannot be the text '{'y' * MAX_SHOWN}...'"),
        ("stages=[a,a]", "stage 'a' is listed twice"),
        ("stages=[a/b]", "stage 'a/b' cannot name a folder"),
        ("stages=train", "expected a list, got the text 'train'"),
        ("stage_config={train: 3}", "expected a mapping, got the number 3"),
        ("max_epochs=3", "unknown key 'max_epochs'. Did you mean 'model_config.training_config.max_epochs'?"),
        ("model_config.optimizer=Adam", "Did you mean 'model_config.training_config.optimizer'?"),
        ("network={}", "unknown key 'network'. Allowed: min_logging_level, experiment_config,"),
    ],
)
def test_mistakes_are_told_in_words(project: Any, override: str, expected: str) -> None:
    assert expected in message_of(project, *override.split(" | "))


@pytest.mark.parametrize(
    "override",
    [
        TRAINING + "gradient_clip_val=1",
        TRAINING + "loss={loss_name: bce, loss_params: {smoothing: 0.1}}",
        TRAINING + "loss=null",
        TRAINING + "max_time=00:12:00:00",
        TRAINING + "save_top_k=-1",
        TRAINING + "scheduler={scheduler_name: ReduceLROnPlateau, interval: epoch}",
        EXPERIMENT + "devices=2",
        EXPERIMENT + "devices=-1",
        EXPERIMENT + "devices=[0,1]",
        EXPERIMENT + "devices=0,1",
        EXPERIMENT + "precision=64",
        EXPERIMENT + "precision='16'",
        EXPERIMENT + "precision=bf16-mixed",
        EXPERIMENT + "deterministic=warn",
        EXPERIMENT + "seed=null",
        EXPERIMENT + "plot_metrics_n_epoch=null",
        EXPERIMENT + "run_name=2024-01 (third try)",
        MODEL + "architecture_config={model: attention, head_dims: [1, 2]}",
        MODEL + "load_modules={a.b: pretrain, c: {source: x.ckpt, module: d}}",
        MODEL + "continue_training=true",
    ],
)
def test_what_the_manual_allows_is_allowed(project: Any, override: str) -> None:
    loaded = project.load(override, MODEL + "load_checkpoint=last.ckpt")
    written = {str(position) for position in loaded.tree.positions.values()}
    assert f"command line: '{override}'" in written
    assert loaded.experiment.model.load_checkpoint == "last.ckpt"


def test_the_configuration_cannot_be_changed(project: Any) -> None:
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="frozen"):
        project.load().experiment.experiment_config.seed = 3
