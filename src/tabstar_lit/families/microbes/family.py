"""The microbes family, as the engine sees it."""

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
    from tabstar_lit.families.microbes.config import MicrobesExperiment
    from tabstar_lit.families.microbes.study.data import MicrobesData
    from tabstar_lit.families.microbes.trained import TrainedMicrobes


class MicrobesFamily(Family["MicrobesExperiment", "MicrobesData"]):
    """Encoders of microbial communities, pretrained on UniFrac and nucleotides, and predictors on them."""

    name = "microbes"
    command = "train_microbes"
    summary = (
        "Pretrain an encoder of microbial communities on UniFrac distances and hidden nucleotides, then train a "
        "predictor on it. Without arguments it generates a study whose answer is known and does both, in a few minutes "
        "on a laptop."
    )

    def schema(self) -> type[MicrobesExperiment]:
        """Return the schema of the family's configurations."""
        from tabstar_lit.families.microbes.config import MicrobesExperiment

        return MicrobesExperiment

    def check(self, experiment: MicrobesExperiment) -> Sequence[Problem]:
        """Look up the loss of targets, and ask a predictor for its target."""
        from tabstar_lit.config import Problem
        from tabstar_lit.families.microbes.target_losses import loss_problems

        place = ("model_config", "training_config")
        found = loss_problems(experiment.model.training_config)
        problems = [Problem((*place, *problem.path), problem.message, problem.allowed) for problem in found]
        if experiment.model.role == "predictor" and not experiment.dataset_config.target:
            message = "a predictor needs a target: the name of a column of the study"
            problems.append(Problem(("dataset_config", "target"), message))
        return problems

    def data(self, experiment: MicrobesExperiment, seed: int, scratch: Path | None = None) -> MicrobesData:
        """Open the study; the generated one is made when none is named and it is missing."""
        from tabstar_lit.families.microbes.study.data import MicrobesData
        from tabstar_lit.families.microbes.study.location import open_study

        config, labelled = experiment.dataset_config, experiment.model.role == "predictor"
        return MicrobesData(config, open_study(config, scratch), seed=seed, labelled=labelled)

    def module(self, experiment: MicrobesExperiment, data: MicrobesData) -> TrainingModule:
        """Build the network of the stage's role with its losses."""
        from tabstar_lit.families.microbes.build import build_module

        module = build_module(experiment.model, data.facts, samples=data.samples)
        module.payload["study"] = data.payload()
        return module

    def tracker(self, experiment: MicrobesExperiment, data: MicrobesData, figures: Path) -> Tracker:
        """Return the tracker of distances, nucleotides and targets, with the scores of classical models beside."""
        from tabstar_lit.families.microbes.classical.line import classical_line
        from tabstar_lit.families.microbes.tracker import MicrobesTracker

        config = experiment.experiment_config
        wanted = experiment.model.role == "predictor" and experiment.dataset_config.baseline != "none"
        return MicrobesTracker(
            figures,
            model=experiment.model,
            facts=data.facts,
            baseline=classical_line(data) if wanted else None,
            held_out=data.val_dataloader,
            check_every=config.check_metrics_n_epoch,
            plot_every=config.plot_metrics_n_epoch,
        )

    def models(self) -> Mapping[str, str]:
        """Return the two networks."""
        return {
            "SequenceEncoder": "bases to ASVs to samples, with heads for UniFrac, Faith's PD and taxa (role: encoder)",
            "SequencePredictor": "a count branch and a target branch on an encoder (role: predictor)",
        }

    def losses(self) -> Mapping[str, str]:
        """Return the losses of targets."""
        from tabstar_lit.families.microbes.target_losses import LOSSES

        return LOSSES.lines()

    def converters(self) -> Sequence[click.Command]:
        """Return the converter of studies."""
        from tabstar_lit.families.microbes.commands import microbiome

        return (microbiome,)

    def conversions(self) -> Mapping[str, Any]:
        """Return what a file of ``tabstar_lit convert microbiome`` says."""
        from tabstar_lit.families.microbes.conversion.config import StudyConfig

        return {"microbiome": StudyConfig}

    def viewers(self) -> Mapping[str, Viewer]:
        """Return what shows studies."""
        from tabstar_lit.families.microbes.study.show import show_study

        return {"tabstar_lit.study": show_study}

    def groups(self) -> Sequence[click.Command]:
        """Return the tools for tables, trees and studies."""
        from tabstar_lit.families.microbes.commands import microbes

        return (microbes,)

    def verbs(self) -> Mapping[str, click.Command]:
        """Return prediction and embedding of new samples."""
        from tabstar_lit.engine.exporting import export_command
        from tabstar_lit.families.microbes.verbs import embed, predict

        return {"predict": predict, "embed": embed, "export": export_command(self)}

    def card(self, config: Mapping[str, Any]) -> CardText:
        """Return what the card of a model says of it."""
        from tabstar_lit.families.microbes.card import card_text

        return card_text(config)

    def restore(self, checkpoint: Path) -> TrainedMicrobes:
        """Return a trained encoder or predictor."""
        from tabstar_lit.families.microbes.trained import restore

        return restore(checkpoint)


family = MicrobesFamily()
