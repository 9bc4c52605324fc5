"""The whole of a run: ``experiment_config`` and how the sections stand together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from tabstar_lit.config.schema.base import AlsoSpelled, Count, Name, PositiveCount, Section
from tabstar_lit.config.schema.model import ModelConfig
from tabstar_lit.config.schema.tuning import TuningConfig
from tabstar_lit.config.tree import Problem

if TYPE_CHECKING:
    from tabstar_lit.config.foreign import ForeignKey

Precision = Literal[
    64,
    32,
    16,
    "64",
    "64-true",
    "32",
    "32-true",
    "16",
    "16-mixed",
    "16-true",
    "bf16",
    "bf16-mixed",
    "bf16-true",
]
UNSAFE_NAME = re.compile(r"[/\\\x00-\x1f]")
INDEX_LIST = re.compile(r"\d{1,4}(,\s*\d{1,4})*")
MAX_NAME_LENGTH = 128


class ExperimentConfig(Section):
    """What the run is called, where it writes, on what it runs and what it logs."""

    experiment_name: Name = Field(description="Name of the experiment; groups runs in the tracker and in folders.")
    run_name: Name | None = Field(None, description="Name of this run; null makes one from model and time.")
    save_dir: str | None = Field(
        None, description="Folder of logs and run records; null is ANALYSIS_ML_LOGS_DIR or runs/logs."
    )
    tracker_path: str | None = Field(
        None, description="Folder of figures; null is ANALYSIS_ML_RESULTS_DIR or runs/results."
    )
    seed: Count | None = Field(None, description="Seed of every random generator; null draws a new one and records it.")
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = Field("auto", description="Hardware to use.")
    devices: int | list[int] | str = Field(
        "auto", description="Number of devices (-1 for all), a list of their indices, or `auto`."
    )
    precision: Precision = Field("32-true", description="Arithmetic: 64-true, 32-true, 16-mixed, bf16-mixed, ...")
    float32_matmul_precision: Literal["highest", "high", "medium"] = Field(
        "highest", description="Precision of float32 matrix products; see torch.set_float32_matmul_precision."
    )
    strategy: Name = Field("auto", description="Distribution strategy of Lightning: auto or ddp.")
    num_nodes: PositiveCount = Field(1, description="Number of machines.")
    deterministic: bool | Literal["warn"] = Field(
        False, description="Use only deterministic operations, or warn about the others."
    )
    tracker: Literal["auto", "mlflow", "comet", "tensorboard", "wandb", "none"] = Field(
        "auto",
        description="Service that gets copies of metrics and figures; auto is Comet where there is a key, else MLflow.",
    )
    log_system_metrics: bool = Field(False, description="Log processor, memory and accelerator use to MLflow.")
    check_eval_n_epoch: PositiveCount = Field(1, description="Epochs between validations.")
    num_sanity_val_steps: int = Field(0, ge=-1, description="Validation batches run before training; -1 runs all.")
    comet_api_key: SecretStr | None = Field(
        None,
        description="Key of Comet; better left out and set as COMET_API_KEY. null switches Comet off.",
    )
    comet_project_name: Name | None = Field(None, description="Comet project; null uses the account's default.")
    log_every_n_steps: PositiveCount = Field(50, description="Optimizer steps between logged training metrics.")
    check_metrics_n_epoch: PositiveCount | None = Field(
        1, description="Epochs between computations of the tracker's metrics; null switches them off."
    )
    plot_metrics_n_epoch: PositiveCount | None = Field(
        1, description="Epochs between figures; null draws none. A multiple of check_metrics_n_epoch."
    )
    figure_formats: tuple[Literal["png", "pdf"], ...] = Field(
        ("png",), min_length=1, description="Formats of figures: png for screens and reports, pdf for papers."
    )
    plot_style: Literal["default", "atlas", "cms"] = Field(
        "default", description="Look of figures; atlas and cms take frame, ticks and font from mplhep."
    )
    test_after_fit: bool = Field(
        False, description="Evaluate the best checkpoint of each stage on the test data when its training is over."
    )
    tqdm_refresh_rate: Annotated[Count, AlsoSpelled("refresh_rate")] = Field(
        10,
        description="Batches between updates of the progress bar; 0 hides it.",
    )

    @field_validator("experiment_name", "run_name")
    @classmethod
    def _is_safe(cls, value: str | None) -> str | None:
        if value is not None and (UNSAFE_NAME.search(value) or value.strip(". ") == "" or len(value) > MAX_NAME_LENGTH):
            raise ValueError(
                f"{value[:MAX_NAME_LENGTH]!r} cannot name a folder: at most {MAX_NAME_LENGTH} characters, "
                "no '/', no '\\' and no control characters, and not only dots"
            )
        return value

    @field_validator("devices")
    @classmethod
    def _are_devices(cls, value: int | list[int] | str) -> int | list[int] | str:
        indices = value
        if isinstance(value, str) and INDEX_LIST.fullmatch(value):
            indices = [int(part) for part in value.split(",")]
        if isinstance(indices, list):
            valid = bool(indices) and min(indices) >= 0 and len(set(indices)) == len(indices)
        else:
            valid = indices == "auto" or (isinstance(indices, int) and (indices == -1 or indices > 0))
        if not valid:
            raise ValueError(f"expected a number of devices, a list of indices, '0,1' or 'auto', got {value!r}")
        return value

    def problems(self) -> Iterable[Problem]:
        """Refuse figures in epochs whose metrics are not computed."""
        if self.plot_metrics_n_epoch is None:
            return
        if self.check_metrics_n_epoch is None:
            yield Problem(
                ("plot_metrics_n_epoch",),
                "figures need metrics: plot_metrics_n_epoch is set while check_metrics_n_epoch is null",
            )
        elif self.plot_metrics_n_epoch % self.check_metrics_n_epoch:
            yield Problem(
                ("plot_metrics_n_epoch",),
                f"plot_metrics_n_epoch ({self.plot_metrics_n_epoch}) must be a multiple of "
                f"check_metrics_n_epoch ({self.check_metrics_n_epoch})",
            )


class LoaderOptions(Section):
    """How batches are loaded: what every family passes to ``torch.utils.data.DataLoader``, and keys of its own."""

    num_workers: Count = Field(0, description="Loader processes; 0 is fastest while rows are held in memory.")
    prefetch_factor: PositiveCount | None = Field(None, description="Batches each worker prepares ahead.")
    pin_memory: bool = Field(False, description="Put batches in page-locked memory, for GPUs.")
    persistent_workers: bool = Field(False, description="Keep the workers between epochs.")


class DatasetConfig(Section):
    """Where data comes from; every family of models defines its own."""

    name: Name = Field(description="Name of the data set, a label in logs and reports.")


class Experiment(Section):
    """Everything a command needs to know; families narrow ``dataset_config`` and ``model_config``.

    Attributes
    ----------
    foreign_keys : tuple of ForeignKey
        What YAML of another program says, and what becomes of it.
    earlier_keys : tuple of ForeignKey
        What runs of earlier versions of this program say in their ``config.yaml``.
    data_key : str or None
        Key of ``dataset_config`` that names files, and is null while the command makes its own data; a file that is
        given for it names the data set.
    """

    foreign_keys: ClassVar[tuple[ForeignKey, ...]] = ()
    earlier_keys: ClassVar[tuple[ForeignKey, ...]] = ()
    data_key: ClassVar[str | None] = None

    min_logging_level: Literal["debug", "info", "warning", "error", "critical"] = Field(
        "info", description="Least important messages that are still printed."
    )
    experiment_config: ExperimentConfig = Field(description="Name, folders, hardware and logging.")
    dataset_config: DatasetConfig = Field(description="Where data comes from.")
    # pydantic reserves the name `model_config`, so the field is called `model`
    model: ModelConfig = Field(alias="model_config", description="The network and its training.")
    stages: tuple[Name, ...] = Field(("train",), min_length=1, description="Stages of the experiment, in order.")
    stage_config: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Stage -> part of an experiment that is laid over the rest for that stage.",
    )
    tuning_config: TuningConfig | None = Field(
        None, description="What `tabstar_lit tune` varies, and how; a training itself does not read it."
    )

    def problems(self) -> Iterable[Problem]:
        """Refuse a stage that would run twice under one name."""
        for index, stage in enumerate(self.stages):
            if stage in self.stages[:index]:
                yield Problem(("stages", index), f"stage '{stage}' is listed twice; give each stage its own name")
            if UNSAFE_NAME.search(stage) or stage.strip(". ") == "":
                yield Problem(("stages", index), f"stage {stage!r} cannot name a folder")

    def earlier(self) -> Mapping[str, str | None]:
        """Return the keys of ``model_config`` that name a trained model, which this stage reads, and what they name.

        A name is that of an earlier stage of the run, or of a checkpoint; the engine puts the path of the file there.
        Families whose stages build on whole models, not on weights of modules alone, override this.
        """
        return {}
