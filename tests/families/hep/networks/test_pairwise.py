"""Pairwise quantities: against the paper's formula in float64, their invariances, and their masks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tabstar_lit.families.hep.networks.pairwise import (
    QUANTITIES,
    SMALLEST,
    Kinematics,
    PairwiseEmbedding,
    kinematics,
    pair_logs,
    spread,
    triangle,
)


def momenta(events: int = 4, slots: int = 9, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random pt, eta, phi, energy of particles between 0 and 2 GeV heavy."""
    random = torch.Generator().manual_seed(seed)
    pt = torch.empty(events, slots, dtype=torch.float64).exponential_(0.05, generator=random) + 0.5
    eta = torch.randn(events, slots, generator=random, dtype=torch.float64)
    phi = (torch.rand(events, slots, generator=random, dtype=torch.float64) * 2 - 1) * np.pi
    mass = torch.rand(events, slots, generator=random, dtype=torch.float64) * 2
    energy = torch.sqrt((pt * torch.cosh(eta)).square() + mass.square())
    return torch.stack([pt, eta, phi, energy], dim=-1).to(dtype)


def logs_of(values: Tensor) -> Tensor:
    """``[B, P, P, Q]`` of all pairs."""
    objects = everything(values)
    first = Kinematics(*(x[:, :, None] for x in objects))
    second = Kinematics(*(x[:, None, :] for x in objects))
    return pair_logs(first, second)


def everything(values: Tensor) -> Kinematics:
    return kinematics(values, torch.ones(values.shape[:2], dtype=torch.bool), torch.zeros(values.shape[1]))


def formula(values: np.ndarray) -> np.ndarray:
    """The quantities as section 3.2 of arXiv 2202.03772 writes them, ``[B, P, P, 4]``, without logarithms."""
    pt, eta, phi, energy = np.moveaxis(values.astype(np.float64), -1, 0)
    p = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=-1)
    y = 0.5 * np.log((energy + p[..., 2]) / (energy - p[..., 2]))
    delta_phi = np.angle(np.exp(1j * (phi[:, :, None] - phi[:, None, :])))
    delta_r = np.hypot(y[:, :, None] - y[:, None, :], delta_phi)
    softer = np.minimum(pt[:, :, None], pt[:, None, :])
    z = softer / (pt[:, :, None] + pt[:, None, :])
    total = p[:, :, None] + p[:, None, :]
    m2 = (energy[:, :, None] + energy[:, None, :]) ** 2 - (total**2).sum(axis=-1)
    return np.stack([delta_r, softer * delta_r, z, m2], axis=-1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 2e-3)])
def test_quantities_equal_the_papers_formula(dtype: torch.dtype, tolerance: float) -> None:
    values = momenta(dtype=dtype)
    expected = np.log(np.clip(formula(momenta(dtype=torch.float64).numpy()), SMALLEST, None))
    off_diagonal = ~np.eye(values.shape[1], dtype=bool)
    got = logs_of(values).numpy()
    np.testing.assert_allclose(got[:, off_diagonal], expected[:, off_diagonal], atol=tolerance)
    np.testing.assert_allclose(got[:, ~off_diagonal][..., 2], np.log(0.5), atol=1e-6)


def test_the_mass_of_close_massless_pairs_survives_float32() -> None:
    pt, distance = 300.0, 1e-3
    energy = pt * np.cosh([0.0, distance])
    pair = torch.tensor([[[pt, 0.0, 0.0, energy[0]], [pt, distance, 0.0, energy[1]]]])
    exact = 2 * pt**2 * (np.cosh(distance) - 1)
    objects = everything(pair)._replace(mass2=torch.zeros(1, 2))
    m2 = pair_logs(objects.at(torch.tensor(0)), objects.at(torch.tensor(1)), ["m2"]).exp()
    np.testing.assert_allclose(m2.item(), exact, rtol=1e-5)


def test_quantities_do_not_change_under_rotation_and_boost_along_the_beam() -> None:
    values = momenta(dtype=torch.float64)
    pt, eta, phi, energy = values.unbind(-1)
    pz, boost = pt * torch.sinh(eta), 0.7
    boosted_pz = pz * np.cosh(boost) + energy * np.sinh(boost)
    boosted_energy = energy * np.cosh(boost) + pz * np.sinh(boost)
    turned = torch.remainder(phi + 2.5 + np.pi, 2 * np.pi) - np.pi
    moved = torch.stack([pt, torch.asinh(boosted_pz / pt), turned, boosted_energy], dim=-1)
    torch.testing.assert_close(logs_of(moved), logs_of(values), atol=1e-7, rtol=0)


