"""Losses of text by domain and position, weights of experts, and what the network writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule, Trainer

from tabstar_lit.engine.callbacks.training_log import log_metrics
from tabstar_lit.engine.devices.distributed import gather
from tabstar_lit.engine.tracker import Tracker
from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.experts import figures as draw
from tabstar_lit.families.experts.scores import ALL, losses_by_position, router_weights, text_scores
from tabstar_lit.families.experts.text.sums import bin_width
from tabstar_lit.plots.curves import epoch_figure, series, source_curves

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

Writer = Callable[["nn.Module"], Iterable[tuple[str, str]]]
"""Lets a network write: yields prompts, or the names of domains, and texts."""

SCORES = ("perplexity", "bits_per_byte")
COLUMNS = ("nats", "tokens", "bytes", "position_nats", "position_tokens", "router")


class ExpertsTracker(Tracker):
    """Track perplexity, bits per byte and use of experts: of all texts together and of each domain.

    Validation steps return sums by row, see :func:`~tabstar_lit.families.experts.text.sums.row_sums`, and those of a
    mixture the mean weights ``router`` ``[B, L, E]`` of its experts. Means over all rows are exact.

    Parameters
    ----------
    figures : Path
        Folder for the figures.
    domains : sequence of str
        Names of the domains.
    context_length : int
        Tokens of the longest row.
    experts : sequence of str
        Names of the experts that a router weighs; empty where there is none.
    writer : callable or None
        Gives what the network writes after an epoch.
    check_every, plot_every : int or None
        As in :class:`~tabstar_lit.engine.tracker.Tracker`.

    Attributes
    ----------
    tokens : dict of int to int
        Tokens trained on at the end of each epoch; logged as ``tokens_trained``.
    """

    rows = "rows of text"

    def __init__(
        self,
        figures: Path,
        *,
        domains: Sequence[str],
        context_length: int,
        experts: Sequence[str] = (),
        writer: Writer | None = None,
        check_every: int | None,
        plot_every: int | None,
    ) -> None:
        super().__init__(figures, check_every=check_every, plot_every=plot_every)
        self.domains, self.context_length = tuple(domains), context_length
        self.experts, self.writer = tuple(experts), writer
        self.tokens: dict[int, int] = {}
        self._seen = 0

    def keeps(self) -> tuple[str, ...]:
        """Return the sums by row, and the weights of experts."""
        return COLUMNS

    def metrics(self, collected: Mapping[str, Columns]) -> dict[str, float]:
        """Return ``perplexity`` and ``bits_per_byte`` of all texts and by domain, and ``usage/<expert>``."""
        scores = text_scores(collected)
        weights = router_weights(collected)
        if weights:
            whole = weights[ALL] if ALL in weights else next(iter(weights.values()))
            scores |= {f"usage/{expert}": float(whole[:, i].mean()) for i, expert in enumerate(self.experts)}
        return scores

    def metric_names(self) -> tuple[str, ...]:
        """Return the names of all scores."""
        by_domain = (f"{name}/{domain}" for name in SCORES for domain in self.domains)
        return (*SCORES, *by_domain, *(f"usage/{expert}" for expert in self.experts))

    def figures(self, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure]]:
        """Yield the loss by position, and the weights of experts by domain."""
        losses = losses_by_position(collected)
        if losses:
            yield "loss_by_position", draw.position_figure(losses, bin_width(self.context_length))
        weights = router_weights(collected)
        if weights:
            yield "router", draw.router_figure(weights, self.experts)

    def samples(self, module: LightningModule, collected: Mapping[str, Columns]) -> Iterable[tuple[str, Figure | str]]:
        """Yield what the network writes after the beginning of a document of each domain, in one text."""
        if self.writer is None or module.trainer.world_size > 1:
            return
        network: Any = module.network
        yield "samples.md", "\n".join(f"### {title}\n\n```text\n{text}\n```\n" for title, text in self.writer(network))

    def summary_figures(self) -> Iterable[tuple[str, Figure]]:
        """Yield losses, bits per byte and use of experts by epoch, and the learning curve in tokens."""
        losses = epoch_figure(self.history, ["train_loss", "val_loss"], title="Loss", ylabel="loss, mean over tokens")
        if losses is not None:
            yield "losses", losses
        whole = series(self.history, "val_bits_per_byte")
        by_domain = series(self.history, "val_bits_per_byte/")
        if by_domain:
            all_texts = whole["val_bits_per_byte"] if len(by_domain) > 1 else {}
            yield (
                "bits_per_byte",
                source_curves(by_domain, all_texts, title="Held-out texts", ylabel="bits per byte", sources="domains"),
            )
            yield "learning_curve", draw.learning_figure({**by_domain, ALL: whole["val_bits_per_byte"]}, self.tokens)
        usage = epoch_figure(
            self.history,
            [f"val_usage/{expert}" for expert in self.experts],
            title="Use of experts",
            ylabel="mean weight over tokens",
        )
        if usage is not None:
            yield "usage", usage

    # -- tokens trained on --------------------------------------------------------------------------------------------

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the tokens of the batch; after the last of an epoch log how many there were."""
        self._seen += batch.n_targets
        if trainer.is_last_batch:
            self.tokens[trainer.current_epoch] = sum(gather(self._seen))
            log_metrics(trainer, {"tokens_trained": self.tokens[trainer.current_epoch]})

    def state_dict(self) -> dict[str, Any]:
        """Return the history and the tokens counted so far."""
        return {**super().state_dict(), "seen": self._seen, "tokens": self.tokens}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with a saved history and count."""
        super().load_state_dict(state_dict)
        self._seen, self.tokens = state_dict["seen"], dict(state_dict["tokens"])
