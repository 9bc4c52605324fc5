"""What stands in the documentation of SeeSawML, in our own words, runs as it is or is answered in a line."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hand_made_events import make_chunk, write_events

from tabstar_lit.config import Loaded, load_experiment
from tabstar_lit.config.foreign import foreign_table
from tabstar_lit.engine.preflight import trial
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep import seesawml
from tabstar_lit.families.hep.fakes.config import FakesExperiment
from tabstar_lit.families.hep.signal.config import SignalExperiment
from tabstar_lit.families.hep.signal.family import family

PLATEAU = {"scheduler_name": "ReduceLROnPlateau", "interval": "epoch", "scheduler_params": {"factor": 0.5}}
WARMUP = {
    "scheduler_name": "AttentionWarmup",
    "scheduler_params": {"d_model": 64, "n_warmup_steps": 8, "freeze_step": None},
}
BEST_F1 = {"monitor": "val_F1", "monitor_mode": "max"}
NO_MATH = {"enable_cudnn": True, "enable_mem_efficient": True, "enable_flash": False, "enable_math": False}
COMPILED = {"compile": True, "compile_kwargs": {"backend": "eager"}}
"""By default compiling takes half a minute, and is no more of a test."""

FLAT = {"act": "ReLU", "act_out": None, "disable_embeddings": False, "post_embeddings": None, **COMPILED}
PAIRS = {"embedding_layers": 1, "embedding_dim": 8, "objects": ["jets"], "quantities": ["delta_r", "m2"]}
BINS = {"learn_bins": False, "uniform_bins": False, "act": "GELU", "dropout": 0.1, "layernorm": True}
MODELS: dict[str, dict[str, Any]] = {
    "mlp": {
        "architecture_config": {"model": "MLP", "n_layers": 2, "n_hidden": 8, "embeddings": {"ple": None}, **FLAT},
        "training_config": {"loss": "ce", "disco": None, "scheduler": PLATEAU, "reduce_lr_on_epoch": 1.0},
    },
    "res_net": {
        "architecture_config": {"model": "ResNet", "n_layers": 2, "n_hidden": 8, "batchnorm": True, **FLAT},
        "training_config": {"loss": "ce", "scheduler": PLATEAU, "model_save_path": None},
    },
    "deep_sets": {
        "defaults": ["_self_", "mlp@flat_model_config"],
        "architecture_config": {
            "model": "DeepSets",
            "n_hidden": 8,
            "embeddings": {"ple": None, "conv1d_embedding": False, "numer_feature_wise_linear": False},
            "post_embeddings": {"batchnorm": False, "act": "GELU"},
            "flat_fuse": {"mode": "cat", "fuse_kwargs": None},
        },
        "training_config": {"loss": {"loss_name": "ce"}, "scheduler": PLATEAU, **BEST_F1},
    },
    "event_transformer": {
        "architecture_config": {
            "model": "EventTransformer",
            "embedding_dim": 8,
            "transformer_depth": 1,
            "embeddings": {"numer_feature_wise_linear": False},
            "post_embeddings": None,
        },
        "training_config": {"loss": "ce", "scheduler": WARMUP},
    },
    "set_transformer": {
        "architecture_config": {
            "model": "SetTransformer",
            "embedding_dim": 8,
            "use_setnorm": False,
            "add_particle_types": True,
            "seed_strategy": "particles",
            "set_predictor": {"depth": 1, "act": "GELU", "mean_pooling": True},
            "post_embeddings": None,
            "post_flat_embeddings": None,
            "flat_embeddings_fuse": None,
            **COMPILED,
        },
        "training_config": {"loss": {"loss_name": "ce", "loss_params": {"label_smoothing": 0.1}}, **BEST_F1},
        "calibration_config": {"method": "temperature", "calibration_params": {"lr": 0.01}},
    },
    "particle_transformer": {
        "architecture_config": {
            "model": "ParticleTransformer",
            "embedding_dim": 8,
            "particle_blocks": 1,
            "class_blocks": 1,
            "embeddings": {"reduction": "mean", "ple": BINS},
            "flat_embeddings": {"reduction": "mean", "ple": BINS},
            "post_flat_embeddings": None,
            "flat_embeddings_fuse": {"mode": "gate"},
            "particle_attention": PAIRS,
        },
        "training_config": {"loss": {"loss_name": "ce", "loss_params": None}, "scheduler": WARMUP},
    },
}
DATASET = {
    "name": "mine",
    "features": ["met", "jets.pt", "jets.eta", "jets.phi", "jets.mass", "jets.flavour"],
    "feature_scaling": {
        "numer_scaler_type": "standard",
        "n_max": None,
        "save_path": None,
        "scaler_params": {"partial_fit": True, "copy": True},
    },
    "dataset_kwargs": {"imbalanced_sampler": "RandomOverSampler", "imbalanced_sampler_kwargs": None, "drop_last": True},
    "dataloader_kwargs": {"batch_size": 32, "num_workers": 0},
    "classes": [{"signal": ["signal"]}, "ttbar", {"other": ["wjets"]}],
    "ple_bins": 4,
}
SCALARS = {"seed": 1, "devices": 1, "check_metrics_n_epoch": 1, "plot_metrics_n_epoch": None, "refresh_rate": 0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a configuration directory laid out as SeeSawML's users have it."""
    top = tmp_path_factory.mktemp("ml_config")
    events = write_events(top / "events.h5", make_chunk(150))
    hydra = {"hydra": {"output_subdir": None, "run": {"dir": "."}}}
    defaults = [
        "_self_",
        {"dataset_config": "mine"},
        {"model_config": "mlp"},
        {"override hydra/job_logging": "disabled"},
    ]
    experiment = {"experiment_config": {"experiment_name": "mine", "accelerator": "cpu", **SCALARS}}
    files: dict[str, Any] = {
        "training_config": {"min_logging_level": "info", "defaults": defaults} | hydra | experiment
    }
    files["dataset_config/mine"] = DATASET | {"files": [str(events)]}
    files |= {f"model_config/{name}": {"name": "sigBkgClassifier", "load_checkpoint": None} | model
              for name, model in MODELS.items()}  # fmt: skip
    for name, content in files.items():
        path = top / "signal" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return top


