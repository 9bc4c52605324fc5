"""Training of one expert, or of a mixture of them, on rows of tokens."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from tabstar_lit.config.schema import ParameterGroup
from tabstar_lit.data.tokenizers import tokenizer_from_payload
from tabstar_lit.engine.module import StepOutput, TrainingModule
from tabstar_lit.engine.optim.optimizers import has_weight_decay, orthogonalises
from tabstar_lit.engine.weights.patterns import matches
from tabstar_lit.errors import CheckpointError, ConfigError
from tabstar_lit.families.experts.architecture import ExpertsModel
from tabstar_lit.families.experts.earlier import Borrower, borrow
from tabstar_lit.families.experts.flops import batch_flops, step_cost
from tabstar_lit.families.experts.networks.build import build
from tabstar_lit.families.experts.networks.objectives import OBJECTIVES
from tabstar_lit.families.experts.text.batch import TokenBatch
from tabstar_lit.families.experts.text.sums import row_sums
from tabstar_lit.nn.flops import may_have_peak

log = logging.getLogger(__name__)

NOT_DECAYED = ("*embedding.weight", "*.log_rates", "*.skip")
"""Parameters without weight decay, beside norms and biases, and never orthogonalised: embeddings, and the recurrence of
a state space."""

RATES = {"adam": "lr", "adamw": "lr", "nadam": "lr", "radam": "lr", "muon": "adamw_lr"}
"""Optimizers whose learning rate follows ``size`` where it is left out, and what they call it."""


class ExpertsModule(TrainingModule):
    """Train the network of a role.

    Parameters
    ----------
    config : ExpertsModel
        The ``model_config``.
    vocabulary : int
        Number of tokens ``V``.
    context_length : int
        Tokens of the longest row.
    payload : Mapping
        What prediction needs beside the network: family and tokenizer.
    read : Mapping of str to str
        Paths of the trained experts that the role builds on, see :meth:`ExpertsModel.reads`.
    """

    unit = "tokens"

    def __init__(
        self,
        config: ExpertsModel,
        *,
        vocabulary: int,
        context_length: int,
        payload: Mapping[str, Any],
        read: Mapping[str, str | None] | None = None,
    ) -> None:
        if config.role is None:
            raise ConfigError("model_config.role: this stage does not say what it trains.")
        architecture = config.architecture_config.resolved()
        network = build(config.role, architecture, vocabulary)
        borrower = Borrower(architecture, vocabulary, payload.get("tokenizer"))
        for line in borrow(network, config.role, read or {}, borrower):
            log.info("%s", line)
        kept = {
            **payload,
            "role": config.role,
            "vocabulary": vocabulary,
            "context_length": context_length,
            "architecture_config": architecture.model_dump(mode="json"),
        }
        super().__init__(network, with_defaults(config, network), kept)
        self.options, self.context_length = config.training_config, context_length
        self.objective, self.cost = OBJECTIVES[config.role], step_cost(network)

    def accept(self, payload: Mapping[str, Any]) -> None:
        """Refuse a checkpoint whose tokens mean something else, which its weights would fit all the same."""
        theirs, ours = payload.get("tokenizer"), self.payload.get("tokenizer")
        if theirs != ours:
            raise CheckpointError(
                f"The checkpoint was trained with another tokenizer than that of the corpus: {_told(theirs)}, and "
                f"here {_told(ours)}. Name the corpus it was trained on, or make one with its tokenizer: tabstar_lit "
                "convert text ROOT --tokenizer NAME -o CORPUS.h5"
            )

    def compute(self, batch: TokenBatch) -> StepOutput:
        """Return the mean loss over the targets of a batch, and in evaluation the sums of its rows."""
        measured = self.objective(self.network, batch, self.options)
        columns = dict(measured.columns)
        if not self.training and measured.nats is not None:
            columns |= row_sums(measured.nats, batch, self.context_length)
        flops = batch_flops(self.cost, batch) if self.training and may_have_peak(batch.tokens) else None
        return StepOutput(measured.loss, batch.source, batch.n_targets, measured.terms, columns, flops=flops)


def with_defaults(config: ExpertsModel, network: nn.Module) -> ExpertsModel:
    """Return the configuration with the learning rate of its size, and without decay of what is never decayed."""
    training = config.training_config
    optimizer, groups = training.optimizer, training.parameter_groups
    rate = RATES.get(optimizer.optimizer_name.lower())
    if rate is not None and rate not in optimizer.optimizer_params:
        params = {**optimizer.optimizer_params, rate: config.learning_rate}
        optimizer = optimizer.model_copy(update={"optimizer_params": params})
    spared = groups.exclude_from_decay != "none" and has_weight_decay(optimizer)
    if spared or orthogonalises(optimizer):
        names = [name for name, _ in network.named_parameters()]
        added = [
            ParameterGroup(pattern=pattern, weight_decay=0.0 if spared else None, muon=False)
            for pattern in NOT_DECAYED
            if any(matches(pattern, name) for name in names)
        ]
        groups = groups.model_copy(update={"groups": [*groups.groups, *added]})
    changed = training.model_copy(update={"optimizer": optimizer, "parameter_groups": groups})
    return config.model_copy(update={"training_config": changed})


def _told(tokenizer: Any) -> str:
    """Return a few words about the payload of a tokenizer."""
    if not isinstance(tokenizer, Mapping):
        return "none that is known"
    own = tokenizer_from_payload(tokenizer)
    return f"{tokenizer['kind']} of {own.vocabulary_size} tokens (fingerprint {own.fingerprint[:12]})"
