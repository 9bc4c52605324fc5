"""A model of events as one module from plain tensors to plain tensors: what is exported as a graph."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from tabstar_lit.data.scalers import LOGIT_EPS
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.batch import Features, Objects
from tabstar_lit.families.hep.deployment.classifier import Classifier
from tabstar_lit.families.hep.deployment.event_model import EventModel
from tabstar_lit.families.hep.preparation.recipes import BlockRecipe, NumberRecipe

IN_GRAPH = ("minmax", "maxabs", "standard", "robust", "logit", "standard_logit")
"""Scalers that a graph can compute: affine maps, and logarithms between them."""


class ExportedEvents(nn.Module, ABC):
    """Tensors in, tensors out.

    Parameters
    ----------
    model : EventModel
        The network, and the preparation of its events.
    raw : bool
        Take numbers in the units of the event file, NaN for missing, and scale them here; else scaled ones.

    Attributes
    ----------
    input_names : tuple of str
        ``numerical`` ``[B, F]``, ``categorical`` ``[B, C]``, and for each type of objects ``<type>_numerical``
        ``[B, P, F]``, ``<type>_categorical`` ``[B, P, C]``, ``<type>_mask`` ``[B, P]`` and ``<type>_momenta``
        ``[B, P, 4]``; those that would be empty are left out.
    output_names : tuple of str
        Of what :meth:`answer` returns.
    """

    output_names: ClassVar[tuple[str, ...]]

    def __init__(self, model: EventModel, *, raw: bool) -> None:
        super().__init__()
        self.network = model.network
        own = model.preprocessor
        self.object_types = tuple(own.objects)
        self.scale = nn.ModuleDict()
        names = list(_block_inputs("", own.events))
        if raw and own.events.numbers:
            self.scale["events"] = BlockScaling(own.events, "")
        for name, recipe in own.objects.items():
            names += [*_block_inputs(f"{name}_", recipe.features), f"{name}_mask"]
            names += [f"{name}_momenta"] if recipe.momentum else []
            if raw and recipe.features.numbers:
                self.scale[f"objects_{name}"] = BlockScaling(recipe.features, f"{name}.")
        self.input_names = tuple(names)

    @abstractmethod
    def answer(self, features: Features) -> tuple[Tensor, ...]:
        """Return the outputs, each ``[B, ...]``."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs for inputs in the order of their names."""
        given = dict(zip(self.input_names, tensors, strict=True))
        numbers, codes = self._block(given, "", "events", tensors[0].shape[:1])
        objects = {}
        for name in self.object_types:
            mask = given[f"{name}_mask"]
            own, own_codes = self._block(given, f"{name}_", f"objects_{name}", mask.shape)
            own = torch.where(mask[..., None], own, torch.zeros_like(own))
            momenta = given.get(f"{name}_momenta", mask.new_zeros((*mask.shape, 0), dtype=torch.float32))
            objects[name] = Objects(own, own_codes, mask, momenta)
        return self.answer(Features(numbers, codes, objects))

    def _block(
        self, given: Mapping[str, Tensor], prefix: str, scale: str, shape: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        """Return numbers and codes of the events, or of objects; without columns where there are none."""
        some = next(iter(given.values()))
        numbers = given.get(f"{prefix}numerical", some.new_zeros((*shape, 0), dtype=torch.float32))
        codes = given.get(f"{prefix}categorical", some.new_zeros((*shape, 0), dtype=torch.int64))
        return (self.scale[scale](numbers) if scale in self.scale else numbers), codes


class ExportedClassifier(ExportedEvents):
    """Logits ``[B, K]`` and the probability of each class ``[B, C]``."""

    output_names = ("logits", "probabilities")

    def __init__(self, classifier: Classifier, *, raw: bool) -> None:
        super().__init__(classifier, raw=raw)
        self.probabilities = classifier.probabilities

    def answer(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities."""
        logits: Tensor = self.network(features)
        return logits, self.probabilities(logits)


class BlockScaling(nn.Module):
    """Numbers in the file's units ``[..., F]`` to scaled ones with indicators of missing ones behind ``[..., F + I]``.

    In double precision up to the scaled value, as in training: ``x -> clip(a x + b)``, for the logits followed by
    ``log(y / (1 - y))`` of ``y`` kept ``eps`` away from 0 and 1, and another ``a y + b``.

    Parameters
    ----------
    recipe : BlockRecipe
        How the features were prepared.
    prefix : str
        Stands before a feature's name in messages.

    Raises
    ------
    ConfigError
        A feature is scaled by something that has no graph.
    """

    def __init__(self, recipe: BlockRecipe, prefix: str) -> None:
        super().__init__()
        chains = [chain_of(number, f"{prefix}{number.name}") for number in recipe.numbers]
        for field in Chain._fields:
            values = [getattr(chain, field) for chain in chains]
            self.register_buffer(field, torch.tensor(values, dtype=torch.bool if field == "logit" else torch.float64))
        self.register_buffer("fill", torch.tensor([number.fill for number in recipe.numbers], dtype=torch.float64))
        self.indicated = [place for place, number in enumerate(recipe.numbers) if number.indicator]

    def forward(self, numbers: Tensor) -> Tensor:
        """Return the scaled numbers, float32."""
        own = self.get_buffer
        missing = numbers.isnan()
        known = torch.where(missing, torch.zeros_like(numbers), numbers).double()
        scaled = torch.minimum(torch.maximum(known * own("slope") + own("offset"), own("low")), own("high"))
        share = torch.minimum(torch.maximum(scaled, own("eps")), 1 - own("eps"))
        scaled = torch.where(own("logit"), torch.log(share / (1 - share)), scaled)
        scaled = scaled * own("last_slope") + own("last_offset")
        scaled = torch.where(missing, own("fill"), scaled).float()
        return torch.cat([scaled, missing[..., self.indicated].float()], dim=-1) if self.indicated else scaled


class Chain(NamedTuple):
    """A scaler as the numbers :class:`BlockScaling` computes with."""

    slope: float = 1.0
    offset: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    logit: bool = False
    eps: float = 0.5
    last_slope: float = 1.0
    last_offset: float = 0.0


def chain_of(number: NumberRecipe, label: str) -> Chain:
    """Return the scaler of a feature as numbers.

    Raises
    ------
    ConfigError
        It is none of :data:`IN_GRAPH`; the message calls the feature ``label``.
    """
    if number.scaler is None:
        return Chain()
    plain = number.scaler.to_plain()
    kind, params, learned = plain["type"], plain["params"], plain["learned"]
    if kind not in IN_GRAPH:
        raise ConfigError(
            f"feature '{label}' is scaled by '{kind}', which cannot be put into the graph. Export without --raw and "
            f"scale it before, or train with feature_scaling.per_feature: {{{label}: standard}}. Scalers that can be: "
            f"{', '.join(IN_GRAPH)}."
        )
    if kind not in ("logit", "standard_logit"):
        slope, offset = _affine(kind, params, learned[0])
        low, high = params.get("feature_range", (0.0, 1.0)) if kind == "minmax" else (-1.0, 1.0)
        bounds = (float(low), float(high)) if params.get("clip", False) else (-math.inf, math.inf)
        return Chain(slope, offset, *bounds)
    slope, offset = _affine("minmax", params, learned[0])
    last = _affine("standard", {}, learned[1]) if kind == "standard_logit" else (1.0, 0.0)
    return Chain(slope, offset, logit=True, eps=params.get("eps", LOGIT_EPS), last_slope=last[0], last_offset=last[1])


def _affine(kind: str, params: Mapping[str, Any], learned: Mapping[str, Any]) -> tuple[float, float]:
    """Return ``a, b`` of a step of scikit-learn that is ``a x + b``."""
    scale = learned["scale_"][0] if learned.get("scale_") is not None else 1.0
    if kind == "minmax":
        return scale, learned["min_"][0]
    centre = learned.get({"standard": "mean_", "robust": "center_"}.get(kind, ""))
    moved = centre is not None and params.get("with_mean", True)  # fitted, but not used, where with_mean is false
    return 1.0 / scale, -centre[0] / scale if moved and centre is not None else 0.0


def _block_inputs(prefix: str, recipe: BlockRecipe) -> Iterator[str]:
    if recipe.numbers:
        yield f"{prefix}numerical"
    if recipe.categories:
        yield f"{prefix}categorical"
