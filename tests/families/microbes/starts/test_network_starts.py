"""What networks begin with: lineages near UniFrac, and the predictions of a linear model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tabstar_lit.config.tree import Problem
from tabstar_lit.data.plans import RowBatch
from tabstar_lit.families.microbes.architecture import MicrobesArchitecture, PredictorArchitecture
from tabstar_lit.families.microbes.build import build_module
from tabstar_lit.families.microbes.classical.line import fit_line
from tabstar_lit.families.microbes.config import MicrobesDataset
from tabstar_lit.families.microbes.distances import predicted_distances
from tabstar_lit.families.microbes.module import MicrobesModule
from tabstar_lit.families.microbes.study.data import MicrobesData
from tabstar_lit.families.microbes.study.generated import generate
from tabstar_lit.families.microbes.study.study import Study
from tabstar_lit.families.microbes.training_config import MicrobesModel

SIZES = {"embedding_dim": 16, "heads": 2, "asv_layers": 1, "sample_layers": 1, "encoder_layers": 1}


@pytest.fixture(scope="module")
def study() -> Study:
    return generate()


def data_of(study: Study, target: Any = "status") -> MicrobesData:
    return MicrobesData(MicrobesDataset(name="test", target=target), study, seed=1, labelled=True)


def a_model(role: str = "encoder", *, load_modules: Any = None, **architecture: Any) -> MicrobesModel:
    own = {"count_layers": 1, "target_layers": 1, **architecture.pop("predictor", {})}
    plain: dict[str, Any] = {"name": "test", "role": role, "load_modules": load_modules or {}}
    plain["architecture_config"] = {**SIZES, **architecture, "predictor": own}
    return MicrobesModel.model_validate(plain, strict=False)


def a_module(data: MicrobesData, role: str = "encoder", **architecture: Any) -> MicrobesModule:
    torch.manual_seed(0)
    return build_module(a_model(role, **architecture), data.facts, samples=data.samples).eval()


def every(data: MicrobesData, side: str) -> Any:
    return data.val_dataset()[RowBatch(0, data.rows(side))]


def error(module: MicrobesModule, outputs: torch.Tensor, batch: Any) -> float:
    assert module.target_loss is not None
    return float(module.target_loss(outputs, module._true(batch)))


def alike(module: MicrobesModule, data: MicrobesData) -> float:
    """Return the correlation of told and true distances between held-out samples."""
    batch = every(data, "val")
    with torch.inference_mode():
        told = predicted_distances(module.network.base(batch).embedding, None)
    pairs = np.triu_indices(len(batch), 1)
    return float(np.corrcoef(told[pairs], batch.distances[pairs])[0, 1])


def test_clades_tell_distances_of_held_out_samples_before_any_training(study: Study) -> None:
    data = data_of(study)
    begun, random = (alike(a_module(data, lineages=128, lineage_start=own), data) for own in ("linkage", "random"))
    assert begun > 0.9 > random


def test_held_out_samples_have_no_part_in_a_start(study: Study) -> None:
    data = data_of(study)
    members, counts = study.members, study.counts.copy()
    held_out = np.isin(np.repeat(np.arange(len(study)), members.lengths), data.rows("val"))
    counts[held_out] = counts[held_out][::-1]
    other = data_of(replace(study, counts=counts))
    other.targets.values[data.rows("val")] = 0
    changes = {"lineages": 32, "lineage_start": "linkage", "predictor": {"wide": True, "wide_weights": "fitted"}}
    first, second = (a_module(own, "predictor", **changes).state_dict() for own in (data, other))
    for name, weights in first.items():
        torch.testing.assert_close(second[name], weights, rtol=0, atol=0)


def test_lineages_are_told_alike_in_training_and_later(study: Study) -> None:
    data = data_of(study)
    module, batch = a_module(data, lineages=32, lineage_start="linkage"), every(data, "train")
    told = module.network.base(batch).embedding
    torch.testing.assert_close(module.train().network.base(batch).embedding, told)


def test_an_encoder_from_elsewhere_brings_its_own_lineages(study: Study) -> None:
    data = data_of(study)
    config = a_model("predictor", load_modules={"base": "encoder"}, lineages=32, lineage_start="linkage")
    torch.manual_seed(0)
    begun = build_module(config, data.facts, samples=data.samples)
    torch.manual_seed(0)
    plain = build_module(config, data.facts)
    for name, weights in plain.state_dict().items():
        torch.testing.assert_close(begun.state_dict()[name], weights)


@pytest.mark.parametrize("target", ["status", "phenotype"])
def test_a_fitted_predictor_begins_as_the_linear_model(study: Study, target: str) -> None:
    # Of ASVs with one sequence the linear model reads the sum, and the network each.
    unique = tuple(f"{own}{'ACGT'[number % 4] * (1 + number // 4)}" for number, own in enumerate(study.sequences))
    data = data_of(replace(study, sequences=unique), target)
    module = a_module(data, "predictor", predictor={"wide": True, "wide_weights": "fitted"})
    batch = every(data, "val")
    with torch.inference_mode():
        own = module.compute(batch).columns["predicted"]
    expected = fit_line(data).predict(data.study, data.categories)["linear"][data.rows("val")]
    np.testing.assert_allclose(own.numpy(), expected, atol=2e-3 * max(1.0, float(np.abs(expected).max())))


FITTED = {"predictor": {"wide": True, "wide_weights": "fitted"}}


def test_in_training_a_value_is_told_by_weights_fitted_without_its_group(study: Study) -> None:
    data = data_of(study, "phenotype")
    module, batch = a_module(data, "predictor", **FITTED), every(data, "train")
    wide = module.network.wide
    told, known = wide.out_of_fold(batch), wide(batch)
    assert not torch.isclose(told, known).all(1).any(), "a sample was in the fit of its own outputs"
    assert error(module, told, batch) > error(module, known, batch)
    torch.testing.assert_close(module.train().network(batch).target.view_as(told), told)
    torch.testing.assert_close(module.eval().network(batch).target.view_as(told), known)
    assert not [name for name in module.state_dict() if name.endswith("apart")]


def test_quantiles_of_a_sample_begin_at_one_value_in_training_too(study: Study) -> None:
    data = data_of(study, "phenotype")
    predictor = {"wide": True, "wide_weights": "fitted", "quantiles": [0.1, 0.5, 0.9]}
    module = a_module(data, "predictor", predictor=predictor).train()
    told = module.network(every(data, "train")).target
    assert told.shape[1:] == (1, 3)
    assert torch.equal(told.amin(-1), told.amax(-1))
    assert told.std() > 0


def test_a_linear_model_that_held_out_folds_do_not_bear_out_counts_little(study: Study) -> None:
    data = data_of(study, "phenotype")
    groups, rows = data.groups, data.rows("train")
    drawn = np.random.default_rng(0).standard_normal(groups.max() + 1)[groups]  # of a subject, and of nothing else
    data.targets.values[:] = drawn[:, None]
    facts = replace(data.facts, train_targets=data.targets.values[rows])
    torch.manual_seed(0)
    module = build_module(a_model("predictor", **FITTED), facts, samples=data.samples).eval()
    with torch.inference_mode():
        told = module.compute(every(data, "val")).columns["predicted"].numpy()
    assert told.std() < 0.5 * drawn[rows].std()
    np.testing.assert_allclose(told.mean(), drawn[rows].mean(), atol=0.35 * drawn[rows].std())


def test_fitted_weights_are_kept_in_training(study: Study) -> None:
    data = data_of(study)
    module = a_module(data, "predictor", predictor={"wide": True, "wide_weights": "fitted"}).train()
    module.compute(every(data, "train")).loss.backward()
    learning = {name for name, own in module.network.named_parameters() if own.grad is not None and own.grad.any()}
    assert not [name for name in learning if name.startswith("wide")]
    assert "head.linear.weight" in learning


def test_starts_of_nothing_are_refused() -> None:
    found: list[Problem] = [
        *MicrobesArchitecture(lineage_start="linkage").problems(),
        *PredictorArchitecture(wide_weights="fitted").problems(),
    ]
    assert [own.path for own in found] == [("lineage_start",), ("wide_weights",)]
