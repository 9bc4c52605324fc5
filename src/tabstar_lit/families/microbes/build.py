"""From a configuration and the facts of a study to networks and what trains them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from tabstar_lit.arrays import Array
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.microbes.architecture import MicrobesArchitecture
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.module import MicrobesModule, Samples
from tabstar_lit.families.microbes.networks.sequence_encoder import EncoderNetwork, SequenceEncoder
from tabstar_lit.families.microbes.networks.sequence_predictor import SequencePredictor
from tabstar_lit.families.microbes.starts.start import start
from tabstar_lit.families.microbes.target_losses import TargetLoss, class_weights
from tabstar_lit.families.microbes.targets import TargetTransform
from tabstar_lit.families.microbes.training_config import MicrobesModel, Role

ARCHITECTURE = "model_config.architecture_config"


def build_network(role: Role, config: MicrobesArchitecture, facts: StudyFacts) -> EncoderNetwork | SequencePredictor:
    """Return the network of a role, for the sizes of a study.

    Raises
    ------
    ConfigError
        It is to learn or to read what the study does not have.
    """
    base = SequenceEncoder(config, max_bases=facts.max_bases, n_taxa=len(facts.taxa))
    if role == "encoder":
        return EncoderNetwork(base)
    _require_targets(config, facts)
    return SequencePredictor(base, config, facts)


def build_module(config: MicrobesModel, facts: StudyFacts, *, samples: Samples | None = None) -> MicrobesModule:
    """Return what trains an encoder or a predictor.

    Parameters
    ----------
    config : MicrobesModel
        The ``model_config``.
    facts : StudyFacts
        Of the study.
    samples : callable or None
        Gives every sample, for what a frozen encoder says of them and for what a network begins with; None: it
        begins at random.

    Raises
    ------
    ConfigError
        The study does not have what is to be learned.
    DataError
        A target cannot be transformed as asked for.
    """
    network = build_network(config.role, config.architecture_config, facts)
    _require_learnable(config, facts)
    column = _scaling_column(config, facts)
    scales = _scales(config, facts, column)
    if samples is not None:
        start(network, config, facts, samples, _learned_targets(facts, scales, column))
    payload = {
        "family": "microbes",
        "role": config.role,
        "architecture_config": config.architecture_config.model_dump(mode="json"),
        "facts": facts.to_plain(),
        "scaled_by": column,
        "scales": {name: scale.to_plain() for name, scale in scales.items()},
    }
    loss = None
    if config.role == "predictor":
        training, quantiles = config.training_config, config.architecture_config.predictor.quantiles
        weights = None
        if training.class_weights and facts.kind == "classification":
            weights = class_weights(torch.from_numpy(facts.train_targets), len(facts.classes))
        loss = TargetLoss(training, str(facts.kind), quantiles, weights)
    return MicrobesModule(network, config, payload, facts=facts, scales=scales, target_loss=loss, samples=samples)


def restore_network(payload: Mapping[str, Any], config: MicrobesArchitecture) -> tuple[nn.Module, StudyFacts]:
    """Return the network of a checkpoint, with weights still to be loaded, and the facts it was built for."""
    facts = StudyFacts.from_plain(payload["facts"])
    return build_network(payload["role"], config, facts), facts


def _scales(config: MicrobesModel, facts: StudyFacts, column: int | None) -> dict[str, TargetTransform]:
    scales = {}
    if config.role == "predictor" and facts.kind == "regression":
        codes = None if column is None else facts.train_categories[:, column]
        scales["target"] = TargetTransform.fit(
            config.training_config.target_transform,
            facts.train_targets,
            codes,
            names=facts.targets,
            n_codes=0 if column is None else list(facts.categories.values())[column],
        )
    if config.architecture_config.encoder_type in ("faith_pd", "combined"):
        scales["faith_pd"] = TargetTransform.fit("z_score", facts.train_faith_pd[:, None], names=["Faith's PD"])
    return scales


def _learned_targets(facts: StudyFacts, scales: Mapping[str, TargetTransform], column: int | None) -> Array:
    """Return the targets of training samples on the scale that they are learned on."""
    if "target" not in scales:
        return facts.train_targets
    codes = None if column is None else torch.from_numpy(facts.train_categories[:, column])
    return np.asarray(scales["target"](torch.from_numpy(facts.train_targets), codes))


def _scaling_column(config: MicrobesModel, facts: StudyFacts) -> int | None:
    """Return the number of the column of categories that a target is scaled by."""
    training = config.training_config
    if config.role == "encoder" or training.target_transform != "category_z_score":
        return None
    return _column(training.target_category, facts, "model_config.training_config.target_category")


def _column(name: str | None, facts: StudyFacts, place: str) -> int:
    names = list(facts.categories)
    if name in names:
        return names.index(name)
    known = ", ".join(names) or "none: name some in dataset_config.categories"
    raise ConfigError(f"{place}: {name!r} is no column of categories. There are {known}.")


def _require_targets(config: MicrobesArchitecture, facts: StudyFacts) -> None:
    own = config.predictor
    if facts.kind is None:
        raise ConfigError(
            "model_config.role: a predictor needs a target, and dataset_config names none. Set dataset_config.target."
        )
    if own.category_scale is not None:
        _column(own.category_scale, facts, f"{ARCHITECTURE}.predictor.category_scale")
    if own.fusion not in ("none", "perceiver") and not facts.categories:
        raise ConfigError(
            f"{ARCHITECTURE}.predictor.fusion: {own.fusion} joins categories, and dataset_config.categories names "
            "none. Name some, or set fusion: none."
        )
    if facts.kind == "classification" and (own.quantiles or own.bound != "none"):
        raise ConfigError(
            f"{ARCHITECTURE}.predictor: quantiles and bound are of numbers, and the target is one of classes. Leave "
            "them out."
        )


def _require_learnable(config: MicrobesModel, facts: StudyFacts) -> None:
    terms = config.loss_terms()
    if "unifrac" in terms and facts.distances is None:
        raise ConfigError(
            f"{ARCHITECTURE}.encoder_type: {config.architecture_config.encoder_type} learns UniFrac distances, and the "
            "study has none. Convert it with a tree or with distances, or take another encoder_type."
        )
    if "taxonomy" in terms and not facts.taxa:
        raise ConfigError(
            f"{ARCHITECTURE}.encoder_type: {config.architecture_config.encoder_type} learns shares of taxa, and the "
            "study has no taxonomy. Convert it with one, or take another encoder_type."
        )
