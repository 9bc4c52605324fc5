"""Operations that a training step of TabSTAR asks for: those of matrix products, without padding."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.nn.tabstar import NumericalFusion, SixNumberFusion

TRAINED, CROSSED, FROZEN = 3, 2, 1
"""Passes over a layer: forward, backward with respect to its inputs where what is below or within is trained, and with
respect to its weights where these are. What adapters do themselves is left out."""


@dataclass(frozen=True)
class LayerSize:
    """A transformer layer: width ``D`` and hidden width ``F``."""

    width: int
    hidden: int

    def flops(self, tokens: float, pairs: float) -> float:
        """Return the operations of a forward pass over ``tokens`` with ``pairs`` of query and key."""
        return 2 * tokens * (4 * self.width**2 + 2 * self.width * self.hidden) + 4 * self.width * pairs

    def flops_of_some(self, asking: float, tokens: float, pairs: float) -> float:
        """Return those of a layer that is computed for some of its tokens, which read all of them."""
        read = 2 * tokens * 2 * self.width**2
        return read + 2 * asking * (2 * self.width**2 + 2 * self.width * self.hidden) + 4 * self.width * pairs


class StepFlops:
    """Counts the operations of a network's training steps.

    Parameters
    ----------
    network : TabStarNetwork
        What is trained, as it is frozen now.
    """

    def __init__(self, network: TabStarNetwork) -> None:
        encoder, layers = network.text_encoder, network.tabular_encoder.layers
        self.text = LayerSize(encoder.width, int(encoder.config.intermediate_size))
        self.n_text, self.n_frozen = len(encoder.encoder.layer), encoder.frozen_layers
        self.reads_first = encoder.pooling == "cls"
        self.elements = LayerSize(layers[0].linear1.in_features, layers[0].linear1.out_features)
        self.n_interaction = len(layers)
        fusion = network.numerical_fusion
        self.fuses_by_layer = isinstance(fusion, NumericalFusion)
        self.dense = sum(p.numel() for p in _matrices(fusion.scalar_embedder))
        if isinstance(fusion, SixNumberFusion) and fusion.periodic is not None:
            self.dense += fusion.periodic.frequencies.numel()
        self.cls_head, self.reg_head = (
            sum(p.numel() for p in _matrices(head)) for head in (network.cls_head, network.reg_head)
        )
        self.text_passes = _passes(*encoder.encoder.layer[self.n_frozen :])
        body = _passes(network.numerical_fusion, network.tabular_encoder)
        self.body_passes = max(body, CROSSED if self.n_frozen < self.n_text else FROZEN)

    def of(self, batch: TableBatch, *, remembered: bool) -> float:
        """Return the operations of a step; those of frozen layers are left out where their output is remembered."""
        rows, elements = batch.index.shape
        cells, squares = rows * elements, rows * elements**2
        size = self.elements
        forward = 2 * cells * self.dense + (size.flops(2 * cells, 4 * cells) if self.fuses_by_layer else 0)
        forward += (self.n_interaction - 1) * size.flops(cells, squares)
        asking = rows * batch.n_targets
        forward += size.flops_of_some(asking, cells, asking * elements)
        head = self.reg_head if batch.n_targets == 1 else self.cls_head
        return self.body_passes * forward + TRAINED * 2 * asking * head + self._text(batch, remembered)

    def _text(self, batch: TableBatch, remembered: bool) -> float:
        n_strings, n_tokens = len(batch.lengths), len(batch.token_ids)
        if self.n_frozen >= self.n_text:  # every string's vector is remembered
            return 0.0
        whole = self.text.flops(n_tokens, batch.n_pairs)
        last = self.text.flops_of_some(n_strings, n_tokens, n_tokens) if self.reads_first else whole
        frozen = 0.0 if remembered else self.n_frozen * whole
        trained = self.text_passes * ((self.n_text - self.n_frozen - 1) * whole + last)
        if not self.n_frozen:
            return trained
        # What the lowest trained layer reads needs no gradient.
        only = self.reads_first and self.n_frozen == self.n_text - 1
        return frozen + trained - 2 * self.text.width**2 * (2 * n_tokens + (n_strings if only else n_tokens))


def _passes(*modules: nn.Module) -> int:
    trained = [name for own in modules for name, weight in own.named_parameters() if weight.requires_grad]
    if not trained:
        return FROZEN
    return CROSSED if all("lora_" in name for name in trained) else TRAINED


def _matrices(module: nn.Module) -> list[nn.Parameter]:
    return [p for p in module.parameters() if p.ndim >= 2]
