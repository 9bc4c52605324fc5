"""Training of encoders and predictors: named terms, of which only those that are active make the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tabstar_lit.engine.module import StepOutput, TrainingModule
from tabstar_lit.families.microbes.distances import unifrac_of_all
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.flops import StepFlops
from tabstar_lit.families.microbes.frozen import FrozenReads
from tabstar_lit.families.microbes.networks.masks import hide_bases
from tabstar_lit.families.microbes.networks.sequence_encoder import Encoded, EncoderNetwork
from tabstar_lit.families.microbes.networks.sequence_predictor import Predicted, SequencePredictor
from tabstar_lit.families.microbes.study.batch import SampleBatch
from tabstar_lit.families.microbes.target_losses import TargetLoss
from tabstar_lit.families.microbes.targets import TargetTransform
from tabstar_lit.families.microbes.training_config import MicrobesModel
from tabstar_lit.nn.flops import Number, may_have_peak

Samples = Callable[[], Iterable[SampleBatch]]
"""Gives every sample of the study in one fixed order, in batches."""


class MicrobesModule(TrainingModule):
    """Train an encoder by itself, or a predictor on it.

    Parameters
    ----------
    network : EncoderNetwork or SequencePredictor
        What ``config.role`` says.
    config : MicrobesModel
        The ``model_config``.
    payload : Mapping
        What prediction needs beside the weights.
    facts : StudyFacts
        Sizes, and distances between samples of different processes.
    scales : Mapping of str to TargetTransform
        ``target`` and ``faith_pd``, where these are learned.
    target_loss : TargetLoss or None
        Of a predictor.
    samples : callable or None
        Every sample, for what a frozen encoder says of them; None: it is asked in every step.
    """

    leaves_parameters_idle = True  # a predictor does not read the encoder's embedding

    network: EncoderNetwork | SequencePredictor
    config: MicrobesModel

    def __init__(
        self,
        network: EncoderNetwork | SequencePredictor,
        config: MicrobesModel,
        payload: Mapping[str, Any],
        *,
        facts: StudyFacts,
        scales: Mapping[str, TargetTransform],
        target_loss: TargetLoss | None = None,
        samples: Samples | None = None,
    ) -> None:
        if config.frozen:
            config = config.model_copy(update={"freeze": (*config.freeze, "base")})
        super().__init__(network, config, payload)
        self.facts = facts
        self.scales = nn.ModuleDict(scales)
        self.target_loss = target_loss
        self.weights = {term: getattr(config.training_config.loss_weights, term) for term in config.loss_terms()}
        self.scale = config.architecture_config.distance_scale
        self._counted: StepFlops | None = None
        self._reads: FrozenReads | None = None
        if config.frozen and facts.fixed and samples is not None and isinstance(network, SequencePredictor):
            self._reads = FrozenReads(network, samples)

    def compute(self, batch: SampleBatch) -> StepOutput:
        """Return the loss of a batch, its terms, and the columns of the tracker."""
        terms: dict[str, Tensor] = {}
        columns: dict[str, Tensor] = {"rows": batch.rows, "groups": batch.groups}
        hidden = self._hidden(batch)
        if isinstance(self.network, SequencePredictor):
            predicted = self._predict(self.network, batch, hidden)
            encoded = predicted.encoded
            terms |= self._target_terms(predicted, batch)
            columns |= self._target_columns(predicted, batch)
        else:
            encoded = self._shown(self.network, batch, hidden)
        if encoded is not None:
            terms |= self._encoder_terms(encoded, batch)
            columns |= self._encoder_columns(encoded, batch)
            if hidden is not None:
                letters = self._letters(encoded, batch, hidden)
                terms["nucleotide"] = letter_loss(letters, batch.sequences, hidden)
                columns |= {"letter_right": letters.argmax(-1) == batch.sequences, "letter_hidden": hidden}
        terms = {name: terms[name] for name in self.weights if name in terms}
        loss = torch.stack([weight * terms[name] for name, weight in self.weights.items() if name in terms]).sum()
        if not self.training:
            return StepOutput(loss, batch.source, len(batch), terms, columns)
        flops = self._flops(batch, letters=hidden is not None) if may_have_peak(batch.sequences) else None
        return StepOutput(loss, batch.source, len(batch), terms, flops=flops)

    def _flops(self, batch: SampleBatch, *, letters: bool) -> Number:
        if self._counted is None:
            self._counted = StepFlops(self.network, frozen=self.config.frozen)
        return self._counted.of(batch, letters=letters)

    # -- what is shown to the network ---------------------------------------------------------------------------------

    def _hidden(self, batch: SampleBatch) -> Tensor | None:
        """Choose bases to hide; in validation the same ones each time."""
        if "nucleotide" not in self.weights:
            return None
        return hide_bases(batch.sequences, self.config.training_config.masking, fixed=not self.training)

    def _predict(self, predictor: SequencePredictor, batch: SampleBatch, hidden: Tensor | None) -> Predicted:
        if self._reads is not None:
            return predictor.predict(self._reads.of(batch), batch)
        if self.config.frozen:
            with torch.no_grad():
                read = predictor.read(batch)
            return predictor.predict(read, batch)
        predicted: Predicted = self._shown(predictor, batch, hidden)
        return predicted

    def _shown(self, network: nn.Module, batch: SampleBatch, hidden: Tensor | None) -> Any:
        """Show the samples to the network, in training without what is hidden."""
        if not self.training or hidden is None:
            return network(batch)
        return network(batch, hidden, letters=True)

    # -- terms --------------------------------------------------------------------------------------------------------

    def _encoder_terms(self, encoded: Encoded, batch: SampleBatch) -> dict[str, Tensor]:
        terms = {}
        if "unifrac" in self.weights:
            terms["unifrac"] = unifrac_of_all(
                encoded.embedding, batch.rows, batch.distances, self.facts.distances, self.scale
            )
        if "ordination" in self.weights:
            scale = self.config.architecture_config.unifrac_scale
            terms["ordination"] = unifrac_of_all(
                encoded.vector, batch.rows, batch.distances, self.facts.distances, scale
            )
        if "faith_pd" in self.weights and encoded.faith_pd is not None:
            true = self._scale("faith_pd")(batch.faith_pd[:, None])[:, 0]
            terms["faith_pd"] = known_mean((encoded.faith_pd - true.nan_to_num()).square(), ~true.isnan())
        if "taxonomy" in self.weights and encoded.taxa is not None and batch.taxonomy is not None:
            terms["taxonomy"] = share_loss(encoded.taxa, batch.taxonomy)
        return terms

    def _letters(self, encoded: Encoded, batch: SampleBatch, hidden: Tensor) -> Tensor:
        """Return the scores of letters; validation looks at whole sequences, and once more without what is hidden."""
        if encoded.letters is not None:
            return encoded.letters
        return cast("Tensor", self.network.base.asv_encoder(batch.sequences, hidden, letters=True).letters)

    def _target_terms(self, predicted: Predicted, batch: SampleBatch) -> dict[str, Tensor]:
        terms = {}
        if "target" in self.weights and self.target_loss is not None:
            terms["target"] = self.target_loss(predicted.target, self._true(batch))
        if "count" in self.weights and predicted.counts is not None:
            true = scaled_counts(batch.counts, self.facts.train_counts_max)
            terms["count"] = known_mean((predicted.counts - true).square(), predicted.mask)
        return terms

    def _true(self, batch: SampleBatch) -> Tensor:
        """Return the targets on the scale they are learned on."""
        if "target" not in self.scales:
            return batch.targets
        true: Tensor = self._scale("target")(batch.targets, self._codes(batch))
        return true

    def _scale(self, name: str) -> TargetTransform:
        return cast("TargetTransform", self.scales[name])

    def _codes(self, batch: SampleBatch) -> Tensor | None:
        """Return the categories that targets are scaled by."""
        column = self.payload.get("scaled_by")
        return None if column is None else batch.categories[:, column]

    # -- columns ------------------------------------------------------------------------------------------------------

    def _encoder_columns(self, encoded: Encoded, batch: SampleBatch) -> dict[str, Tensor]:
        columns = {"embedding": encoded.embedding}
        if encoded.faith_pd is not None:
            columns["faith_pd"] = self._scale("faith_pd").invert(encoded.faith_pd[:, None])[:, 0]
            columns["true_faith_pd"] = batch.faith_pd
        if encoded.taxa is not None and batch.taxonomy is not None:
            columns |= {"taxa": encoded.taxa.softmax(-1), "true_taxa": batch.taxonomy}
        return columns

    def _target_columns(self, predicted: Predicted, batch: SampleBatch) -> dict[str, Tensor]:
        """Return predictions on the target's own scale, ``[B, K]`` or ``[B, K, Q]``: values, or class probabilities."""
        target = predicted.target.detach().float()
        if "target" in self.scales:
            own = self._scale("target").invert(target, self._codes(batch))
        else:
            own = target.softmax(-1)
        return {"predicted": own, "true": batch.targets}


def known_mean(errors: Tensor, known: Tensor) -> Tensor:
    """Mean of ``errors`` where they are ``known``; 0 where none is."""
    return torch.where(known, errors, 0.0).sum() / known.sum().clamp(min=1)


def letter_loss(scores: Tensor, sequences: Tensor, hidden: Tensor) -> Tensor:
    """Cross-entropy of the hidden letters: scores ``[U, L, 7]``, letters ``[U, L]`` and where they are hidden."""
    entropy = functional.cross_entropy(scores.flatten(0, 1), sequences.flatten(), reduction="none")
    return known_mean(entropy.view_as(hidden), hidden)


def share_loss(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy of shares ``[B, T]`` that sum to 1, and of logits; samples without shares (NaN) are left out."""
    entropy = -(shares.nan_to_num() * logits.log_softmax(-1)).sum(-1)
    return known_mean(entropy, ~shares.isnan().any(-1))


def scaled_counts(counts: Tensor, largest: float) -> Tensor:
    """Return ``ln(1 + count)`` in units of that of the largest count of training, at most 1."""
    return (counts.log1p() / math.log1p(largest)).clamp(max=1.0)