def test_quantities_are_symmetric_and_selectable() -> None:
    objects = everything(momenta())
    first, second = objects.at(torch.tensor([0])), objects.at(torch.tensor([5]))
    torch.testing.assert_close(pair_logs(first, second), pair_logs(second, first))
    picked = pair_logs(first, second, ["m2", "kt"])
    torch.testing.assert_close(picked, pair_logs(first, second)[..., [3, 1]])
    assert QUANTITIES == ("delta_r", "kt", "z", "m2")


@pytest.mark.parametrize("missing", [0.0, float("nan")])
def test_the_rest_mass_stands_in_for_a_missing_energy(missing: float) -> None:
    values = momenta(dtype=torch.float64)
    mass = torch.linspace(0.1, 1.0, values.shape[1], dtype=torch.float64)
    pt, eta = values[..., 0], values[..., 1]
    complete, incomplete = values.clone(), values.clone()
    complete[..., 3] = torch.sqrt((pt * torch.cosh(eta)).square() + mass.square())
    incomplete[..., 3] = missing
    there = torch.ones(values.shape[:2], dtype=torch.bool)
    known = kinematics(complete, there, torch.zeros_like(mass))
    for got, expected in zip(kinematics(incomplete, there, mass), known, strict=True):
        torch.testing.assert_close(got, expected)


def test_whatever_padding_holds_is_harmless() -> None:
    values, mask = momenta(2, 6), torch.ones(2, 6, dtype=torch.bool)
    mask[0, 2:], mask[1] = False, False
    values[~mask] = torch.tensor([float("nan"), float("inf"), -1e30, 0.0])
    objects = kinematics(values, mask, torch.zeros(6))
    assert all(torch.isfinite(part).all() for part in objects)
    bias = PairwiseEmbedding(2, QUANTITIES, 1, 8)(objects, mask)
    assert torch.isfinite(bias).all()
    assert bias[~(mask[:, None, :, None] & mask[:, None, None, :]).expand_as(bias)].eq(0).all()


def test_the_triangle_lists_each_pair_once() -> None:
    for slots in (1, 2, 7, 300):
        rows, columns, cells = triangle(slots, torch.device("cpu"))
        expected = torch.tril_indices(slots, slots)
        torch.testing.assert_close(torch.stack([rows, columns]), expected)
        places = cells.view(slots, slots)
        torch.testing.assert_close(places[rows, columns], torch.arange(len(rows)))
        torch.testing.assert_close(places, places.T.contiguous())


def test_the_embedding_equals_the_whole_matrix_point_by_point() -> None:
    objects, there = everything(momenta()), torch.ones(4, 9, dtype=torch.bool)
    embedding = PairwiseEmbedding(3, ["delta_r", "m2"], 2, 8).eval()
    embedding.standardise.running_mean.copy_(torch.tensor([-1.0, 3.0]))
    values = (logs_of(momenta())[..., [0, 3]] - torch.tensor([-1.0, 3.0])) / (1 + 1e-5) ** 0.5
    for linear in embedding.linears:
        values = torch.nn.functional.gelu(linear(values))
    expected = embedding.head(values).permute(0, 3, 1, 2)
    got = embedding(objects, there)
    off_diagonal = ~torch.eye(9, dtype=torch.bool)
    torch.testing.assert_close(got[..., off_diagonal], expected[..., off_diagonal], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("slots", [1, 2, 7])
def test_spreading_the_triangle_has_the_gradient_of_indexing_it(slots: int) -> None:
    rows, columns, cells = triangle(slots, torch.device("cpu"))
    values = torch.randn(2, 3, len(rows), dtype=torch.float64, requires_grad=True)
    whole, indexed = spread(values, rows, columns, cells), values[..., cells]
    assert torch.equal(whole, indexed)
    seeds = torch.randn_like(whole)
    own, expected = (torch.autograd.grad(result, values, seeds)[0] for result in (whole, indexed))
    torch.testing.assert_close(own, expected, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(lambda v: spread(v, rows, columns, cells), (values,))
