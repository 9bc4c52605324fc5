"""No output depends on a later token, or on another document, in any network of any role: bit for bit."""

from __future__ import annotations

import math

import pytest
import torch
from experts_networks import NETWORKS, VOCABULARY, architecture, packed_documents, small_network, token_batch

from tabstar_lit.families.experts.architecture import ExpertsTraining
from tabstar_lit.families.experts.networks import memory
from tabstar_lit.families.experts.networks.build import build
from tabstar_lit.families.experts.networks.objectives import OBJECTIVES, token_nats


@pytest.fixture(autouse=True)
def often_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let memories be asked every few tokens of these short texts."""
    monkeypatch.setattr(memory, "STRIDE", 4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_later_tokens_change_nothing_before_them(name: str, packed: bool, training: bool) -> None:
    network = small_network(name).train(training)
    documents = packed_documents(2) if packed else None
    tokens = torch.randint(VOCABULARY, (2, 40))
    changed = tokens.clone()
    changed[:, 21:] = (changed[:, 21:] + torch.randint(1, VOCABULARY, (2, 19))) % VOCABULARY
    torch.manual_seed(1)
    one = network(tokens, documents)
    torch.manual_seed(1)
    two = network(changed, documents)
    assert torch.equal(one[:, :21], two[:, :21])
    assert not torch.equal(one[:, 21], two[:, 21])


@pytest.mark.parametrize("name", NETWORKS)
def test_documents_do_not_see_each_other(name: str) -> None:
    network = small_network(name).eval()
    tokens = torch.randint(VOCABULARY, (2, 40))
    changed = tokens.clone()
    changed[:, :15] = 7
    one, two = (network(x, packed_documents(2)) for x in (tokens, changed))
    assert torch.equal(one[:, 15:35], two[:, 15:35])
    alone = network(tokens[:, 15:35])
    torch.testing.assert_close(one[:, 15:35], alone, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_two_evaluations_agree(name: str, packed: bool) -> None:
    network, batch = small_network(name).eval(), token_batch(packed=packed)
    one, two = (OBJECTIVES[NETWORKS[name][0]](network, batch, ExpertsTraining()) for _ in range(2))
    assert torch.equal(one.loss, two.loss)
    assert one.nats is not None
    assert two.nats is not None
    assert torch.equal(one.nats, two.nats)
    assert torch.equal(one.nats, token_nats(network, batch))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_starts_by_knowing_nothing(name: str) -> None:
    role, options = NETWORKS[name]
    torch.manual_seed(0)
    network = build(role, architecture(**{**options, "width": 96, "heads": 3}), 259).eval()
    nats = token_nats(network, token_batch())
    assert (nats.sum() / (nats > 0).sum()).item() <= math.log(259) + 0.5


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_trained_parameter_learns(name: str, packed: bool) -> None:
    network = small_network(name).train()
    measured = OBJECTIVES[NETWORKS[name][0]](network, token_batch(packed=packed), ExpertsTraining(balance_reg=0.1))
    measured.loss.backward()
    idle = [n for n, p in network.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert not idle
    assert all(p.grad is None for p in network.parameters() if not p.requires_grad)


@pytest.mark.parametrize("name", NETWORKS)
def test_mixed_precision_is_close_to_full(name: str) -> None:
    network, batch = small_network(name, lively=False).eval(), token_batch(packed=True)
    objective = OBJECTIVES[NETWORKS[name][0]]
    full = objective(network, batch, ExpertsTraining())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = objective(network, batch, ExpertsTraining())
    assert full.nats is not None
    assert mixed.nats is not None
    assert mixed.nats.dtype == torch.float32
    torch.testing.assert_close(mixed.nats, full.nats, atol=0.05, rtol=0.02)
    torch.testing.assert_close(mixed.loss, full.loss, atol=0.05, rtol=0.02)
