"""What a step returns, in training and in validation."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hand_made_pairs import SCALE, architectures, pairs

from tabstar_lit.families.antibody.architecture import AntibodyModel, AntibodyTraining, ContrastiveConfig
from tabstar_lit.families.antibody.module import AntibodyModule, kept
from tabstar_lit.families.antibody.networks.build import build_network
from tabstar_lit.families.antibody.networks.source import Asked
from tabstar_lit.families.antibody.pairs.tokens import PAD

QUIET = {"condition_dropout": 0.0, "label_smoothing": 0.0}


def module_of(**training: Any) -> AntibodyModule:
    torch.manual_seed(0)
    architecture = architectures()["seq2seq_source_add"].model_copy(update={"dropout": 0.0})
    config = AntibodyModel(
        name="small", architecture_config=architecture, training_config=AntibodyTraining(**(QUIET | training))
    )
    network = build_network(architecture, SCALE)
    return AntibodyModule(network, config, kept(config, network, {"max_antibody": 20}))


def by_hand(module: AntibodyModule, asked: Asked) -> torch.Tensor:
    """Return the log-likelihood of each of the four antibodies, token by token in a loop."""
    batch = pairs()
    totals = []
    for row, antibody in enumerate(batch.antibodies):
        tokens = antibody[antibody != PAD]
        question = asked.select(torch.tensor([row]))
        likelihoods = module.network(question, tokens[None, :-1])[0].log_softmax(-1)
        totals.append(-likelihoods[range(len(tokens) - 1), tokens[1:]].sum())
    return torch.stack(totals)


def test_validation_is_never_smoothed_and_counts_every_token() -> None:
    module = module_of(label_smoothing=0.3).eval()
    with torch.no_grad():
        step = module.compute(pairs())
        expected = by_hand(module, Asked(pairs().antigens, pairs().pkd))
    assert step.size == pairs().n_targets == int(step.columns["tokens"].sum())
    torch.testing.assert_close(step.columns["nll"], expected)
    torch.testing.assert_close(step.loss, expected.sum() / step.size)
    torch.testing.assert_close(step.columns["nll_regions"].sum(1), expected)
    torch.testing.assert_close(step.columns["nll_germline"].sum(1), expected)


def test_another_antigen_and_another_pkd_are_told_where_there_are_any() -> None:
    module, batch = module_of().eval(), pairs()
    with torch.no_grad():
        step = module.compute(batch)
        antigen = by_hand(module, Asked(batch.antigens[[1, 2, 3, 1]], batch.pkd))
        pkd = by_hand(module, Asked(batch.antigens, batch.pkd[[1, 3, 0, 0]]))
    torch.testing.assert_close(step.columns["nll_shuffled_antigen"], antigen)
    found = step.columns["nll_shuffled_pkd"]
    torch.testing.assert_close(found[[0, 1, 3]], pkd[[0, 1, 3]])
    assert found[2].isnan()  # it has none of its own
    torch.testing.assert_close(step.columns["nll_shuffled_pkd_regions"][0].sum(), pkd[0])


def test_predictions_are_as_wide_as_the_longest_antibody() -> None:
    module = module_of().eval()
    with torch.no_grad():
        predicted = module.compute(pairs()).columns["predicted"]
    there = pairs().antibodies[:, 1:] != PAD
    assert predicted.shape == (4, 19)
    assert (predicted[:, : there.shape[1]][~there] == PAD).all()
    assert (predicted[:, there.shape[1] :] == PAD).all()


def test_training_smooths_and_logs_what_is_not_smoothed() -> None:
    plain, smooth = (module_of(label_smoothing=share).train().compute(pairs()) for share in (0.0, 0.2))
    torch.testing.assert_close(plain.terms["nll"], plain.loss)
    torch.testing.assert_close(smooth.terms["nll"], plain.terms["nll"])
    assert smooth.loss != plain.loss


@pytest.mark.parametrize("option", ["condition_dropout", "antigen_dropout", "framework_dropout", "infilling"])
def test_what_is_hidden_changes_the_loss_and_only_in_training(option: str) -> None:
    plain, hiding = module_of(), module_of(**{option: 1.0})
    torch.manual_seed(3)
    assert not torch.isclose(plain.train().compute(pairs()).loss, hiding.train().compute(pairs()).loss)
    with torch.no_grad():
        assert torch.equal(plain.eval().compute(pairs()).loss, hiding.eval().compute(pairs()).loss)


def test_without_its_pkd_each_pair_is_told_none() -> None:
    module = module_of(condition_dropout=1.0).train()
    told = Asked(pairs().antigens, torch.full((4,), torch.nan))
    with torch.no_grad():
        torch.testing.assert_close(module.compute(pairs()).loss, by_hand(module, told).sum() / pairs().n_targets)


def test_the_contrast_is_logged_and_added() -> None:
    contrastive = ContrastiveConfig(weight=0.5, temperature=0.2)
    plain = module_of().train().compute(pairs())
    module = module_of(contrastive=contrastive)
    step = module.train().compute(pairs())
    torch.testing.assert_close(step.loss, plain.loss + 0.5 * step.terms["contrastive"])
    assert set(step.terms) == set(module.config.loss_terms())
    with torch.no_grad():
        assert set(module.eval().compute(pairs()).terms) == set(module.config.loss_terms())


def test_every_weight_is_trained() -> None:
    module = module_of().train()
    module.compute(pairs()).loss.backward()
    assert all(parameter.grad is not None for parameter in module.network.parameters())
