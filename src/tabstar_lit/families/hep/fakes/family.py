"""The fakes family, as the engine sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tabstar_lit.engine.family import Family
from tabstar_lit.errors import ConfigError

if TYPE_CHECKING:
    import click

    from tabstar_lit.config import Problem
    from tabstar_lit.engine.module import TrainingModule
    from tabstar_lit.engine.reports.card_text import CardText
    from tabstar_lit.engine.tracker import Tracker
    from tabstar_lit.families.hep.fakes.config import FakesExperiment, FakesModel
    from tabstar_lit.families.hep.fakes.data import FakesData
    from tabstar_lit.families.hep.fakes.ensemble import Ensemble
    from tabstar_lit.families.hep.fakes.factor.restore import Restored
    from tabstar_lit.families.hep.fakes.toy.closed_form import ClosedForm

TOY_EVENTS = "fakes_toy.h5"
"""Name of the generated events below the data root."""
ARCHITECTURE = ("model_config", "architecture_config")
KEPT = {
    "name",
    "files",
    "weight",
    "split",
    "folds",
    "regions",
    "subtract_mc",
    "use_data_in_ratio",
    "pt_variable",
    "pt_cut",
}
KEPT |= {"pt_slices", "crack_veto"}
"""Keys of ``dataset_config`` that a checkpoint keeps."""
ROLE_MISSING = (
    "this stage does not say what it learns. Name one for each stage: stage_config: {STAGE: {model_config: {role: …}}}."
)


class FakesFamily(Family["FakesExperiment", "FakesData"]):
    """Fake factors: data minus simulation of tight over that of loose events, as a function of event features."""

    name = "fakes"
    command = "train_fakes"
    summary = (
        "Estimate fake factors by density ratios, in three stages: data over simulation of tight events, of loose "
        "events, and the ratio of what is left of both. Without arguments it generates toy events whose fake factor is "
        "known, trains three small ensembles on them in a few minutes, and compares."
    )

    def schema(self) -> type[FakesExperiment]:
        """Return the schema of the family's configurations."""
        from tabstar_lit.families.hep.fakes.config import FakesExperiment

        return FakesExperiment

    def check(self, experiment: FakesExperiment) -> Sequence[Problem]:
        """Look up the role of the stage, the loss, activations and their arguments."""
        from tabstar_lit.config import Problem
        from tabstar_lit.families.hep.fakes.config import Role
        from tabstar_lit.families.hep.networks.check import network_problems
        from tabstar_lit.losses.density_ratio import RATIO_LOSSES

        model = experiment.model
        problems = list(network_problems(model.architecture_config, ARCHITECTURE))
        if model.role is None:
            problems.append(Problem(("model_config", "role"), ROLE_MISSING, get_args(Role)))
        problems += [
            Problem(("model_config", key), f"the ratio needs {key}: a finished stage of this run, or a checkpoint")
            for key, source in experiment.earlier().items()
            if source is None
        ]
        loss, place = model.training_config.loss_name, ("model_config", "training_config", "loss")
        return problems + RATIO_LOSSES.problems(loss, place)

    def data(self, experiment: FakesExperiment, seed: int, scratch: Path | None = None) -> FakesData:
        """Open the events of a stage; toy events are generated when none are named and they are missing."""
        from tabstar_lit.config.paths import roots
        from tabstar_lit.families.hep.events.toy_files import has_toy
        from tabstar_lit.families.hep.fakes.data import FakesData
        from tabstar_lit.families.hep.fakes.toy.config import FakesToy
        from tabstar_lit.families.hep.fakes.toy.events import ensure_toy_fakes

        config, model = experiment.dataset_config, experiment.model
        if config.files is None:
            path = roots().data / TOY_EVENTS
            if scratch is not None and not has_toy(path, FakesToy().to_plain()):
                path = scratch / path.name
            config = config.model_copy(update={"files": str(ensure_toy_fakes(path, FakesToy()))})
        if model.role is None:
            raise ConfigError(f"model_config.role: {ROLE_MISSING}")
        return FakesData(
            config,
            role=model.role,
            seed=seed,
            training=model.training_config,
            heads=model.architecture_config.n_heads,
            models=_models(experiment),
            bin_edges=model.architecture_config.reads_bins,
        )

    def module(self, experiment: FakesExperiment, data: FakesData) -> TrainingModule:
        """Build the network for the features in use, and the risk of its ratio."""
        from tabstar_lit.families.hep.fakes.module import FakesModule
        from tabstar_lit.families.hep.fakes.network import network_of

        architecture = experiment.model.architecture_config
        payload = {
            "family": self.name,
            "role": data.role,
            "loss": experiment.model.training_config.loss_name,
            "max_ratio": experiment.model.training_config.bound,
            "twins": experiment.model.training_config.twins_among(architecture.n_heads),
            "balanced": experiment.model.training_config.balances_replicas,
            "architecture_config": architecture.model_dump(mode="json"),
            "preprocessing": data.payload(),
            "dataset_config": data.fakes.model_dump(mode="json", include=KEPT),
        }
        return FakesModule(
            network_of(architecture, data.preprocessor, data.fakes),
            experiment.model,
            payload,
            role=data.role,
            sides=data.sides,
            mean_weight=data.weights.mean,
            ensemble=_ensemble(experiment.model),
        )

    def tracker(self, experiment: FakesExperiment, data: FakesData, figures: Path) -> Tracker:
        """Return the tracker of reweighted samples, with the true fake factor where it is known."""
        from tabstar_lit.families.hep.fakes.tracker import FakesTracker

        config = experiment.experiment_config
        return FakesTracker(
            figures,
            role=data.role,
            variables=data.spectators,
            plotting=experiment.plotting_config,
            units=data.units,
            ensemble=_ensemble(experiment.model),
            form=_form(data),
            pt_variable=data.fakes.pt_variable,
            check_every=config.check_metrics_n_epoch,
            plot_every=config.plot_metrics_n_epoch,
        )

    def models(self) -> Mapping[str, str]:
        """Return the networks by name."""
        from tabstar_lit.families.hep.networks.build import FLAT_NETWORKS

        known = ("MLP", "ResNet", "DeepSets", "EventTransformer")
        return {name: line for name, line in FLAT_NETWORKS.lines().items() if name in known}

    def losses(self) -> Mapping[str, str]:
        """Return the losses by name."""
        from tabstar_lit.losses.density_ratio import RATIO_LOSSES

        return RATIO_LOSSES.lines()

    def converters(self) -> Sequence[click.Command]:
        """Return the maker of toy events."""
        from tabstar_lit.families.hep.fakes.commands import fakes_toy

        return (fakes_toy,)

    def verbs(self) -> Mapping[str, click.Command]:
        """Return prediction, the fake factor of loose events as ``tabstar_lit fakes apply`` writes it, and export."""
        from tabstar_lit.families.hep.fakes.verbs import apply, export

        return {"predict": apply, "export": export}

    def groups(self) -> Sequence[click.Command]:
        """Return what is done with a learned fake factor."""
        from tabstar_lit.families.hep.fakes.verbs import fakes

        return (fakes,)

    def card(self, config: Mapping[str, Any]) -> CardText:
        """Return what the card of a model says of it."""
        from tabstar_lit.families.hep.fakes.card import card_text

        return card_text(config)

    def restore(self, checkpoint: Path) -> Restored:
        """Return the trained model of a stage; that of the ratio predicts."""
        from tabstar_lit.families.hep.fakes.factor.restore import restore

        return restore(checkpoint)


