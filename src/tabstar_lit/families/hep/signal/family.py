"""The signal family, as the engine sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabstar_lit.engine.family import Family

if TYPE_CHECKING:
    import click

    from tabstar_lit.config import Problem
    from tabstar_lit.engine.family import Viewer
    from tabstar_lit.engine.module import TrainingModule
    from tabstar_lit.engine.reports.card_text import CardText
    from tabstar_lit.engine.tracker import Tracker
    from tabstar_lit.families.hep.architecture.union import SignalArchitecture
    from tabstar_lit.families.hep.data import EventData
    from tabstar_lit.families.hep.deployment.classifier import Classifier
    from tabstar_lit.families.hep.signal.config import SignalExperiment

TRAINING = ("model_config", "training_config")
ARCHITECTURE = ("model_config", "architecture_config")


class SignalFamily(Family["SignalExperiment", "EventData"]):
    """Classifiers of collision events, by their own features and by the objects in them."""

    name = "signal"
    command = "train_signal"
    summary = (
        "Train a classifier that tells signal from background in weighted collision events. Without arguments it "
        "generates toy collisions, a resonance over falling dijets, and trains a small set transformer on them, in a "
        "few minutes on a laptop."
    )

    def schema(self) -> type[SignalExperiment]:
        """Return the schema of the family's configurations."""
        from tabstar_lit.families.hep.signal.config import SignalExperiment

        return SignalExperiment

    def check(self, experiment: SignalExperiment) -> Sequence[Problem]:
        """Look up the loss, activations, and the arguments of both."""
        from tabstar_lit.config import Problem
        from tabstar_lit.families.hep.networks.check import network_problems
        from tabstar_lit.families.hep.signal.losses import check_loss

        classes = experiment.dataset_config.classes
        problems = check_loss(
            experiment.model.training_config,
            n_classes=None if classes is None else len(classes),
            weighted=_weighted(experiment),
        )
        return [
            *(Problem((*TRAINING, *problem.path), problem.message, problem.allowed) for problem in problems),
            *network_problems(experiment.model.architecture_config, ARCHITECTURE),
        ]

    def data(self, experiment: SignalExperiment, seed: int, scratch: Path | None = None) -> EventData:
        """Open the events; toy events are generated when none are named and they are missing."""
        from tabstar_lit.families.hep.data import EventData
        from tabstar_lit.families.hep.events.location import toy_path
        from tabstar_lit.families.hep.events.toy_files import has_toy
        from tabstar_lit.families.hep.events.toys import ensure_toy, toy_source

        config, architecture = experiment.dataset_config, experiment.model.architecture_config
        if config.files is None:
            path = toy_path()
            if scratch is not None and not has_toy(path, toy_source()):
                path = scratch / path.name
            config = config.model_copy(update={"files": str(ensure_toy(path))})
        disco = experiment.model.training_config.disco
        if disco is not None:
            config = config.model_copy(
                update={"spectators": tuple(dict.fromkeys([*config.spectators, *disco.variables]))}
            )
        data = EventData(
            config,
            seed=seed,
            momenta=_with_momenta(architecture),
            bin_edges=architecture.reads_bins,
        )
        _require_variables(disco.variables if disco is not None else (), data.spectators)
        data.require_scorable()
        return data

    def module(self, experiment: SignalExperiment, data: EventData) -> TrainingModule:
        """Build the network for the features in use, and the loss for the classes."""
        from tabstar_lit.families.hep.networks.build import build_network
        from tabstar_lit.families.hep.signal.losses import SignalLoss, build_loss, loss_of
        from tabstar_lit.families.hep.signal.module import SignalModule

        architecture, training = experiment.model.architecture_config, experiment.model.training_config
        network = build_network(architecture, data.inputs, data.output_dim)
        name, params = loss_of(training, len(data.classes))
        loss = build_loss(
            name,
            params,
            n_classes=len(data.classes),
            weighted=_weighted(experiment),
            class_counts=data.class_counts,
        )
        signal = _numbers(data.signal_index)
        disco = training.disco
        payload = {
            "family": self.name,
            "architecture_config": architecture.model_dump(mode="json"),
            "output_dim": data.output_dim,
            "preprocessing": data.payload(),
            "dataset_config": data.config.model_dump(
                mode="json", include={"name", "files", "weight", "split", "folds"}
            ),
        }
        return SignalModule(
            network,
            SignalLoss(loss, disco, signal),
            experiment.model,
            payload,
            signal=signal[0],
            weighted=_weighted(experiment),
            disco_columns={} if disco is None else {name: data.spectators.index(name) for name in disco.variables},
        )

    def tracker(self, experiment: SignalExperiment, data: EventData, figures: Path) -> Tracker:
        """Return the tracker of weighted scores and figures."""
        from tabstar_lit.families.hep.signal.tracker import SignalTracker

        config = experiment.experiment_config
        return SignalTracker(
            figures,
            classes=data.classes,
            signal=data.signal_index,
            spectators=data.spectators,
            plotting=experiment.plotting_config,
            units=data.units,
            some=data.some,
            inputs=data.inputs,
            disco=experiment.model.training_config.disco,
            check_every=config.check_metrics_n_epoch,
            plot_every=config.plot_metrics_n_epoch,
        )

    def models(self) -> Mapping[str, str]:
        """Return the networks by name."""
        from tabstar_lit.families.hep.networks.build import FLAT_NETWORKS, JAGGED_NETWORKS

        return {**FLAT_NETWORKS.lines(), **JAGGED_NETWORKS.lines()}

    def losses(self) -> Mapping[str, str]:
        """Return the losses by name."""
        from tabstar_lit.families.hep.signal.losses import list_losses

        return list_losses()

    def converters(self) -> Sequence[click.Command]:
        """Return the converter of event files."""
        from tabstar_lit.families.hep.events.commands import events

        return (events,)

    def conversions(self) -> Mapping[str, Any]:
        """Return what a file of ``tabstar_lit convert events`` says."""
        from tabstar_lit.families.hep.events.conversion_config import ConversionConfig

        return {"events": ConversionConfig}

    def viewers(self) -> Mapping[str, Viewer]:
        """Return what shows event files."""
        from tabstar_lit.families.hep.events.commands import show_events

        return {"tabstar_lit.events": show_events}

    def verbs(self) -> Mapping[str, click.Command]:
        """Return prediction, calibration and export of a classifier."""
        from tabstar_lit.families.hep.signal.verbs import calibrate, export, predict

        return {"predict": predict, "calibrate": calibrate, "export": export}

    def card(self, config: Mapping[str, Any]) -> CardText:
        """Return what the card of a model says of it."""
        from tabstar_lit.families.hep.signal.card import card_text

        return card_text(config)

    def restore(self, checkpoint: Path) -> Classifier:
        """Return a trained classifier, calibrated if the checkpoint is."""
        from tabstar_lit.families.hep.deployment.restore import restore

        return restore(checkpoint)


def _with_momenta(architecture: SignalArchitecture) -> bool | tuple[str, ...]:
    """Return the types of objects whose momenta the network reads: all, some, or none."""
    from tabstar_lit.families.hep.architecture.jagged import ParticleTransformerArchitecture

    if not isinstance(architecture, ParticleTransformerArchitecture) or architecture.particle_attention is None:
        return False
    return architecture.particle_attention.objects or True


def _require_variables(variables: Sequence[str], spectators: Sequence[str]) -> None:
    """Refuse patterns among the variables of DisCo, each of which has a metric and a figure by its name."""
    from tabstar_lit.errors import DataError

    for name in variables:
        if name not in spectators:
            place = "model_config.training_config.disco.variables"
            raise DataError(
                f"{place}: '{name}' is no column of the events; patterns are not taken here, list the names."
            )


def _weighted(experiment: SignalExperiment) -> bool:
    """Return whether events have weights in the loss."""
    config = experiment.dataset_config
    return config.use_mc_weights or config.use_class_weights


def _numbers(signal: int | tuple[int, ...]) -> tuple[int, ...]:
    return (signal,) if isinstance(signal, int) else signal


family = SignalFamily()
