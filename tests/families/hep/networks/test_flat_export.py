"""Each flat network as an ONNX graph computes what torch does, for any number of events."""

from __future__ import annotations

import io
import json
from typing import Any

import onnxruntime
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from tabstar_lit.families.hep.architecture.union import SignalArchitecture
from tabstar_lit.families.hep.batch import Columns, Features, Inputs
from tabstar_lit.families.hep.networks.build import build_network

INPUTS = Inputs(Columns(("pt", "eta"), ("charge",), (3,), ((-1.0, 0.0, 2.0), (0.0, 1.0))), {})
NETWORKS: list[dict[str, Any]] = [
    {"model": "MLP", "n_hidden": 8, "n_layers": 1, "embeddings": {"ple": True}, "ensemble": {"members": 2}},
    {"model": "ResNet", "n_hidden": 8, "num_blocks": 1, "disable_embeddings": True},
    {"model": "DeepSets", "n_hidden": 8},
    {"model": "EventTransformer", "transformer_depth": 1, "heads": 2, "sdp_backend": {}},
]


class TwoTensors(nn.Module):
    """Takes tensors one by one, as a graph does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, numerical: Tensor, categorical: Tensor) -> Tensor:
        logits: Tensor = self.network(Features(numerical, categorical, {}))
        return logits


@pytest.mark.parametrize("options", NETWORKS, ids=lambda options: options["model"])
def test_the_exported_graph_computes_the_same(options: dict[str, Any]) -> None:
    architecture = TypeAdapter(SignalArchitecture).validate_json(json.dumps(options))
    network = TwoTensors(build_network(architecture, INPUTS, 2)).eval()
    example = (torch.randn(4, 2), torch.randint(0, 3, (4, 1)))
    events = torch.export.Dim("events")
    program = torch.onnx.export(network, example, dynamo=True, dynamic_shapes=({0: events}, {0: events}), verbose=False)
    assert program is not None
    graph = io.BytesIO()
    program.save(graph)
    session = onnxruntime.InferenceSession(graph.getvalue(), providers=["CPUExecutionProvider"])
    for n in (1, 2, 7):
        inputs = (torch.randn(n, 2), torch.randint(0, 3, (n, 1)))
        names = [node.name for node in session.get_inputs()]
        (logits,) = session.run(None, {name: x.numpy() for name, x in zip(names, inputs, strict=True)})
        torch.testing.assert_close(torch.from_numpy(logits), network(*inputs), atol=1e-5, rtol=0)
