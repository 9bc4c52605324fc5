"""Scores of language models: against torchmetrics, exact over rows, and what the figures show."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from experts_networks import VOCABULARY, token_batch
from labels import unlabelled
from torchmetrics.text import Perplexity

from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.experts.architecture import EXPERTS
from tabstar_lit.families.experts.networks.objectives import nats_of
from tabstar_lit.families.experts.scores import (
    ALL,
    bits_per_byte,
    losses_by_position,
    perplexity,
    router_weights,
    text_scores,
)
from tabstar_lit.families.experts.text.batch import NO_TARGET
from tabstar_lit.families.experts.text.sums import row_sums
from tabstar_lit.families.experts.tracker import ExpertsTracker


def measured(seed: int, rows: int = 3) -> tuple[torch.Tensor, torch.Tensor, Columns]:
    """Return random logits, the targets of a batch, and the sums of its rows."""
    batch = token_batch(rows, seed=seed)
    logits = torch.randn(rows, 40, VOCABULARY, generator=torch.Generator().manual_seed(seed))
    return logits, batch.targets, row_sums(nats_of(logits, batch.targets), batch, 40)


def tracker(experts: tuple[str, ...] = (), **options: Any) -> ExpertsTracker:
    options = {"domains": ("a", "b"), "context_length": 40, "check_every": 1, "plot_every": 1} | options
    return ExpertsTracker(Path(), experts=experts, **options)


def test_perplexity_is_that_of_torchmetrics() -> None:
    parts = {name: measured(seed, rows) for name, seed, rows in (("a", 0, 3), ("b", 1, 5))}
    scores = text_scores({name: columns for name, (_, _, columns) in parts.items()})
    both = Perplexity(ignore_index=NO_TARGET)
    for name, (logits, targets, _) in parts.items():
        alone = Perplexity(ignore_index=NO_TARGET)
        alone.update(logits, targets)
        both.update(logits, targets)
        assert scores[f"perplexity/{name}"] == pytest.approx(float(alone.compute()), rel=1e-5)
    assert scores["perplexity"] == pytest.approx(float(both.compute()), rel=1e-5)
    assert set(scores) <= set(tracker().metric_names())


def test_bits_per_byte_of_a_uniform_guess_of_bytes_are_eight() -> None:
    assert bits_per_byte(100 * math.log(256), 100) == pytest.approx(8)
    assert math.isnan(bits_per_byte(1.0, 0))
    assert math.isnan(perplexity(0.0, 0))
    assert perplexity(1e6, 1) == math.inf


def test_means_do_not_depend_on_how_rows_are_batched() -> None:
    *_, rows = measured(0, 6)
    parts = [{name: column[i : i + 2] for name, column in rows.items()} for i in (0, 2, 4)]
    joined = {name: torch.cat([part[name] for part in parts]) for name in rows}
    assert text_scores({"a": joined}) == text_scores({"a": rows})


def test_losses_by_position_are_means_over_their_tokens() -> None:
    logits, targets, columns = measured(2)
    losses = losses_by_position({"a": columns, "b": measured(3)[2]})
    assert set(losses) == {"a", "b", ALL}
    nats = nats_of(logits, targets)
    assert losses["a"][4] == pytest.approx(float(nats[:, 8:10].mean()), rel=1e-6)
    assert np.isnan(losses["a"][18:]).all()


def with_router(seed: int, rows: int) -> Columns:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.rand(rows, 2, 3, generator=generator)
    tokens = torch.randint(1, 40, (rows,), generator=generator)
    nats = torch.rand(rows, generator=generator)
    return {
        "router": weights / weights.sum(-1, keepdim=True),
        "tokens": tokens,
        "nats": nats,
        "bytes": tokens,
        "position_nats": nats[:, None],
        "position_tokens": tokens[:, None],
    }


def test_weights_of_experts_are_means_over_tokens() -> None:
    rows = {"a": with_router(0, 4), "b": with_router(1, 2)}
    weights = router_weights(rows)
    for own in weights.values():
        np.testing.assert_allclose(own.sum(-1), 1, rtol=1e-6)
    tokens = torch.cat([rows[name]["tokens"] for name in rows]).double()
    router = torch.cat([rows[name]["router"] for name in rows]).double()
    np.testing.assert_allclose(weights[ALL], ((router * tokens[:, None, None]).sum(0) / tokens.sum()).numpy())
    mixture = tracker(EXPERTS)
    scores = mixture.metrics(rows)
    usage = [scores[f"usage/{expert}"] for expert in EXPERTS]
    assert sum(usage) == pytest.approx(1)
    assert set(scores) == set(mixture.metric_names())


def test_figures_name_domains_and_experts() -> None:
    drawn = dict(tracker(EXPERTS).figures({"a": with_router(0, 4), "b": with_router(1, 2)}))
    assert set(drawn) == {"loss_by_position", "router"}
    assert [name for figure in drawn.values() for name in unlabelled(figure)] == []
    names = [text.get_text() for text in drawn["loss_by_position"].axes[0].get_legend().get_texts()]
    assert names == ["a", "b", ALL]
    panels = drawn["router"].axes
    assert len(panels) == 2
    assert [text.get_text() for text in panels[1].get_legend().get_texts()] == list(EXPERTS)
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["a", "b", ALL]
    assert sum(bar.get_width() for bar in panels[0].patches) == pytest.approx(3)


def test_a_role_without_likelihood_has_no_scores_and_no_figures() -> None:
    assert tracker().metrics({}) == {}
    assert dict(tracker().figures({})) == {}


def test_learning_curves_are_drawn_over_tokens_which_survive_a_resume() -> None:
    own = tracker()
    for epoch in range(2):
        for batch in range(3):
            trainer: Any = SimpleNamespace(is_last_batch=batch == 2, current_epoch=epoch, loggers=[])
            own.on_train_batch_end(trainer, None, None, token_batch(seed=batch), batch)
        own.history.append(
            {"epoch": epoch, "train_loss": 2.0, "val_loss": 2.0, "val_bits_per_byte": 3.0 - epoch}
            | {f"val_bits_per_byte/{name}": 2.5 for name in ("a", "b")}
        )
    resumed = tracker()
    resumed.load_state_dict(own.state_dict())
    assert resumed.tokens == {0: 315, 1: 630}
    drawn = dict(resumed.summary_figures())
    assert set(drawn) == {"losses", "bits_per_byte", "learning_curve"}
    assert [name for figure in drawn.values() for name in unlabelled(figure)] == []
    lines = drawn["learning_curve"].axes[0].lines
    assert np.asarray(lines[-1].get_xydata()).tolist() == [[315.0, 3.0], [630.0, 2.0]]


def test_samples_are_one_text_of_all_domains() -> None:
    module: Any = SimpleNamespace(network="the network", trainer=SimpleNamespace(world_size=1))
    written = tracker(writer=lambda network: [("a", f"{network} writes"), ("b", "more")])
    assert dict(written.samples(module, {})) == {
        "samples.md": "### a\n\n```text\nthe network writes\n```\n\n### b\n\n```text\nmore\n```\n"
    }
    assert dict(tracker().samples(module, {})) == {}
