"""The experts family, as the engine sees it."""

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
    from tabstar_lit.families.experts.config import ExpertsExperiment
    from tabstar_lit.families.experts.text.data import TextData
    from tabstar_lit.families.experts.trained import TrainedText

BEGINNING = 16
"""Tokens of a held-out document that samples begin with."""


class ExpertsFamily(Family["ExpertsExperiment", "TextData"]):
    """Text experts (transformer, state space, diffuser), then a mixture that routes between them."""

    name = "experts"
    command = "train_experts"
    summary = (
        "Train three experts on text, a transformer, a state-space model and a diffuser, then a mixture that routes "
        "between them. Without arguments it generates small texts of four domains and trains all four stages on them, "
        "in a few minutes on a laptop."
    )

    def schema(self) -> type[ExpertsExperiment]:
        """Return the schema of the family's configurations."""
        from tabstar_lit.families.experts.config import ExpertsExperiment

        return ExpertsExperiment

    def check(self, experiment: ExpertsExperiment) -> Sequence[Problem]:
        """Ask for the role of the stage, and for a loss that is not there to choose."""
        from typing import get_args

        from tabstar_lit.config import Problem
        from tabstar_lit.families.experts.architecture import Role

        problems = []
        if experiment.model.role is None:
            message = (
                "this stage does not say what it trains. Name one for each stage: stage_config: {STAGE: {model_config: "
                "{role: …}}}."
            )
            problems.append(Problem(("model_config", "role"), message, get_args(Role)))
        if experiment.model.training_config.loss is not None:
            place = ("model_config", "training_config", "loss")
            problems.append(Problem(place, "the loss follows from the role; leave it out"))
        return problems

    def data(self, experiment: ExpertsExperiment, seed: int, scratch: Path | None = None) -> TextData:
        """Open the corpus; one of a folder, or of the built-in texts, is made first."""
        from tabstar_lit.families.experts.text.data import TextData
        from tabstar_lit.families.experts.text.location import open_corpus

        config = experiment.dataset_config
        batch_size = config.batch_size or experiment.model.batch_size
        return TextData(config, open_corpus(config, scratch), batch_size=batch_size, seed=seed)

    def module(self, experiment: ExpertsExperiment, data: TextData) -> TrainingModule:
        """Build the network of the role, with what was trained before it."""
        from tabstar_lit.families.experts.module import ExpertsModule

        payload = {
            "family": self.name,
            "tokenizer": data.tokenizer,
            "domains": list(data.names),
            "documents": data.config.documents,
        }
        return ExpertsModule(
            experiment.model,
            vocabulary=data.vocabulary_size,
            context_length=data.context_length,
            payload=payload,
            read=experiment.earlier(),
        )

    def tracker(self, experiment: ExpertsExperiment, data: TextData, figures: Path) -> Tracker:
        """Return the tracker of perplexities, bits per byte, router weights and written samples."""
        from tabstar_lit.data.tokenizers import tokenizer_from_payload
        from tabstar_lit.families.experts.architecture import EXPERTS
        from tabstar_lit.families.experts.text.tokenizing import Framing
        from tabstar_lit.families.experts.tracker import ExpertsTracker
        from tabstar_lit.families.experts.writing import SampleWriter

        config = experiment.experiment_config
        framing = Framing(tokenizer_from_payload(data.tokenizer))
        return ExpertsTracker(
            figures,
            domains=data.names,
            context_length=data.context_length,
            experts=EXPERTS if experiment.model.role == "mixture" else (),
            writer=SampleWriter(framing, data.beginnings(BEGINNING)),
            check_every=config.check_metrics_n_epoch,
            plot_every=config.plot_metrics_n_epoch,
        )

    def models(self) -> Mapping[str, str]:
        """Return what a stage may train."""
        return {
            "transformer": "pre-norm transformer with rotary positions (arXiv 2104.09864) and SwiGLU (2002.05202)",
            "state_space": "selective state space, S6 (arXiv 2312.00752)",
            "diffuser": "denoiser of a transformer's states, or masked diffusion of tokens (arXiv 2503.09573)",
            "mixture": "latent attention (arXiv 2405.04434), a causal router, and the three experts, frozen",
        }

    def losses(self) -> Mapping[str, str]:
        """Return what each role minimises; it is not to choose."""
        return {
            "transformer, state_space": "cross-entropy of the next token",
            "diffuser": "squared error of the noise (continuous), or a bound on the likelihood (masked)",
            "mixture": "cross-entropy, less a reward of the entropy of the router's weights",
        }

    def converters(self) -> Sequence[click.Command]:
        """Return the converter of texts into a corpus, and that of checkpoints of the original system."""
        from tabstar_lit.families.experts.original_command import nanothink
        from tabstar_lit.families.experts.text.commands import text

        return (text, nanothink)

    def viewers(self) -> Mapping[str, Viewer]:
        """Return what shows a corpus of text."""
        from tabstar_lit.families.experts.text.commands import show_text

        return {"tabstar_lit.text": show_text}

    def verbs(self) -> Mapping[str, click.Command]:
        """Return the likelihood of texts, and the writing of new ones."""
        from tabstar_lit.engine.exporting import export_command
        from tabstar_lit.families.experts.verbs import generate, predict

        return {"predict": predict, "generate": generate, "export": export_command(self)}

    def card(self, config: Mapping[str, Any]) -> CardText:
        """Return what the card of a model says of it."""
        from tabstar_lit.families.experts.card import card_text

        return card_text(config)

    def restore(self, checkpoint: Path) -> TrainedText:
        """Return a trained network with its tokenizer."""
        from tabstar_lit.families.experts.trained import restore

        return restore(checkpoint)


family = ExpertsFamily()
"""The object :data:`tabstar_lit.families.FAMILIES` names."""
