"""Small inputs and events for networks of objects."""

from __future__ import annotations

import torch
from torch import Tensor

from tabstar_lit.families.hep.batch import Columns, Features, Inputs, Objects

JETS = Columns(("pt", "eta", "mass"), ("flavour",), (4,), ((-1.0, 0.0, 1.0),) * 3, 5)
LEPTONS = Columns(("pt", "eta"), (), (), ((-1.0, 0.0, 1.0),) * 2, 2)
EVENT = Columns(("met", "ht"), ("run",), (3,), ((-1.0, 0.0, 1.0),) * 2, 0)


def inputs(*, event: bool = True) -> Inputs:
    """Return jets and leptons, with or without event features."""
    return Inputs(EVENT if event else Columns(), {"jets": JETS, "leptons": LEPTONS})


def objects(columns: Columns, counts: Tensor, random: torch.Generator, slots: int | None = None) -> Objects:
    """Return this many random objects per event in so many slots; padding holds what it should, zeros."""
    events, slots = len(counts), columns.max_objects if slots is None else slots
    mask = torch.arange(slots) < counts[:, None]
    pt = torch.rand(events, slots, generator=random) * 50 + 1
    eta, phi = torch.randn(2, events, slots, generator=random)
    momenta = torch.stack([pt, eta, phi, pt * torch.cosh(eta) + 1], dim=-1)
    numerical = torch.randn(events, slots, len(columns.numerical), generator=random)
    categorical = torch.randint(0, 3, (events, slots, len(columns.categorical)), generator=random)
    return Objects(
        torch.where(mask[..., None], numerical, 0.0),
        torch.where(mask[..., None], categorical, 0),
        mask,
        torch.where(mask[..., None], momenta, 0.0),
    )


def events(
    jets: list[int], leptons: list[int], *, event: bool = True, seed: int = 0, slots: tuple[int, int] | None = None
) -> Features:
    """Return events with these numbers of objects."""
    random = torch.Generator().manual_seed(seed)
    width, codes = (2, 1) if event else (0, 0)
    jet_slots, lepton_slots = slots or (None, None)
    return Features(
        torch.randn(len(jets), width, generator=random),
        torch.randint(0, 3, (len(jets), codes), generator=random),
        {
            "jets": objects(JETS, torch.tensor(jets), random, jet_slots),
            "leptons": objects(LEPTONS, torch.tensor(leptons), random, lepton_slots),
        },
    )


def ragged_events(*, event: bool = True) -> Features:
    """Return four events with 0 to 5 jets and 0 to 2 leptons, one of them with neither."""
    return events([3, 0, 5, 1], [2, 0, 0, 1], event=event)


def padded(features: Features, more: int, seed: int = 1) -> Features:
    """Return the same events with ``more`` further slots of random content, and old padding made random as well."""
    random = torch.Generator().manual_seed(seed)
    return features._replace(objects={name: _padded(o, more, random) for name, o in features.objects.items()})


def _padded(old: Objects, more: int, random: torch.Generator) -> Objects:
    mask = torch.nn.functional.pad(old.mask, (0, more))
    values = []
    for part in (old.numerical, old.categorical, old.momenta):
        shape = (*mask.shape, part.shape[-1])
        wild = torch.randn(shape, generator=random) * 1e3 if part.is_floating_point() else torch.ones(shape).long()
        grown = torch.nn.functional.pad(part, (0, 0, 0, more))
        values.append(torch.where(mask[..., None], grown, wild.to(part.dtype)))
    return Objects(values[0], values[1], mask, values[2])


def permuted(features: Features, order: list[int]) -> Features:
    """Return the same events with their jets in another order of slots."""
    jets = Objects(*(part[:, order] for part in features.objects["jets"]))
    return features._replace(objects={**features.objects, "jets": jets})
