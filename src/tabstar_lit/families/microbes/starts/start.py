"""What a network begins a training with, where training samples tell something without any training."""

from __future__ import annotations

import logging

import torch

from tabstar_lit.arrays import Array
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.module import Samples
from tabstar_lit.families.microbes.networks.asv_encoder import one_hot
from tabstar_lit.families.microbes.networks.lineages import LineagePooling
from tabstar_lit.families.microbes.networks.sequence_encoder import EncoderNetwork, SequenceEncoder
from tabstar_lit.families.microbes.networks.sequence_predictor import SequencePredictor
from tabstar_lit.families.microbes.starts.clades import common, find_clades, half_spaces
from tabstar_lit.families.microbes.starts.gathered import Gathered, gather
from tabstar_lit.families.microbes.starts.reads import fit_reads
from tabstar_lit.families.microbes.training_config import MicrobesModel

log = logging.getLogger(__name__)


def start(
    network: EncoderNetwork | SequencePredictor,
    config: MicrobesModel,
    facts: StudyFacts,
    samples: Samples,
    targets: Array,
) -> None:
    """Give a network the lineages and the weights of reads that its configuration takes from training samples.

    An encoder that is loaded from elsewhere brings its lineages along.

    Parameters
    ----------
    network : EncoderNetwork or SequencePredictor
        What begins.
    config : MicrobesModel
        The ``model_config``.
    facts : StudyFacts
        Says which samples are for training.
    samples : callable
        Gives every sample.
    targets : NDArray
        Of the training samples, ``[N, K]`` values on the scale they are learned on or ``[N]`` classes.
    """
    linkage = config.architecture_config.lineage_start == "linkage" and not _loads_base(config)
    wide = network.wide if isinstance(network, SequencePredictor) else None
    fitted = wide is not None and wide.bias is not None
    if linkage:
        start_lineages(network.base, gather(samples(), facts.train_rows))
    if wide is not None and fitted:
        n_classes = len(facts.classes) if facts.kind == "classification" else 0
        fit_reads(wide, samples(), facts.train_rows, targets, n_classes=n_classes)


def start_lineages(base: SequenceEncoder, training: Gathered) -> None:
    """Let lineages begin as clades of the training sequences."""
    asvs, pooling = base.asv_encoder, base.pooling
    if asvs.lineages is None or not isinstance(pooling, LineagePooling):
        return
    presence = training.presence
    kept = common(presence)
    sequences = training.sequences[kept]
    clades = find_clades(sequences, presence[:, kept], len(asvs.lineages.thresholds))
    letters = one_hot(torch.from_numpy(sequences)).flatten(1).float().numpy()
    points, added = half_spaces(letters, clades.members)
    asvs.lineages.take(*(torch.from_numpy(own).float() for own in (points, added)))
    pooling.take(torch.from_numpy(clades.lengths).float())
    log.info("Lineages: %d clades of %d training sequences to begin with", len(added), len(sequences))


def _loads_base(config: MicrobesModel) -> bool:
    return any(path == "base" or path.startswith("base.") for path in config.load_modules)
