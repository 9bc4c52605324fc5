"""The tabstar family, as the engine sees it."""

from __future__ import annotations

import logging
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
    from tabstar_lit.families.tabstar.config import TabstarExperiment
    from tabstar_lit.families.tabstar.data import TabstarData
    from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar

log = logging.getLogger(__name__)


class TabstarFamily(Family["TabstarExperiment", "TabstarData"]):
    """TabSTAR (arXiv 2505.18125): a foundation model for tables that reads column names and values as text."""

    name = "tabstar"
    command = "train_tabstar"
    summary = (
        "Pretrain a tabular foundation model on many tables at once, one table per batch. Without arguments it trains "
        "a small one on five real tables that come with scikit-learn, in a few minutes on a laptop."
    )

    def schema(self) -> type[TabstarExperiment]:
        """Return the schema of the family's configurations."""
        from tabstar_lit.families.tabstar.config import TabstarExperiment

        return TabstarExperiment

    def check(self, experiment: TabstarExperiment) -> Sequence[Problem]:
        """Look up the loss and its parameters, and ask whether the monitored score is computed often enough."""
        from tabstar_lit.families.tabstar.losses import DEFAULT_LOSS, LOSSES

        written, params = _loss(experiment)
        name, place = LOSSES.resolve(written or DEFAULT_LOSS), ("model_config", "training_config", "loss")
        return LOSSES.problems(name, place) or LOSSES.arguments(name, params, (*place, "loss_params"))[1]

    def data(self, experiment: TabstarExperiment, seed: int, scratch: Path | None = None) -> TabstarData:
        """Open the corpus; the built-in one is made when it is missing."""
        from tabstar_lit.families.tabstar.data import TabstarData
        from tabstar_lit.families.tabstar.finetuning.base import Start
        from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin
        from tabstar_lit.families.tabstar.tables.corpora import corpus_paths

        config, start = experiment.dataset_config, Start.of(experiment.model)
        if config.corpus is None:
            (path,) = corpus_paths(config)
            if scratch is not None and not path.exists():
                path = scratch / path.name
            config = config.model_copy(update={"corpus": str(ensure_builtin(path))})
        return TabstarData(
            config,
            tokenizer=start.tokenizer,
            max_tokens=start.architecture.text_encoder.max_tokens,
            seed=seed,
            keep_tokens=scratch is None,
            numbers=start.architecture.numbers,
        )

    def module(self, experiment: TabstarExperiment, data: TabstarData) -> TrainingModule:
        """Build the network with its encoder; a fixed encoder gets a memory for the vectors of strings."""
        from tabstar_lit.families.tabstar.finetuning.base import Start
        from tabstar_lit.families.tabstar.layer_cache import Budget, LayerCache
        from tabstar_lit.families.tabstar.losses import build_loss
        from tabstar_lit.families.tabstar.module import TabstarModule
        from tabstar_lit.families.tabstar.tables.corpora import corpus_paths
        from tabstar_lit.families.tabstar.tables.fingerprints import leaks
        from tabstar_lit.families.tabstar.text_cache import TextCache

        start = Start.of(experiment.model)
        for line in leaks(data.schemas, start.tables, str(experiment.model.base)):
            log.warning("%s", line)
        network, kept = start.build()
        network.text_lookup = TextCache(network.text_encoder, data.tokens)
        config = experiment.dataset_config
        budget = Budget.in_gb(config.text_cache_gb, config.text_cache_host_gb, config.text_cache_disk_gb)
        network.frozen_lookup = LayerCache(network.text_encoder, data.tokens, budget, corpus_paths(config)[0])
        payload = {"family": self.name, "tables": data.schemas, **kept}
        name, params = _loss(experiment)
        return TabstarModule(network, build_loss(name, params), experiment.model, payload)

    def tracker(self, experiment: TabstarExperiment, data: TabstarData, figures: Path) -> Tracker:
        """Return the tracker of scores per table."""
        from tabstar_lit.families.tabstar.tracker import TabstarTracker

        config = experiment.experiment_config
        return TabstarTracker(
            figures,
            schemas=data.schemas,
            held_out=data.some_held_out,
            check_every=config.check_metrics_n_epoch,
            plot_every=config.plot_metrics_n_epoch,
        )

    def models(self) -> Mapping[str, str]:
        """Return the one model of the family."""
        return {"TabSTAR": "text and numbers of a row become elements, targets are elements too (arXiv 2505.18125)"}

    def losses(self) -> Mapping[str, str]:
        """Return the losses by name."""
        from tabstar_lit.families.tabstar.losses import LOSSES

        return LOSSES.lines()

    def converters(self) -> Sequence[click.Command]:
        """Return the converters of tables into a corpus."""
        from tabstar_lit.families.tabstar.commands import builtin, tables

        return (tables, builtin)

    def conversions(self) -> Mapping[str, Any]:
        """Return what a file of ``tabstar_lit convert tables`` says."""
        from tabstar_lit.families.tabstar.tables.manifest import TableEntry

        return {"tables": list[TableEntry]}

    def groups(self) -> Sequence[click.Command]:
        """Return the commands of this family alone."""
        from tabstar_lit.families.tabstar.commands import tabstar

        return (tabstar,)

    def viewers(self) -> Mapping[str, Viewer]:
        """Return what prints a corpus."""
        return {"tabstar_lit.corpus": _show}

    def verbs(self) -> Mapping[str, click.Command]:
        """Return what is done with new rows, and the export."""
        from tabstar_lit.families.tabstar.verbs import embed, explain, export, predict

        return {"predict": predict, "embed": embed, "explain": explain, "export": export}

    def card(self, config: Mapping[str, Any]) -> CardText:
        """Return what the card of a model says of it."""
        from tabstar_lit.families.tabstar.card import card_text

        return card_text(config)

    def restore(self, checkpoint: Path) -> TrainedTabstar:
        """Return a trained network with the tables it knows."""
        from tabstar_lit.families.tabstar.deployment.trained import restore

        return restore(checkpoint)


def _show(path: Path, folder: Path | None) -> None:
    from tabstar_lit.families.tabstar.tables.show import show

    show(path, folder)


def _loss(experiment: TabstarExperiment) -> tuple[str | None, dict[str, Any]]:
    from tabstar_lit.config.schema import LossConfig

    loss = experiment.model.training_config.loss
    return (loss.loss_name, dict(loss.loss_params)) if isinstance(loss, LossConfig) else (loss, {})


family = TabstarFamily()