def load(folder: Path, *overrides: str) -> Loaded[SignalExperiment]:
    return load_experiment(
        SignalExperiment,
        command="train_signal",
        overrides=overrides,
        config_dir=folder,
        family_directory="signal",
    )


FLAT_FEATURES = {"mlp", "res_net", "event_transformer"}


@pytest.mark.parametrize("model", MODELS)
def test_every_model_of_its_documentation_runs(model: str, folder: Path) -> None:
    features = ["dataset_config.features=[met, m_jj]"] if model in FLAT_FEATURES else []
    loaded = load(folder, f"model_config={model}", *features)
    said: list[str] = []
    trial(family, loaded, say=said.append)
    assert any("signal is signal" in line for line in said)


def test_what_is_taken_over_is_said_with_its_place(folder: Path) -> None:
    loaded = load(folder, "model_config=deep_sets")
    architecture = loaded.experiment.model.architecture_config
    assert architecture.flat_model.model == "MLP"
    assert architecture.flat_model_fuse.mode == "cat"
    assert architecture.flat_model.embeddings.ple is False
    assert loaded.experiment.model.training_config.monitor == "val_f1"
    text = "\n".join(loaded.notices)
    assert re.search(r"deep_sets\.yaml:\d+:3: 'model_config\.training_config\.monitor' is taken as `val_f1`", text)
    assert "'model_config.flat_model_config.architecture_config' is taken as `architecture_config.flat_model`" in text
    assert re.search(r"mine\.yaml:\d+:3: 'dataset_config\.feature_scaling\.n_max' is left out", text)
    assert "'hydra' is ignored" in text
    assert "'flat_fuse' is taken as `flat_model_fuse`" in text
    assert "'refresh_rate' is taken as `tqdm_refresh_rate`" in text


def test_the_command_line_may_speak_as_there(folder: Path) -> None:
    loaded = load(
        folder,
        "model_config.training_config.monitor=val_F1",
        "dataset_config.dataloader_kwargs.num_workers=-1",
        "+significance_config.all={signal: [signal], background: [ttbar]}",
        "+model_config.calibration_config.method=vector",
    )
    experiment = loaded.experiment
    assert experiment.model.training_config.monitor == "val_f1"
    assert experiment.dataset_config.dataloader_kwargs.num_workers == os.cpu_count()
    assert experiment.plotting_config.significance["all"].background == ("ttbar",)
    assert sum("calibrate CHECKPOINT" in notice for notice in loaded.notices) == 1


@pytest.mark.parametrize(
    ("override", "answer"),
    [
        ("+dataset_config.stage_split_piles={train: 8, val: 1, test: 1}", "write `dataset_config.split: {val: 0.1"),
        ("+model_config.architecture_config.embeddings.conv1d_embedding=true", "this network reads none"),
    ],
)
def test_what_cannot_be_taken_over_is_answered(override: str, answer: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match="there is no ") as caught:
        load(folder, override)
    assert answer in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_key_in_the_words_of_both_is_refused(folder: Path) -> None:
    there = "+model_config.flat_model_config.architecture_config.model=MLP"
    assert load(folder, "model_config=set_transformer", there).experiment.model.architecture_config.flat_model
    twice = "{scheduler: {reduce_lr_on_epoch: 0.9, scheduler_name: linear}, reduce_lr_on_epoch: 0.5}"
    with pytest.raises(
        ConfigError, match=r"reduce_lr_on_epoch' means 'model_config\.training_config\.reduce_lr_on_epoch'"
    ):
        load(folder, f"model_config.training_config={twice}")


