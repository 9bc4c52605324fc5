"""What SeeSawML's YAML says otherwise than this program: how its keys are read, and what the docs say of them."""

from __future__ import annotations

import os
from typing import Any

from tabstar_lit.config.foreign import ForeignKey

MODEL, TRAINING, DATASET = "model_config", "model_config.training_config", "dataset_config"
NETWORK, PLOTTING = "model_config.architecture_config", "plotting_config"


def _cores(_: Any) -> int:
    return os.cpu_count() or 1


def _nothing(_: Any) -> None:
    return None


def _empty(_: Any) -> dict[str, Any]:
    return {}


def _float(_: Any) -> str:
    return "float"


def _f1(_: Any) -> str:
    return "val_f1"


CONV1D = (
    ForeignKey(
        f"{NETWORK}.embeddings.conv1d_embedding",
        "left out",
        "is left out: `false` is its default, in networks that know it",
        only=(False,),
    ),
    ForeignKey(
        f"{NETWORK}.embeddings.conv1d_embedding",
        "answered",
        "it projects objects, and this network reads none; one weight and bias for all numbers is "
        "`numer_shared_linear: true`",
    ),
)

COMMON = (
    ForeignKey(
        f"{DATASET}.stage_split_piles",
        "answered",
        "write `dataset_config.split: {val: 0.1, test: 0.1}`, shares of events that are chosen by a hash of their id",
    ),
    ForeignKey(
        f"{DATASET}.dataloader_kwargs.num_workers",
        "moved",
        "is taken as one worker a core; 0 is faster while the events are held in memory",
        to=f"{DATASET}.dataloader_kwargs.num_workers",
        only=(-1,),
        value=_cores,
    ),
    ForeignKey(
        f"{DATASET}.feature_scaling.n_max", "left out", "is left out: scalers are fitted on all training events"
    ),
    ForeignKey(
        f"{DATASET}.feature_scaling.save_path",
        "left out",
        "is left out: there are no files of scalers, checkpoints keep them",
    ),
    ForeignKey(
        f"{DATASET}.feature_scaling.scaler_params.partial_fit",
        "left out",
        "is left out: scalers see all training events at once",
    ),
    ForeignKey(
        f"{TRAINING}.scheduler.reduce_lr_on_epoch",
        "moved",
        "is taken as `training_config.reduce_lr_on_epoch`, which scales the rates of all parameter groups",
        to=f"{TRAINING}.reduce_lr_on_epoch",
    ),
    ForeignKey(
        f"{NETWORK}.input_dim", "left out", "is left out: the width of the input follows from `dataset_config.features`"
    ),
    ForeignKey(
        "tuning_config.hyperparameters.*.suggest_type",
        "moved",
        "is taken as `type: float`",
        to="tuning_config.hyperparameters.*.type",
        only=("uniform",),
        value=_float,
    ),
    ForeignKey(
        "tuning_config.hyperparameters.*.suggest_type",
        "moved",
        "is taken as `type`; for `loguniform` write `type: float` and `log: true`",
        to="tuning_config.hyperparameters.*.type",
    ),
    ForeignKey(
        "onnx_config", "left out", "is left out: `tabstar_lit export CHECKPOINT --onnx` does this after the training"
    ),
    ForeignKey(
        f"{PLOTTING}.disable_projections", "left out", "is left out: `plotting_config.embedding: pca` draws projections"
    ),
    ForeignKey("`hydra` and `override hydra/...`", "differs", "left out, with a notice: nothing runs under Hydra"),
    ForeignKey(
        "`weight_decay`",
        "differs",
        "leaves norms and biases out; `training_config.parameter_groups: {exclude_from_decay: none}` decays all",
    ),
    ForeignKey(
        "the length of a cosine schedule sets how often to validate",
        "differs",
        "`experiment_config.check_eval_n_epoch` alone does",
    ),
    ForeignKey("`features`: unknown names are dropped", "differs", "an error with the nearest name"),
    ForeignKey(
        "`features`: `weights`, `label_type` and `sig_type` stand among them",
        "differs",
        "leave them out: weights and labels of events are in the event file",
    ),
    ForeignKey(
        "`features`: columns of objects by their own name",
        "differs",
        "as `jets.jet_pt`, or by pattern: `jets.*`",
    ),
    ForeignKey("without `sdp_backend` a plain attention", "differs", "torch chooses the kernel"),
    ForeignKey(
        "`scale_signal`, `scale_fakes`, `calculate_class_weights`, `calculate_quantiles`",
        "differs",
        "part of each training, fitted on its training events and not on all",
    ),
    ForeignKey("`pile_stats`, `plot_piles`", "differs", "`tabstar_lit data show FILE -o FOLDER`"),
    ForeignKey("checkpoints", "differs", "cannot be loaded: they hold pickled objects, which are never read here"),
)
"""What both of its commands share."""

