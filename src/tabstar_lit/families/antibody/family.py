"""The antibody family, as the engine sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabstar_lit.engine.family import Family, Viewer
from tabstar_lit.errors import DataError

if TYPE_CHECKING:
    import click

    from tabstar_lit.config import Problem
    from tabstar_lit.engine.module import TrainingModule
    from tabstar_lit.engine.reports.card_text import CardText
    from tabstar_lit.engine.tracker import Tracker
    from tabstar_lit.families.antibody.config import AntibodyExperiment
    from tabstar_lit.families.antibody.pairs.data import AntibodyData
    from tabstar_lit.families.antibody.restore import AntibodyGenerator

TOY_PAIRS = "antibody_toy.h5"
"""Name of the generated task below the data root."""


class AntibodyFamily(Family["AntibodyExperiment", "AntibodyData"]):
    """Generators of antibodies: sequences for an antigen at a wanted affinity."""

    name = "antibody"
    command = "train_antibody"
    summary = (
        "Train a generator of antibody sequences, told the antigen and the wanted affinity, and measure in every epoch "
        "whether it reads them. Without arguments it generates a task whose rule is known and learns it in a few "
        "minutes."
    )

    def schema(self) -> type[AntibodyExperiment]:
        """Return the schema of the family's configurations."""
        from tabstar_lit.families.antibody.config import AntibodyExperiment

        return AntibodyExperiment

    def check(self, experiment: AntibodyExperiment) -> Sequence[Problem]:
        """Return nothing: what is wrong is seen by the schema, or in the data."""
        return ()

    def data(self, experiment: AntibodyExperiment, seed: int, scratch: Path | None = None) -> AntibodyData:
        """Open the pairs; a task is generated when no file is named and it is missing."""
        from tabstar_lit.families.antibody.pairs.data import AntibodyData
        from tabstar_lit.families.antibody.pairs.file import pairs_path, read_pairs

        config = experiment.dataset_config
        path = _toy(scratch) if config.files is None else pairs_path(config.files)
        if not path.exists():
            raise DataError(
                f"dataset_config.files: {path}: no such file, neither as given nor below the data root. Make it with: "
                f"tabstar_lit convert antibody CONFIG.yaml -o {path}"
            )
        return AntibodyData(config, read_pairs(path), seed)

    def module(self, experiment: AntibodyExperiment, data: AntibodyData) -> TrainingModule:
        """Build the network for the scale of the affinities, and its loss."""
        from tabstar_lit.families.antibody.module import AntibodyModule, kept
        from tabstar_lit.families.antibody.networks.build import build_network

        network = build_network(experiment.model.architecture_config, data.scale)
        return AntibodyModule(network, experiment.model, kept(experiment.model, network, data.payload()))

    def tracker(self, experiment: AntibodyExperiment, data: AntibodyData, figures: Path) -> Tracker:
        """Return the tracker of likelihoods, effects and generated antibodies."""
        from tabstar_lit.families.antibody.tracker import AntibodyTracker

        config = experiment.experiment_config
        return AntibodyTracker(
            figures,
            data=data,
            tracking=experiment.tracking_config,
            check_every=config.check_metrics_n_epoch,
            plot_every=config.plot_metrics_n_epoch,
        )

    def models(self) -> Mapping[str, str]:
        """Return the networks by name."""
        from tabstar_lit.families.antibody.networks.build import network_lines

        return network_lines()

    def losses(self) -> Mapping[str, str]:
        """Return the one loss there is."""
        return {"cross_entropy": "of the next residue, smoothed in training only; training_config.label_smoothing"}

    def converters(self) -> Sequence[click.Command]:
        """Return the maker of pairs files, and the reader of somebody else's checkpoints."""
        from tabstar_lit.families.antibody.conversion.commands import antibody, antibody_checkpoint

        return (antibody, antibody_checkpoint)

    def conversions(self) -> Mapping[str, Any]:
        """Return what a file of ``tabstar_lit convert antibody`` says."""
        from tabstar_lit.families.antibody.conversion.config import PairConversion

        return {"antibody": PairConversion}

    def viewers(self) -> Mapping[str, Viewer]:
        """Return what shows a pairs file."""
        from tabstar_lit.families.antibody.conversion.commands import show_pairs

        return {"antibody pairs": show_pairs}

    def verbs(self) -> Mapping[str, click.Command]:
        """Return what writes antibodies, and what says how likely given ones are."""
        from tabstar_lit.engine.exporting import export_command
        from tabstar_lit.families.antibody.verbs import generate, predict

        return {"predict": predict, "generate": generate, "export": export_command(self)}

    def card(self, config: Mapping[str, Any]) -> CardText:
        """Return what the card of a model says of it."""
        from tabstar_lit.families.antibody.card import card_text

        return card_text(config)

    def restore(self, checkpoint: Path) -> AntibodyGenerator:
        """Return the generator in a checkpoint."""
        from tabstar_lit.families.antibody.restore import restore

        return restore(checkpoint)


def _toy(scratch: Path | None) -> Path:
    """Return where the generated task lies, in ``scratch`` where it would have to be made and one is given."""
    from tabstar_lit.config.paths import roots
    from tabstar_lit.families.antibody.pairs.toy import AntibodyToy, ensure_toy, has_toy

    path, toy = roots().data / TOY_PAIRS, AntibodyToy()
    if scratch is not None and not has_toy(path, toy):
        path = scratch / path.name
    return ensure_toy(path, toy)


family = AntibodyFamily()
"""The object :data:`tabstar_lit.families.FAMILIES` names."""
