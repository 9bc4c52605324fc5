"""Made-up events on which an exported graph is compared with the network it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Float32
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.hep.batch import Columns, Features, Objects
from tabstar_lit.families.hep.deployment.event_model import EventModel
from tabstar_lit.families.hep.deployment.export_graph import ExportedEvents, chain_of
from tabstar_lit.families.hep.events.schema import ColumnInfo
from tabstar_lit.families.hep.preparation.preprocess import ObjectRecipe
from tabstar_lit.families.hep.preparation.recipes import BlockRecipe, Place

BATCHES = (1, 2, 7)
TOLERANCE = 1e-5
SHARE_MISSING = 0.2


def require_equal(
    run: Callable[[Mapping[str, Tensor]], Mapping[str, Float32]],
    exported: ExportedEvents,
    model: EventModel,
    *,
    raw: bool,
) -> float:
    """Compare a graph with the network on batches of 1, 2 and 7 events, with objects and without any.

    Parameters
    ----------
    run : callable
        Inputs by name to outputs by name.
    exported : ExportedEvents
        What the graph was made of.
    model : EventModel
        The network and, for ``raw``, the preparation that the graph must repeat.
    raw : bool
        The graph takes numbers in the units of the event file.

    Returns
    -------
    float
        The largest difference of the last output: a probability, or a fake factor.

    Raises
    ------
    CheckpointError
        They differ by more than 1e-5, absolute, or relative to a number over 1.
    """
    worst = 0.0
    rng = np.random.default_rng(0)
    for n_events in BATCHES:
        for empty in (False, True) if model.preprocessor.objects else (False,):
            features, inputs = made_up(model, n_events, rng, raw=raw, empty=empty)
            with torch.no_grad():
                answer = exported.answer(features)
            got = run(inputs)
            for name, output in zip(exported.output_names, answer, strict=True):
                apart = np.abs(got[name] - output.numpy())
                if not np.allclose(got[name], output.numpy(), rtol=TOLERANCE, atol=TOLERANCE):
                    raise CheckpointError(
                        f"{model.path}: the exported graph gives other {name} than the network, by up to "
                        f"{apart.max():.3g} in {n_events} made-up events. Nothing was written."
                    )
            worst = max(worst, float(apart.max()))
    return worst


def made_up(
    model: EventModel, n_events: int, rng: np.random.Generator, *, raw: bool, empty: bool = False
) -> tuple[Features, dict[str, Tensor]]:
    """Return events as the network reads them, and the same as the inputs of a graph.

    Parameters
    ----------
    model : EventModel
        Says which features there are.
    n_events : int
        How many.
    rng : Generator
        Draws them.
    raw : bool
        Inputs of the graph are in the units of the event file.
    empty : bool, default False
        No event has an object.
    """
    own, columns = model.preprocessor, model.preprocessor.inputs
    block = _Block(own.events, columns.events, (n_events,), rng, raw=raw)
    inputs = dict(block.inputs(""))
    objects = {}
    for name, recipe in own.objects.items():
        counts = rng.integers(0, 1 if empty else recipe.slots + 1, n_events)
        mask = torch.from_numpy(np.arange(recipe.slots) < counts[:, None])
        objects_block = _Block(recipe.features, columns.objects[name], tuple(mask.shape), rng, raw=raw)
        objects_block.pad(mask)
        momenta = _momenta(recipe, mask, rng)
        objects[name] = Objects(objects_block.numbers, objects_block.codes, mask, momenta)
        inputs |= dict(objects_block.inputs(f"{name}_")) | {f"{name}_mask": mask}
        inputs |= {f"{name}_momenta": momenta} if recipe.momentum else {}
    return Features(block.numbers, block.codes, objects), inputs


class _Block:
    """Features of events or objects: ``numbers`` and ``codes`` for the network, ``given`` numbers for a graph."""

    def __init__(
        self, recipe: BlockRecipe, columns: Columns, shape: tuple[int, ...], rng: np.random.Generator, *, raw: bool
    ) -> None:
        n = int(np.prod(shape))
        codes = [rng.integers(0, cardinality, n) for cardinality in columns.cardinalities]
        self.codes = torch.from_numpy(np.stack(codes, 1) if codes else np.zeros((n, 0), np.int64)).view(*shape, -1)
        if raw:
            in_file, scaled = _raw_numbers(recipe, n, rng)
        else:
            in_file = scaled = torch.from_numpy(rng.normal(size=(n, len(columns.numerical))).astype(np.float32))
        self.given, self.numbers = (numbers.view(*shape, numbers.shape[1]) for numbers in (in_file, scaled))

    def pad(self, mask: Tensor) -> None:
        """Put zeros where there is no object."""
        self.codes, self.given, self.numbers = (
            torch.where(mask[..., None], values, torch.zeros_like(values))
            for values in (self.codes, self.given, self.numbers)
        )

    def inputs(self, prefix: str) -> Iterator[tuple[str, Tensor]]:
        """Yield the inputs of a graph that are not empty."""
        if self.given.shape[-1]:
            yield f"{prefix}numerical", self.given
        if self.codes.shape[-1]:
            yield f"{prefix}categorical", self.codes


def _raw_numbers(recipe: BlockRecipe, n: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return numbers ``[n, F]`` as in a file, some missing where they may be, and prepared as in training."""
    arrays, infos, places = {}, {}, {}
    for number in recipe.numbers:
        chain = chain_of(number, number.name)
        wanted = rng.uniform(0.05, 0.95, n) if chain.logit else rng.normal(size=n)
        values = ((wanted - chain.offset) / chain.slope).astype(np.float32)
        if not np.isnan(number.fill):
            values[rng.random(n) < SHARE_MISSING] = np.nan
        arrays[number.name] = values
        infos[number.name] = ColumnInfo(number.name, nullable=True)
        places[number.name] = Place(number.name)
    scaled, _ = BlockRecipe(recipe.numbers, ()).encode(arrays, infos, places, n)
    in_file = np.stack(list(arrays.values()), axis=1) if arrays else np.zeros((n, 0), np.float32)
    return torch.from_numpy(in_file), scaled


def _momenta(recipe: ObjectRecipe, mask: Tensor, rng: np.random.Generator) -> Tensor:
    """Return pt, eta, phi, energy of light objects ``[B, P, 4]``, 0 where there is none; empty where not asked for."""
    if not recipe.momentum:
        return torch.empty((*mask.shape, 0))
    pt, eta = 20 + rng.exponential(30.0, mask.shape), rng.normal(size=mask.shape)
    phi, mass = rng.uniform(-np.pi, np.pi, mask.shape), rng.exponential(5.0, mask.shape)
    momenta = torch.from_numpy(np.stack([pt, eta, phi, np.hypot(pt * np.cosh(eta), mass)], axis=-1)).float()
    return torch.where(mask[..., None], momenta, torch.zeros_like(momenta))
