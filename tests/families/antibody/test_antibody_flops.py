"""Operations of a step are those that torch counts in a real one."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from hand_made_pairs import SCALE, architectures, pairs
from torch.utils.flop_counter import FlopCounterMode

from tabstar_lit.families.antibody.architecture import (
    AntibodyModel,
    AntibodyTraining,
    ContrastiveConfig,
    LstmArchitecture,
)
from tabstar_lit.families.antibody.flops import Read, step_flops
from tabstar_lit.families.antibody.module import AntibodyModule, kept
from tabstar_lit.families.antibody.networks.build import build_network
from tabstar_lit.families.antibody.networks.source import Asked
from tabstar_lit.nn.flops import TRAINED

ROWS, ANTIGEN, ANTIBODY = 3, 50, 40
WAYS = {name: own for name, own in architectures().items() if own.conditioning in ("none", "source_add")}


@pytest.mark.parametrize("way", [*WAYS, "lstm"])
def test_the_count_is_torchs(way: str) -> None:
    torch.manual_seed(0)
    lstm = way == "lstm"
    network = build_network(LstmArchitecture(size="tiny") if lstm else WAYS[way], SCALE).train()
    antigens, tokens = (torch.randint(5, 25, (ROWS, length)) for length in (ANTIGEN, ANTIBODY))
    asked = Asked(antigens, torch.full((ROWS,), 8.0))
    # Torch's own recurrences are products of matrices only where they are not left to another library.
    products = torch.backends.mkldnn.flags(enabled=False) if lstm else nullcontext()
    with products, FlopCounterMode(display=False) as counter:
        network(asked, tokens).sum().backward()
    read = Read(torch.full((ROWS,), ANTIGEN), torch.full((ROWS,), ANTIBODY))
    own = float(step_flops(network)(read))
    if not lstm:  # torch counts pairs that are not looked at as well
        length = ANTIBODY + (ANTIGEN if "decoder_only" in way else 0)
        own += TRAINED * 4 * WAYS[way].width * len(network.decoder) * ROWS * length * (length - 1) / 2
    assert counter.get_total_flops() == pytest.approx(own, rel=0.002)


def test_padding_is_left_out_and_two_antigens_cost_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pairs()
    read = Read.of(batch)
    assert read.antigens.tolist() == [11, 5, 11, 11]
    assert int(read.antibodies.sum()) == batch.n_targets
    found = []
    for contrastive in (None, ContrastiveConfig()):
        architecture = architectures()["seq2seq_source_add"]
        training = AntibodyTraining(contrastive=contrastive)
        config = AntibodyModel(name="small", architecture_config=architecture, training_config=training)
        network = build_network(architecture, SCALE)
        module = AntibodyModule(network, config, kept(config, network, {"max_antibody": 20}))
        assert module.compute(batch).flops is None
        monkeypatch.setattr("tabstar_lit.families.antibody.module.may_have_peak", lambda tensor: True)
        found.append(module.compute(batch).flops)
        monkeypatch.undo()
    assert found[1] == 2 * found[0] > 0