def _models(experiment: FakesExperiment) -> Mapping[str, Restored] | None:
    """Return the trained models of the regions, where the stage reads them."""
    from tabstar_lit.families.hep.fakes.factor.restore import restore
    from tabstar_lit.families.hep.fakes.samples import MODELS

    paths = experiment.earlier()
    named = {region: paths.get(f"{role}_checkpoint") for region, role in MODELS.items()}
    return {region: restore(Path(path)) for region, path in named.items() if path is not None} or None


def _ensemble(model: FakesModel) -> Ensemble:
    from tabstar_lit.families.hep.fakes.ensemble import Ensemble

    own, training = model.architecture_config.ensemble, model.training_config
    if own is None:
        return Ensemble()
    twins = training.twins_among(own.heads)
    return Ensemble(own.average, own.spread, twins, training.balances_replicas, own.spread_radius)


def _form(data: FakesData) -> ClosedForm | None:
    """Return the true fake factor, if these are toys, it is what is estimated, and its variables are carried along."""
    from tabstar_lit.families.hep.events.location import open_events
    from tabstar_lit.families.hep.fakes.config import Regions
    from tabstar_lit.families.hep.fakes.toy.closed_form import closed_form, is_toy

    file = open_events(data.fakes)
    estimated = data.fakes.subtract_mc and data.fakes.regions == Regions()
    form = closed_form(file) if estimated and is_toy(file) else None
    return form if form is not None and set(form.columns) <= set(data.spectators) else None


family = FakesFamily()
"""The object :data:`tabstar_lit.families.FAMILIES` names."""
