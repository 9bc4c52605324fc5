"""Networks of objects as ONNX graphs: any number of events and slots, with and without objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hand_made_objects import events, inputs
from torch import Tensor, nn

from tabstar_lit.families.hep.architecture.jagged import (
    DeepSetsArchitecture,
    ParticleTransformerArchitecture,
    SetTransformerArchitecture,
)
from tabstar_lit.families.hep.batch import Features, Objects
from tabstar_lit.families.hep.networks.deepsets_jagged import DeepSets
from tabstar_lit.families.hep.networks.particle_transformer import ParticleTransformer
from tabstar_lit.families.hep.networks.set_transformer import SetTransformer

SMALL = {"embedding_dim": 8, "heads": 2, "dim_head": 4}


class TensorsIn(nn.Module):
    """The network with plain tensors as arguments, as an exporter wants them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, event: tuple[Tensor, Tensor], jets: tuple[Tensor, ...], leptons: tuple[Tensor, ...]) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.network(Features(*event, {"jets": Objects(*jets), "leptons": Objects(*leptons)}))
        return logits


def arguments(features: Features) -> tuple[tuple[Tensor, ...], ...]:
    return (
        (features.numerical, features.categorical),
        tuple(features.objects["jets"]),
        tuple(features.objects["leptons"]),
    )


def exported(network: nn.Module, path: Path) -> onnxruntime.InferenceSession:
    events_axis = torch.export.Dim("events", min=1)
    jet_axis, lepton_axis = torch.export.Dim("jet_slots", min=1), torch.export.Dim("lepton_slots", min=1)
    shapes = (
        ({0: events_axis},) * 2,
        ({0: events_axis, 1: jet_axis},) * 4,
        ({0: events_axis, 1: lepton_axis},) * 4,
    )
    example = arguments(events([3, 0, 2], [1, 0, 2], slots=(5, 3)))
    with torch.no_grad():
        program = torch.onnx.export(TensorsIn(network).eval(), example, dynamo=True, dynamic_shapes=shapes)
    assert program is not None
    program.save(path)
    return onnxruntime.InferenceSession(path)


@pytest.mark.parametrize("model", ["DeepSets", "SetTransformer", "ParticleTransformer"])
def test_the_exported_graph_equals_the_network(model: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network: nn.Module
    if model == "DeepSets":
        network = DeepSets(DeepSetsArchitecture(model="DeepSets", n_hidden=8), inputs(), 3)
    elif model == "SetTransformer":
        network = SetTransformer(
            SetTransformerArchitecture(model="SetTransformer", encoder_depth=1, decoder_depth=1, **SMALL), inputs(), 3
        )
    else:
        options = {"flat_embeddings_fuse": {"mode": "cat"}, "valid_type_values": {"jets": {"flavour": ("#0", "#1")}}}
        config = {"model": "ParticleTransformer", "particle_blocks": 1, "class_blocks": 1, **SMALL, **options}
        network = ParticleTransformer(ParticleTransformerArchitecture.model_validate(config), inputs(), 3)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    network.eval()
    session = exported(network, tmp_path / "network.onnx")
    names = [argument.name for argument in session.get_inputs()]
    for jets, leptons, slots in [
        ([4], [1], (6, 2)),
        ([0], [0], (1, 1)),
        ([0, 0], [0, 0], (4, 3)),
        ([7, 1] * 4, [0, 2] * 4, (9, 2)),
    ]:
        features = events(jets, leptons, slots=slots)
        flat = [tensor.numpy() for group in arguments(features) for tensor in group]
        feed = {name: array for name, array in zip(expected_names(), flat, strict=True) if name in names}
        (got,) = session.run(None, feed)
        np.testing.assert_allclose(got, network(features).detach().numpy(), atol=1e-5)


def expected_names() -> list[str]:
    """Names the exporter gives to nested arguments, in their order."""
    objects = [f"{name}_{index}" for name in ("jets", "leptons") for index in range(4)]
    return ["event_0", "event_1", *objects]
