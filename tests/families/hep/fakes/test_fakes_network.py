"""Density-ratio networks: heads on a trunk, slices of pt that never mix, and a closed gap of the detector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fakes_bench import open_events
from pydantic import TypeAdapter
from torch import Tensor

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.batch import EventBatch, Features
from tabstar_lit.families.hep.fakes.architecture import FakesArchitecture
from tabstar_lit.families.hep.fakes.config import CrackVeto
from tabstar_lit.families.hep.fakes.network import ClosedGap, FakesNetwork, network_of

SMALL = {
    "MLP": {"model": "MLP", "n_layers": 1, "n_hidden": 8},
    "ResNet": {"model": "ResNet", "num_blocks": 1, "n_hidden": 8, "batchnorm": False},
    "DeepSets": {"model": "DeepSets", "n_hidden": 8, "batchnorm": False},
    "EventTransformer": {"model": "EventTransformer", "embedding_dim": 8, "transformer_depth": 1, "heads": 2},
}
HEADS = {"heads": 3, "hidden_dims": [4]}
SCALERS: list[str | None] = ["standard", "minmax", "maxabs", "robust", None]


def architecture(model: str = "MLP", **keys: Any) -> Any:
    return TypeAdapter[Any](FakesArchitecture).validate_python({**SMALL[model], **keys}, strict=False)


def build(path: Path, keys: dict[str, Any], **own: Any) -> tuple[FakesNetwork, EventBatch]:
    """Return a network for the data set with ``keys``, and all of its training events."""
    data = open_events(path, **keys)
    torch.manual_seed(0)
    network = network_of(architecture(**own), data.preprocessor, data.fakes)
    return network.eval(), data.val_dataset()[RowBatch(0, data.rows("train"))]


# -- trunk and heads ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", SMALL)
def test_every_network_has_one_output_or_one_of_each_head(fakes_file: Path, model: str) -> None:
    plain, batch = build(fakes_file, {}, model=model)
    ensemble, _ = build(fakes_file, {}, model=model, ensemble=HEADS)
    assert plain(batch.features).shape == (len(batch.rows), 1)
    outputs = ensemble(batch.features)
    assert outputs.shape == (len(batch.rows), 3)
    assert outputs.std(1).min() > 0


def test_heads_share_the_trunk_and_nothing_else(fakes_file: Path) -> None:
    network, batch = build(fakes_file, {}, ensemble=HEADS)
    network(batch.features)[:, 1].sum().backward()
    for name, parameter in network.named_parameters():
        gradient = parameter.grad
        assert gradient is not None
        if ".heads." in name:
            assert gradient[1].abs().sum() > 0
            assert gradient[[0, 2]].abs().sum() == 0
        else:
            assert gradient.abs().sum() > 0


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("hidden", [[], [4]])
def test_heads_with_trunks_of_their_own_share_nothing(fakes_file: Path, model: str, hidden: list[int]) -> None:
    network, batch = build(fakes_file, {}, model=model, ensemble={"trunk": "own", "heads": 3, "hidden_dims": hidden})
    outputs = network(batch.features)
    assert outputs.shape == (len(batch.rows), 3)
    outputs[:, 1].sum().backward()
    touched = {
        name.split(".members.")[1][0]
        for name, own in network.named_parameters()
        if own.grad is not None and own.grad.abs().max() > 0
    }
    assert touched == {"1"}


@pytest.mark.parametrize(("keys", "width"), [({}, 4), ({"output_dim": 6}, 6)])
def test_the_trunk_is_as_wide_as_the_heads_read(fakes_file: Path, keys: dict[str, Any], width: int) -> None:
    network, _ = build(fakes_file, {}, ensemble=HEADS, **keys)
    assert network.slices[0].trunk.head.out_features == width
    assert architecture(ensemble={"hidden_dims": []}).trunk_width == 32
    assert architecture(ensemble={"hidden_dims": [], "trunk": "own"}).trunk_width == 1


# -- slices of pt ------------------------------------------------------------------------------------------------------

SLICES = ["20:45", "45:80", "80:300"]


@pytest.mark.parametrize("scaler", [*SCALERS, "quantile"])
def test_each_event_is_seen_by_the_network_of_its_slice_alone(fakes_file: Path, scaler: str | None) -> None:
    keys = {"pt_slices": SLICES, "feature_scaling": {"numer_scaler_type": scaler}}
    network, batch = build(fakes_file, keys, ensemble=HEADS)
    pt = batch.spectators[:, 0].numpy()
    numbers = np.searchsorted([45.0, 80.0], pt, side="right")
    assert sorted(set(numbers)) == [0, 1, 2]
    outputs = network(batch.features)
    for number, own in enumerate(network.slices):
        torch.testing.assert_close(outputs[numbers == number], own(batch.features)[numbers == number])
    outputs[torch.from_numpy(numbers == 1)].sum().backward()
    for number, own in enumerate(network.slices):
        gradients = [parameter.grad for parameter in own.parameters()]
        assert all(gradient is not None for gradient in gradients)  # so that several processes agree on them
        assert any(bool(gradient.any()) for gradient in gradients if gradient is not None) == (number == 1)


def test_a_slice_begins_with_its_lower_end_and_the_outer_ones_are_open(fakes_file: Path) -> None:
    network, _ = build(fakes_file, {"pt_slices": SLICES, "feature_scaling": {"numer_scaler_type": None}})
    pt = torch.tensor([1.0, 44.999, 45.0, 79.999, 80.0, 5000.0])
    features = Features(torch.stack([pt, torch.ones(6)], 1), torch.empty(6, 0, dtype=torch.long), {})
    for own, rows in zip(network.slices, ([0, 1], [2, 3], [4, 5]), strict=True):
        torch.testing.assert_close(network(features)[rows], own(features)[rows])


def test_slices_need_pt_among_the_features(fakes_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"pt_slices: 'pt' is no numerical feature"):
        build(fakes_file, {"pt_slices": SLICES, "features": ["abs_eta"]})


# -- the closed gap ----------------------------------------------------------------------------------------------------

GAP = {"variable": "abs_eta", "low": 1.37, "high": 1.52}


def column(values: list[float], recipe: Any) -> Tensor:
    scaled = np.asarray(values) if recipe.scaler is None else recipe.scaler.transform(np.asarray(values))
    return torch.tensor(scaled, dtype=torch.float32)


@pytest.mark.parametrize("scaler", SCALERS)
def test_both_sides_of_a_gap_are_joined_whatever_the_linear_scaler(fakes_file: Path, scaler: str | None) -> None:
    data = open_events(fakes_file, crack_veto=GAP, feature_scaling={"numer_scaler_type": scaler})
    recipe = data.preprocessor.events.numbers[1]
    gap = ClosedGap.of(recipe, 1, CrackVeto(**GAP))
    seen = [-2.52, -1.52, -1.37, -1.0, 0.0, 1.0, 1.37, 1.45, 1.52, 2.52]
    joined = [-2.37, -1.37, -1.37, -1.0, 0.0, 1.0, 1.37, 1.37, 1.37, 2.37]
    table = torch.stack([torch.arange(10.0), column(seen, recipe)], 1)
    closed = gap.close(table)
    torch.testing.assert_close(closed[:, 1], column(joined, recipe), atol=1e-5, rtol=1e-5)
    assert torch.equal(closed[:, 0], table[:, 0])


def test_the_network_gives_one_answer_on_both_sides(fakes_file: Path) -> None:
    network, _ = build(fakes_file, {"crack_veto": GAP, "feature_scaling": {"numer_scaler_type": None}})
    open_network, _ = build(fakes_file, {"feature_scaling": {"numer_scaler_type": None}})
    sides = Features(torch.tensor([[30.0, 1.37], [30.0, 1.52]]), torch.empty(2, 0, dtype=torch.long), {})
    assert torch.allclose(network(sides)[0], network(sides)[1], atol=1e-6)
    assert not torch.allclose(open_network(sides)[0], open_network(sides)[1], atol=1e-6)


def test_a_gap_is_not_closed_under_a_bent_scale(fakes_file: Path) -> None:
    with pytest.raises(ConfigError, match=r"crack_veto: 'abs_eta' is scaled by 'quantile'.*per_feature: \{abs_eta"):
        build(fakes_file, {"crack_veto": GAP, "feature_scaling": {"numer_scaler_type": "quantile"}})
