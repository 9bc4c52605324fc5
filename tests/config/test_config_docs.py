"""The pages about configuration list every key with its default and meaning, as the schemas have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from tabstar_lit.config.schema import (
    CategoricalParameter,
    Experiment,
    ExperimentConfig,
    FloatParameter,
    IntParameter,
    LoadModule,
    LossConfig,
    ModelConfig,
    NonFinite,
    OptimizerConfig,
    ParameterGroup,
    ParameterGroups,
    SchedulerConfig,
    TrainingConfig,
    TuningConfig,
)
from tabstar_lit.config.schema_walk import models_in, yaml_fields
from tabstar_lit.families.hep import config as dataset
from tabstar_lit.families.hep.architecture import flat as flat
from tabstar_lit.families.hep.architecture import jagged as jagged
from tabstar_lit.families.hep.architecture import sections as shared
from tabstar_lit.families.hep.architecture.tabstar import TabSTARArchitecture
from tabstar_lit.families.hep.events import conversion_config as conversion
from tabstar_lit.families.hep.fakes import architecture as ratio_networks
from tabstar_lit.families.hep.fakes import config as fakes
from tabstar_lit.families.hep.fakes import plotting_config as fakes_plotting
from tabstar_lit.families.hep.fakes.training_config import FakesTraining
from tabstar_lit.families.hep.signal import plotting_config as plotting
from tabstar_lit.families.hep.signal.config import SignalExperiment
from tabstar_lit.families.hep.signal.training_config import DiscoConfig, SignalTraining
from tabstar_lit.nn.tabstar_config import FixedTextEncoder, RandomEncoder


class Table(NamedTuple):
    """A section of the schema, and the one whose keys it has too and whose table holds them."""

    section: type[BaseModel]
    without: type[BaseModel] | None = None


CONFIGURATION = {
    "Top level": Table(Experiment),
    "experiment_config": Table(ExperimentConfig),
    "model_config": Table(ModelConfig),
    "load_modules, each": Table(LoadModule),
    "training_config": Table(TrainingConfig),
    "loss": Table(LossConfig),
    "optimizer": Table(OptimizerConfig),
    "scheduler": Table(SchedulerConfig),
    "parameter_groups": Table(ParameterGroups),
    "parameter_groups.groups, each": Table(ParameterGroup),
    "non_finite": Table(NonFinite),
}
SIGNAL = {
    "Top level": Table(SignalExperiment, Experiment),
    "dataset_config": Table(dataset.EventsDataset),
    "split": Table(dataset.SplitConfig),
    "folds": Table(dataset.FoldsConfig),
    "feature_scaling": Table(dataset.FeatureScaling),
    "momenta, each": Table(dataset.Momentum),
    "dataset_kwargs": Table(dataset.DatasetOptions),
    "imbalanced_sampler_kwargs": Table(dataset.SamplerArguments),
    "dataloader_kwargs": Table(dataset.EventLoaderOptions),
    "training_config": Table(SignalTraining, TrainingConfig),
    "disco": Table(DiscoConfig),
    "plotting_config": Table(plotting.SignalPlotting),
    "significance, each": Table(plotting.SignificanceConfig),
    "Every network": Table(shared.NetworkArchitecture),
    "Every network but TabSTAR": Table(shared.EventsArchitecture, shared.NetworkArchitecture),
    "MLP": Table(flat.MLPArchitecture, shared.EventsArchitecture),
    "ResNet": Table(flat.ResNetArchitecture, shared.EventsArchitecture),
    "EventTransformer": Table(flat.EventTransformerArchitecture, shared.EventsArchitecture),
    "TabSTAR": Table(TabSTARArchitecture, shared.NetworkArchitecture),
    "text_encoder": Table(FixedTextEncoder),
    "text_encoder.random": Table(RandomEncoder),
    "Every network of objects": Table(jagged.ObjectsArchitecture, shared.EventsArchitecture),
    "DeepSets": Table(jagged.DeepSetsArchitecture, jagged.ObjectsArchitecture),
    "SetTransformer": Table(jagged.SetTransformerArchitecture, jagged.ObjectsArchitecture),
    "ParticleTransformer": Table(jagged.ParticleTransformerArchitecture, jagged.ObjectsArchitecture),
    "embeddings": Table(shared.Embeddings),
    "embeddings.ple": Table(shared.PiecewiseLinear),
    "post_embeddings": Table(shared.PostEmbeddings),
    "flat_embeddings": Table(jagged.FlatEmbeddings, shared.Embeddings),
    "flat_embeddings_fuse": Table(shared.EmbeddingFuse),
    "flat_model_fuse": Table(shared.OutputFuse),
    "ensemble": Table(flat.Ensemble),
    "set_predictor": Table(jagged.SetPredictor),
    "particle_attention": Table(jagged.ParticleAttention),
    "sdp_backend": Table(shared.SdpBackend),
}
FAKES = {
    "Top level": Table(fakes.FakesExperiment, Experiment),
    "dataset_config": Table(fakes.FakesDataset),
    "regions": Table(fakes.Regions),
    "regions, each": Table(fakes.Region),
    "pt_cut": Table(fakes.PtCut),
    "crack_veto": Table(fakes.CrackVeto),
    "model_config": Table(fakes.FakesModel, ModelConfig),
    "training_config": Table(FakesTraining, TrainingConfig),
    "Every network": Table(ratio_networks.FakesNetworkArchitecture),
    "ensemble": Table(ratio_networks.Heads),
    "plotting_config": Table(fakes_plotting.FakesPlotting),
    "variables, each": Table(fakes_plotting.VariablePlot),
}
EVENTS = {
    "Conversion": Table(conversion.ConversionConfig),
    "sources, each": Table(conversion.SourceSpec),
    "columns, each": Table(conversion.ColumnSpec),
    "objects, each": Table(conversion.ObjectSpec),
    "substructure": Table(conversion.SubstructureSpec),
    "nsubjettiness, each": Table(conversion.NsubjettinessSpec),
    "trimming, each": Table(conversion.TrimmingSpec),
}
TUNING = {
    "tuning_config": Table(TuningConfig),
    "type: float": Table(FloatParameter),
    "type: int": Table(IntParameter),
    "type: categorical": Table(CategoricalParameter),
}
PAGES = {
    "configuration.md": CONFIGURATION,
    "tuning.md": TUNING,
    "families/signal-keys.md": SIGNAL,
    "families/fakes-keys.md": FAKES,
    "events.md": EVENTS,
}
TABLES = [(page, title) for page, tables in PAGES.items() for title in tables]


def spelled(value: Any) -> str:
    """A value as YAML writes it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(spelled, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {spelled(entry)}' for key, entry in value.items())}}}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    assert value is not PydanticUndefined
    return "see below" if isinstance(value, BaseModel) else f"`{spelled(value)}`"


def escaped(text: str | None) -> str:
    """A description with the signs that Markdown would take for its own written out, but for those in backquotes."""
    parts = (text or "").split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    return "`".join(parts)


def rows(table: Table) -> list[str]:
    elsewhere = {"model", *(yaml_fields(table.without) if table.without else {})}
    fields = {name: field for name, field in yaml_fields(table.section).items() if name not in elsewhere}
    return [f"| `{name}` | {default_of(field)} | {escaped(field.description)} |" for name, field in fields.items()]


def written(title: str, table: Table) -> str:
    return "\n".join([f"### {title}", "", "| Key | Default | Meaning |", "|---|---|---|", *rows(table), ""])


@pytest.mark.parametrize(("page", "title"), TABLES)
def test_the_page_lists_every_key_as_it_is(repository: Path, page: str, title: str) -> None:
    assert written(title, PAGES[page][title]) in (repository / "docs" / page).read_text(encoding="utf-8")


def sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    """The section itself and all below it."""
    found: set[type[BaseModel]] = set()
    waiting = [model]
    while waiting:
        section = waiting.pop()
        if section not in found:
            found.add(section)
            waiting += [part for field in section.model_fields.values() for part in models_in(field.annotation)]
    return found


@pytest.mark.parametrize("schema", [SignalExperiment, fakes.FakesExperiment, conversion.ConversionConfig])
def test_no_key_is_left_out(schema: type[BaseModel]) -> None:
    tables = [table for page in PAGES.values() for table in page.values()]
    listed = {name for table in tables for name in yaml_fields(table.section)}
    assert {name for section in sections(schema) for name in yaml_fields(section)} - listed <= {"model"}
