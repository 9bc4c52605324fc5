"""Training of a generator of antibodies: cross-entropy of the next residue, and how much its conditions matter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tabstar_lit.engine.module import StepOutput, TrainingModule
from tabstar_lit.families.antibody import likelihood
from tabstar_lit.families.antibody.architecture import AntibodyModel
from tabstar_lit.families.antibody.flops import Count, Read, step_flops
from tabstar_lit.families.antibody.hiding import hidden_framework, told
from tabstar_lit.families.antibody.likelihood import Partners, TokenLosses, region_sums, token_losses
from tabstar_lit.families.antibody.networks.source import Asked, Writer
from tabstar_lit.families.antibody.pairs.batch import PairBatch
from tabstar_lit.families.antibody.pairs.tokens import PAD
from tabstar_lit.nn.flops import Number, may_have_peak

SOURCE = "pairs"
GERMLINE_CLASSES = 3
"""Of a token's germline: not known, germline, mutated."""


class AntibodyModule(TrainingModule):
    """Train a network to write the antibody of a pair.

    In training the loss is smoothed, conditions are left out at random and residues hidden, as ``training_config``
    says. In validation it is the plain mean negative log-likelihood of a token in nats, so its exponential is the
    perplexity; and each antibody is scored again with the antigen, and with the pKd, of another pair of its batch.

    Parameters
    ----------
    network : Writer
        The network.
    config : AntibodyModel
        The ``model_config``.
    payload : Mapping
        What prediction needs beside the weights, see :func:`kept`.
    """

    network: Writer
    config: AntibodyModel

    unit = "tokens"

    def __init__(self, network: Writer, config: AntibodyModel, payload: Mapping[str, Any]) -> None:
        super().__init__(network, config, payload)
        self.longest = int(payload["max_antibody"])
        self._count: Count | None = None

    def compute(self, batch: PairBatch) -> StepOutput:
        """Return the loss of a batch and, in validation, the columns that :meth:`_columns` tells of."""
        return self._trained(batch) if self.training else self._evaluated(batch)

    # -- training -----------------------------------------------------------------------------------------------------

    def _trained(self, batch: PairBatch) -> StepOutput:
        training = self.config.training_config
        asked, targets = told(batch, training)
        source = self.network.encode(asked)
        tokens = hidden_framework(batch, training.framework_dropout)[:, :-1]
        losses = token_losses(self.network.decode(source, tokens), targets)
        loss = likelihood.smoothed(losses, training.label_smoothing)
        terms = {"nll": losses.nll.sum() / losses.there.sum().clamp(min=1.0)}
        if training.contrastive is not None:
            partners = likelihood.other_antigens(asked.antigens)
            other = token_losses(self._logits(asked, partners, tokens), targets)
            terms["contrastive"] = likelihood.contrast(losses, other, partners.found, training.contrastive.temperature)
            loss = loss + training.contrastive.weight * terms["contrastive"]
        flops = self._flops(batch) if may_have_peak(batch.antibodies) else None
        return StepOutput(loss, SOURCE, batch.n_targets, terms, flops=flops)

    def _flops(self, batch: PairBatch) -> Number:
        if self._count is None:
            self._count = step_flops(self.network)
        antigens = 1 if self.config.training_config.contrastive is None else 2
        return antigens * self._count(Read.of(batch))

    def _logits(self, asked: Asked, partners: Partners, tokens: Tensor) -> Tensor:
        """Return the logits ``[B, T, V]`` with the antigens of others."""
        swapped = asked._replace(antigens=asked.antigens[partners.rows])
        logits: Tensor = self.network.decode(self.network.encode(swapped), tokens)
        return logits

    # -- validation ---------------------------------------------------------------------------------------------------

    def _evaluated(self, batch: PairBatch) -> StepOutput:
        asked, tokens = Asked(batch.antigens, batch.pkd), batch.antibodies[:, :-1]
        logits = self.network.decode(self.network.encode(asked), tokens)
        losses = token_losses(logits, batch.antibodies)
        loss = losses.nll.sum() / losses.there.sum().clamp(min=1.0)
        terms = {"nll": loss}
        antigens, pkds = likelihood.other_antigens(batch.antigens), likelihood.other_pkds(batch.pkd)
        strangers = token_losses(self._logits(asked, antigens, tokens), batch.antibodies)
        misled = self.network.encode(asked._replace(pkd=asked.pkd[pkds.rows]))
        misjudged = token_losses(self.network.decode(misled, tokens), batch.antibodies)
        if self.config.training_config.contrastive is not None:
            temperature = self.config.training_config.contrastive.temperature
            terms["contrastive"] = likelihood.contrast(losses, strangers, antigens.found, temperature)
        columns = {
            **self._columns(batch, losses),
            "predicted": self._predicted(logits, losses),
            **_shuffled("antigen", strangers, antigens, batch.regions),
            **_shuffled("pkd", misjudged, pkds, batch.regions),
        }
        return StepOutput(loss, SOURCE, batch.n_targets, terms, columns)

    def _columns(self, batch: PairBatch, losses: TokenLosses) -> dict[str, Tensor]:
        """Return sums over the tokens of each pair, END counted: all, by region, and by germline.

        ``nll`` and ``tokens`` ``[B]``; ``{nll,correct,count}_regions`` ``[B, R]``; the same ``_germline`` ``[B, 3]``;
        ``pkd`` and ``rows`` ``[B]``; ``predicted``, the likeliest tokens. With another antigen or pKd:
        ``nll_shuffled_{antigen,pkd}`` ``[B]``, NaN where the batch has no other, and their ``_regions`` ``[B, R]``.
        """
        parts = {"nll": losses.nll, "correct": losses.correct, "count": losses.there}
        germline = batch.germline[:, 1:] + 1
        by_region = {f"{name}_regions": region_sums(part, batch.regions) for name, part in parts.items()}
        by_germline = {
            f"{name}_germline": likelihood.by_class(part, germline, GERMLINE_CLASSES) for name, part in parts.items()
        }
        own = {"nll": losses.nll.sum(1), "tokens": losses.there.sum(1), "pkd": batch.pkd, "rows": batch.rows}
        return {**own, **by_region, **by_germline}

    def _predicted(self, logits: Tensor, losses: TokenLosses) -> Tensor:
        """Return the likeliest token at each place but the first, ``[B, max_antibody - 1]`` int8, PAD after the end."""
        likeliest = torch.where(losses.there > 0, logits.argmax(-1), PAD).to(torch.int8)
        return functional.pad(likeliest, (0, self.longest - 1 - likeliest.shape[1]))


def kept(config: AntibodyModel, network: Writer, data: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint keeps beside the weights: the network, what it was trained for, and ``data``'s own."""
    training, protein = config.training_config, getattr(network, "protein", None)
    return {
        **data,
        **({} if protein is None else {"protein": protein.payload()}),
        "family": "antibody",
        "architecture_config": config.architecture_config.model_dump(mode="json"),
        "trained_for": {
            "pkd_guidance": training.condition_dropout > 0 and config.architecture_config.conditioning != "none",
            "antigen_guidance": training.antigen_dropout > 0,
            "infilling": training.infilling > 0,
        },
    }


def _shuffled(what: str, losses: TokenLosses, partners: Partners, regions: Tensor) -> dict[str, Tensor]:
    """Return the likelihoods with the antigen or pKd of others."""
    total = torch.where(partners.found, losses.nll.sum(1), torch.nan)
    by_region = torch.where(partners.found[:, None], region_sums(losses.nll, regions), torch.nan)
    return {f"nll_shuffled_{what}": total, f"nll_shuffled_{what}_regions": by_region}