SIGNAL = (
    *COMMON,
    ForeignKey(
        f"{MODEL}.flat_model_config.architecture_config",
        "moved",
        "is taken as `architecture_config.flat_model`",
        to=f"{NETWORK}.flat_model",
    ),
    ForeignKey(
        f"{MODEL}.flat_model_config",
        "left out",
        "is left out but for its `architecture_config`: both networks are trained as one",
    ),
    ForeignKey(
        f"{MODEL}.calibration_config",
        "left out",
        "is left out: after the training, `tabstar_lit calibrate CHECKPOINT -m temperature` calibrates, on the events "
        "of `dataset_config.split.calib`",
    ),
    ForeignKey(
        f"{TRAINING}.monitor", "moved", "is taken as `val_f1`", to=f"{TRAINING}.monitor", only=("val_F1",), value=_f1
    ),
    ForeignKey(
        f"{TRAINING}.scheduler.monitor",
        "moved",
        "is taken as `val_f1`",
        to=f"{TRAINING}.scheduler.monitor",
        only=("val_F1",),
        value=_f1,
    ),
    ForeignKey(
        "significance_config",
        "moved",
        "is taken as `plotting_config.significance`",
        to=f"{PLOTTING}.significance",
    ),
    *(
        ForeignKey(f"{DATASET}.{name}", "moved", "is taken as `plotting_config.groups`", to=f"{PLOTTING}.groups")
        for name in ("custom_groups", "scores")
    ),
    ForeignKey(
        f"{PLOTTING}.score_plot",
        "left out",
        "is left out: `plotting_config.bins` and `logit_range` say how scores are drawn",
    ),
    ForeignKey(
        f"{PLOTTING}.signal_plot",
        "left out",
        "is left out: `tabstar_lit data show` draws columns, and the figure `sculpting` what cuts on the score leave",
    ),
    *CONV1D,
    ForeignKey(
        "`classes`: the second of two is the positive one",
        "differs",
        "`signal` names it; without it the class called `signal`, of two the one that is not called `background`, or "
        "the last. Log and report name it",
    ),
    ForeignKey(
        "`valid_type_values: {jets: [2]}`: `jet_type` need not be a feature",
        "differs",
        "the categorical feature of `jets` whose name ends in `type`; `{jets: {jet_type: [2]}}` names it. Categories "
        "may also be given by name",
    ),
    ForeignKey("`conv1d_embedding`: category codes are numbers", "differs", "categories enter as one-hot vectors"),
    ForeignKey(
        "`particle_attention.objects: null` switches pairs off in the code",
        "differs",
        "all types, as its documentation says; `particle_attention: null` switches it off",
    ),
    ForeignKey(
        "`use_setnorm` false, `remove_first_attn_layernorm` true in the code",
        "differs",
        "true and false by default, as its documentation says",
    ),
    ForeignKey(
        "`imbalanced_sampler` resamples each pile, and validation",
        "differs",
        "the training events of an epoch; both spellings of `RandomResampleToTarget` are known",
    ),
    ForeignKey(
        "negative weights are made positive in the loss",
        "differs",
        "`negative_weights: absolute`; the default is an error",
    ),
    ForeignKey("`norm_class_weights` shrinks the loss to 1/N", "differs", "the mean weight is 1"),
    ForeignKey("DisCo variables must be inputs", "differs", "features or spectators"),
    ForeignKey("areas under curves without weights", "differs", "`auroc` is weighted, `auroc_unweighted` beside it"),
    ForeignKey("`plot_signal`", "differs", "the tracker's figures, and `tabstar_lit data show`"),
)
"""What ``train_signal`` makes of its configurations."""

