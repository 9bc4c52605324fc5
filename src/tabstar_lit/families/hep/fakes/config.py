"""What ``train_fakes`` reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from tabstar_lit.config.foreign import ForeignKey
from tabstar_lit.config.schema import Experiment, ModelConfig, Section
from tabstar_lit.config.schema.base import Name
from tabstar_lit.config.tree import Problem
from tabstar_lit.families.hep.architecture.before import EARLIER_KEYS
from tabstar_lit.families.hep.config import EventSource
from tabstar_lit.families.hep.fakes.architecture import FakesArchitecture
from tabstar_lit.families.hep.fakes.plotting_config import FakesPlotting
from tabstar_lit.families.hep.fakes.training_config import FakesTraining
from tabstar_lit.families.hep.seesawml import FAKES

Role = Literal["numerator", "denominator", "ratio"]
Labels = Annotated[tuple[Name, ...], Field(min_length=1)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Region(Section):
    """Labels of the file that make the data, and the simulation, of one region."""

    data: Labels = Field(description="Labels of its data.")
    mc: Labels | None = Field(None, description="Labels of its simulation; not needed with subtract_mc: false.")


class Regions(Section):
    """The two regions, whose densities the fake factor relates."""

    tight: Region = Field(Region(data=("tight_data",), mc=("tight_mc",)), description="What is estimated.")
    loose: Region = Field(Region(data=("loose_data",), mc=("loose_mc",)), description="What it is estimated from.")

    def classes(self, *, mc: bool) -> dict[str, tuple[str, ...]]:
        """Return the labels of each class: ``tight_data``, ``loose_data`` and, with ``mc``, those of simulation."""
        regions = {"tight": self.tight, "loose": self.loose}
        data = {f"{name}_data": region.data for name, region in regions.items()}
        return data | ({f"{name}_mc": region.mc or () for name, region in regions.items()} if mc else {})

    def problems(self) -> Iterable[Problem]:
        """Refuse events of two classes at once."""
        seen: dict[str, str] = {}
        for name, labels in self.classes(mc=True).items():
            region, kind = name.split("_")
            for index, label in enumerate(labels):
                if label in seen:
                    yield Problem(
                        (region, kind, index), f"label '{label}' is listed twice, the first time as {seen[label]}"
                    )
                seen[label] = name


class PtCut(Section):
    """Events that are used, by pt; the others are left out."""

    min: Number | None = Field(None, description="Least pt, inclusive, in the file's unit; null: no bound.")
    max: Number | None = Field(None, description="Greatest pt, exclusive; null: no bound.")

    def problems(self) -> Iterable[Problem]:
        """Refuse an empty range."""
        if self.min is not None and self.max is not None and self.min >= self.max:
            yield Problem(("max",), f"pt_cut from {self.min:g} to {self.max:g} leaves no events")


class CrackVeto(Section):
    """A gap of the detector: its events are left out, and the network sees the sides of it joined."""

    variable: Name = Field("eta", description="Column; of either sign, or an absolute value.")
    low: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(1.37, description="Where the gap begins, in size.")
    high: Number = Field(1.52, description="Where it ends.")

    def problems(self) -> Iterable[Problem]:
        """Refuse a gap without width."""
        if self.high <= self.low:
            yield Problem(("high",), f"the gap from {self.low:g} to {self.high:g} has no width")


class FakesDataset(EventSource):
    """The ``dataset_config`` of a fake-factor estimate."""

    regions: Regions = Field(default_factory=Regions, description="Which labels of the file are what.")
    subtract_mc: bool = Field(
        True,
        description="Estimate data minus simulation of each region. false: there is no simulation, and the ratio of "
        "tight to loose data is estimated in the one stage `ratio`.",
    )
    use_data_in_ratio: bool = Field(
        True,
        description="Learn the ratio from events of data; false: from simulated ones. Weighted, both are the same.",
    )
    pt_variable: Name = Field("pt", description="Column that pt_cut and pt_slices are about.")
    pt_cut: PtCut | None = Field(None, description="Range of pt that is used; null: all events.")
    pt_slices: tuple[str, ...] = Field(
        (),
        description="Ranges of pt such as ['20:50', '50:300'], each with a network of its own; the first is open below "
        "and the last above.",
    )
    crack_veto: CrackVeto | None = Field(None, description="A gap of the detector; null: there is none.")

    @property
    def boundaries(self) -> tuple[float, ...]:
        """Values of pt between neighbouring slices."""
        return tuple(low for low, _ in map(bounds, self.pt_slices[1:]))

    def problems(self) -> Iterable[Problem]:
        """Refuse slices that are none, overlap or leave gaps, and regions that lack their simulation."""
        yield from super().problems()
        if self.subtract_mc:
            for name in ("tight", "loose"):
                if getattr(self.regions, name).mc is None:
                    yield Problem(("regions", name), f"subtract_mc is true, but the {name} region names no 'mc' labels")
        for index, text in enumerate(self.pt_slices):
            if _unreadable(text):
                yield Problem(("pt_slices", index), f"'{text}' is no range of pt: write 'LOW:HIGH', such as '20:50'")
        if not any(map(_unreadable, self.pt_slices)):
            for index, (one, two) in enumerate(pairwise(self.pt_slices), start=1):
                if bounds(one)[1] != bounds(two)[0]:
                    yield Problem(("pt_slices", index), f"slice '{two}' does not begin where '{one}' ends")


class FakesModel(ModelConfig):
    """The ``model_config`` of a density-ratio model."""

    role: Role | None = Field(
        None,
        description="What the stage learns. numerator, denominator: data over simulation of tight, or loose, events; "
        "ratio: the fake factor. Set for each stage by stage_config.",
    )
    numerator_checkpoint: Name | None = Field(
        "numerator", description="In the role `ratio`: the trained numerator, a stage of this run or a checkpoint."
    )
    denominator_checkpoint: Name | None = Field(
        "denominator", description="In the role `ratio`: the trained denominator, a stage of this run or a checkpoint."
    )
    architecture_config: FakesArchitecture = Field(description="The network; `model` names it.")
    training_config: FakesTraining = Field(default_factory=FakesTraining, description="How it is trained.")

    def loss_terms(self) -> tuple[str, ...]:
        """Return the risk and the penalties that are added to it, where there are any."""
        training = self.training_config
        added = {"shrinkage": training.w_lambda, "ess_penalty": training.ess_lambda}
        penalties = [name for name, factor in added.items() if factor]
        return ("risk", *penalties) if penalties else ()


class FakesExperiment(Experiment):
    """A fake-factor estimate."""

    foreign_keys: ClassVar[tuple[ForeignKey, ...]] = FAKES
    earlier_keys: ClassVar[tuple[ForeignKey, ...]] = EARLIER_KEYS
    data_key: ClassVar[str | None] = "files"

    dataset_config: FakesDataset
    model: FakesModel = Field(alias="model_config")
    plotting_config: FakesPlotting = Field(
        default_factory=FakesPlotting, description="Figures of the tracker, and the bins of its metrics."
    )

    def problems(self) -> Iterable[Problem]:
        """Refuse a comparison with simulation that there is not, bins without number, and statistics of no events."""
        yield from super().problems()
        if self.model.architecture_config.reads_bins and self.dataset_config.ple_bins is None:
            yield Problem(
                ("dataset_config", "ple_bins"),
                "ple in architecture_config needs the number of its bins: set ple_bins, such as 24",
            )
        if len(self.dataset_config.pt_slices) > 1 and getattr(self.model.architecture_config, "batchnorm", False):
            yield Problem(
                ("model_config", "architecture_config", "batchnorm"),
                "batchnorm needs several events, and a batch may have none in a slice of pt: set batchnorm: false",
            )
        if self.model.role in ("numerator", "denominator") and not self.dataset_config.subtract_mc:
            yield Problem(
                ("dataset_config", "subtract_mc"),
                f"without simulation there is no {self.model.role}: train stages=[ratio], or set subtract_mc: true",
            )

    def earlier(self) -> Mapping[str, str | None]:
        """Name the trained models whose ratios weigh the events of the last stage."""
        if self.model.role != "ratio" or not self.dataset_config.subtract_mc:
            return {}
        keys = ("numerator_checkpoint", "denominator_checkpoint")
        return {key: getattr(self.model, key) for key in keys}


def bounds(text: str) -> tuple[float, float]:
    """Return the ends of a slice ``LOW:HIGH``."""
    low, high = map(float, text.split(":"))
    return low, high


def _unreadable(text: str) -> bool:
    try:
        low, high = bounds(text)
    except ValueError:
        return True
    return not low < high