@pytest.mark.parametrize("compiled", [{}, COMPILED])
def test_a_kernel_that_this_machine_lacks_is_one_message(compiled: dict[str, Any], folder: Path) -> None:
    options = json.dumps({"sdp_backend": NO_MATH, **compiled})
    loaded = load(
        folder,
        "model_config=event_transformer",
        "dataset_config.features=[met]",
        f"model_config.architecture_config={options}",
    )
    with pytest.raises(ConfigError, match=r"sdp_backend allows .* only, and none of these can do this") as caught:
        trial(family, loaded, say=print)
    assert len(str(caught.value).splitlines()) == 1


def test_keys_of_a_package_are_reported_where_the_package_is_named(folder: Path) -> None:
    (folder / "signal" / "model_config" / "odd.yaml").write_text("defaults: [_self_, mlp@extra_config]\nname: a\n")
    with pytest.raises(ConfigError, match=r"odd\.yaml:1:20: unknown key 'extra_config' in model_config"):
        load(folder, "model_config=odd")


FAKES = {
    "dataset_config.dataset_kwargs": {
        "use_data_in_ratio": False,
        "pt_cut": {"min": 30, "max": None},
        "drop_last": False,
    },
    "model_config.num_config": {"load_checkpoint": "num.ckpt", "name": "numModel"},
    "model_config.den_config": {"load_checkpoint": None},
    "model_config.architecture_config.ensemble": {"channels": 4, "use_layernorm": True, "ensemble_output_dim": 1},
    "plotting_config.subtraction_plot": {"variables": {"pt": {"x_min": 20, "x_max": 90, "nbins": 7, "logx": True}}},
    "tuning_config": {
        "n_trials": 3,
        "pruning": None,
        "hyperparameters": {
            "model_config.training_config.w_lambda": {"suggest_type": "uniform", "low": 0, "high": 1},
            "model_config.architecture_config.n_layers": {"suggest_type": "int", "low": 1, "high": 3},
        },
    },
}


def load_fakes(*overrides: str) -> Loaded[FakesExperiment]:
    return load_experiment(FakesExperiment, command="train_fakes", overrides=overrides)


def test_fakes_are_configured_as_there() -> None:
    written = (f"+{key}={json.dumps(value)}" for key, value in FAKES.items())
    loaded = load_fakes("model_config=fakes/mlp", "dataset_config.use_data_in_ratio=true", *written)
    assert not loaded.experiment.dataset_config.use_data_in_ratio
    experiment = loaded.experiment
    assert (experiment.dataset_config.pt_cut.min, experiment.dataset_config.pt_cut.max) == (30, None)
    assert experiment.model.numerator_checkpoint == "num.ckpt"
    assert experiment.model.denominator_checkpoint == "denominator"
    ensemble = experiment.model.architecture_config.ensemble
    assert (ensemble.heads, ensemble.layernorm) == (4, True)
    bins = experiment.plotting_config.variables["pt"]
    assert (bins.low, bins.high, bins.bins, bins.log) == (20, 90, 7, True)
    assert [parameter.type for parameter in experiment.tuning_config.parameters.values()] == ["float", "int"]


def test_other_spellings_are_known_below_names_that_are_chosen() -> None:
    written = "plotting_config.variables={pt: {nbins: 7, logx: true, x_min: 1}, bins: {x_max: 3}}"
    variables = load_fakes("model_config=fakes/mlp", written).experiment.plotting_config.variables
    assert (variables["pt"].bins, variables["pt"].log, variables["pt"].low) == (7, True, 1)
    assert variables["bins"].high == 3


@pytest.mark.parametrize(("value", "low"), [("false", None), ("null", None), ("true", 1.37)])
def test_the_crack_is_there_or_not(value: str, low: float | None) -> None:
    crack = load_fakes(f"dataset_config.crack_veto={value}").experiment.dataset_config.crack_veto
    assert (crack and crack.low) == low


def test_the_table_is_whole() -> None:
    """Each key has one fate, what is moved has a target, and the documentation shows all."""
    for table in (seesawml.SIGNAL, seesawml.FAKES):
        for entry in table:
            assert (entry.does == "moved") == bool(entry.to)
            assert entry.here
        text = foreign_table(table)
        assert len(text.splitlines()) == len(table) + 2
        assert text.count("`dataset_config.stage_split_piles`") == 1