FAKES = (
    *COMMON,
    *(
        ForeignKey(
            f"{DATASET}.dataset_kwargs.{name}", "moved", f"is taken as `dataset_config.{name}`", to=f"{DATASET}.{name}"
        )
        for name in ("use_data_in_ratio", "pt_cut")
    ),
    ForeignKey(f"{DATASET}.dataset_kwargs.drop_last", "left out", "is left out: every event of an epoch is used"),
    ForeignKey(
        f"{DATASET}.dataset_kwargs",
        "answered",
        "its `use_data_in_ratio` and `pt_cut` are keys of `dataset_config`; epochs are not resampled",
    ),
    ForeignKey(
        f"{DATASET}.crack_veto",
        "moved",
        "is taken as `crack_veto: null`",
        to=f"{DATASET}.crack_veto",
        only=(False,),
        value=_nothing,
    ),
    ForeignKey(
        f"{DATASET}.crack_veto",
        "moved",
        "is taken as `crack_veto: {variable: eta, low: 1.37, high: 1.52}`",
        to=f"{DATASET}.crack_veto",
        only=(True,),
        value=_empty,
    ),
    *(
        entry
        for short, stage in (("num", "numerator"), ("den", "denominator"))
        for entry in (
            ForeignKey(
                f"{MODEL}.{short}_config.load_checkpoint",
                "left out",
                f"is left out: the stage `{stage}` of the same run is loaded",
                only=(None,),
            ),
            ForeignKey(
                f"{MODEL}.{short}_config.load_checkpoint",
                "moved",
                f"is taken as `model_config.{stage}_checkpoint`",
                to=f"{MODEL}.{stage}_checkpoint",
            ),
            ForeignKey(
                f"{MODEL}.{short}_config",
                "left out",
                f"is left out: `stage_config.{stage}` says what differs in that stage",
            ),
        )
    ),
    ForeignKey(
        f"{MODEL}.pt_sliced_model", "answered", "`dataset_config.pt_slices` trains a network for each slice, in one run"
    ),
    ForeignKey(
        f"{NETWORK}.ensemble.channels",
        "moved",
        "is taken as `ensemble.heads`",
        to=f"{NETWORK}.ensemble.heads",
    ),
    ForeignKey(
        f"{NETWORK}.ensemble.use_layernorm",
        "moved",
        "is taken as `ensemble.layernorm`",
        to=f"{NETWORK}.ensemble.layernorm",
    ),
    ForeignKey(f"{NETWORK}.ensemble.ensemble_output_dim", "left out", "is left out: each head gives one ratio"),
    ForeignKey(
        f"{NETWORK}.ensemble.act_out", "answered", "a head gives log-ratios, without an activation: leave it out"
    ),
    *CONV1D,
    ForeignKey(
        f"{PLOTTING}.subtraction_plot.variables",
        "moved",
        "is taken as `plotting_config.variables`",
        to=f"{PLOTTING}.variables",
    ),
    *(
        ForeignKey(
            f"{PLOTTING}.{name}",
            "left out",
            "is left out: the tracker's figures and `tabstar_lit fakes` draw what there is, see `plotting_config`",
        )
        for name in ("subtraction_plot", "closure_plot", "model_ff_plot", "density_plot", "toy_plot")
    ),
    ForeignKey(
        "three commands' worth of `model_config=num`, `den`, `ratio`",
        "differs",
        "the stages `numerator`, `denominator` and `ratio` of one run",
    ),
    ForeignKey("what exceeds whole batches of a pile is dropped", "differs", "every event of an epoch is used"),
    ForeignKey(
        "`lsif`, `kliep`, `square`, `mse`", "differs", "with the links that make them right; `gaussian_nll` exists"
    ),
    ForeignKey("`poisson_bootstrap` is drawn anew for every batch", "differs", "one sample for each head and event"),
    ForeignKey("overrides, seed and `monitor_mode` are lost in `train_fakes`", "differs", "they hold in every stage"),
    ForeignKey(
        "`ess_lambda` depends on the batch size",
        "differs",
        "it does not; `ess_form: original` is the formula there",
    ),
)
"""What ``train_fakes`` makes of its configurations."""
