"""What a configuration of fakes may say, and what is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from fakes_bench import ARCHITECTURE, TRAINING, FakesBench

from tabstar_lit.config.schema_walk import models_in
from tabstar_lit.engine.preflight import check_names
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.fakes.architecture import FakesNetworkArchitecture
from tabstar_lit.families.hep.fakes.config import FakesDataset, FakesModel, Regions, Role
from tabstar_lit.families.hep.fakes.family import family
from tabstar_lit.families.hep.fakes.toy.closed_form import CLASSES
from tabstar_lit.losses.density_ratio import RATIO_LOSSES

DATA = "dataset_config"


@pytest.fixture
def bench(tmp_path: Path) -> FakesBench:
    return FakesBench(tmp_path, events=tmp_path / "no_events.h5")


def checked(bench: FakesBench, *overrides: str) -> Any:
    loaded = bench.load(*overrides)
    check_names(family, loaded)
    return loaded


def test_the_default_has_the_three_stages_in_order_with_one_model_each(bench: FakesBench) -> None:
    loaded = checked(bench)
    assert [stage.experiment.model.role for stage in loaded.stages] == list(get_args(Role))
    earlier = [dict(stage.experiment.earlier()) for stage in loaded.stages]
    ratio = {"numerator_checkpoint": "numerator", "denominator_checkpoint": "denominator"}
    assert earlier == [{}, {}, ratio]


def test_a_stage_may_differ_from_the_others(bench: FakesBench) -> None:
    loaded = checked(bench, f"stage_config.ratio.{TRAINING}.max_epochs=9", f"stage_config.ratio.{TRAINING}.loss=lsif")
    assert [stage.experiment.model.training_config.max_epochs for stage in loaded.stages] == [2, 2, 9]
    assert [stage.experiment.model.training_config.loss_name for stage in loaded.stages] == ["bce", "bce", "lsif"]


def test_classes_stand_in_the_order_of_the_toys() -> None:
    assert tuple(Regions().classes(mc=True)) == CLASSES


def test_slices_have_boundaries_between_them() -> None:
    config = FakesDataset(name="toys", pt_slices=("20:50", "50:100", "100:1e3"))
    assert config.boundaries == (50.0, 100.0)


REFUSED = {
    "unknown loss": ((f"{TRAINING}.loss=bcee",), ("no density-ratio loss is called 'bcee'", "Did you mean 'bce'")),
    "arguments of a loss": ((f"{TRAINING}.loss={{loss_name: bce, loss_params: {{a: 1}}}}",), ("takes no arguments",)),
    "unknown policy": ((f"{TRAINING}.negative_weights=corect",), ("negative_weights", "'correction'")),
    "clip quantile": ((f"{TRAINING}.weight_clip_quantile=1.5",), ("weight_clip_quantile",)),
    "max_ratio": ((f"{TRAINING}.max_ratio=1",), ("max_ratio",)),
    "unknown activation": ((f"{ARCHITECTURE}.ensemble.act=Silu",), ("ensemble.act", "SiLU")),
    "unknown network": ((f"{ARCHITECTURE}.model=SetTransformer",), ("SetTransformer",)),
    "width without heads": (
        (f"{ARCHITECTURE}.ensemble=null", f"{ARCHITECTURE}.output_dim=4"),
        ("output_dim is the width between trunk and heads",),
    ),
    "unreadable slice": ((f"{DATA}.pt_slices=['20-50']",), ("'20-50' is no range of pt", "LOW:HIGH")),
    "empty slice": ((f"{DATA}.pt_slices=['50:20']",), ("'50:20' is no range of pt",)),
    "gap between slices": ((f"{DATA}.pt_slices=['20:50', '60:80']",), ("'60:80' does not begin where '20:50' ends",)),
    "empty cut": ((f"{DATA}.pt_cut={{min: 50, max: 50}}",), ("leaves no events",)),
    "gap without width": ((f"{DATA}.crack_veto={{low: 2.0}}",), ("has no width",)),
    "label in two regions": (
        (f"{DATA}.regions.loose={{data: [tight_data], mc: [loose_mc]}}",),
        ("label 'tight_data' is listed twice, the first time as tight_data",),
    ),
    "region without simulation": (
        (f"{DATA}.regions.tight={{data: [tight_data], mc: null}}",),
        ("subtract_mc is true, but the tight region names no 'mc' labels",),
    ),
    "numerator without simulation": ((f"{DATA}.subtract_mc=false",), ("without simulation there is no numerator",)),
    "stage without a role": (("stages=[first]",), ("this stage does not say what it learns", "stage_config")),
    "ratio of nothing": (("model_config.numerator_checkpoint=null",), ("the ratio needs numerator_checkpoint",)),
    "bins without number": (
        ("model_config=fakes/piecewise", f"{DATA}.ple_bins=null"),
        ("ple in architecture_config needs the number of its bins",),
    ),
    "statistics of a slice": (
        (f"{DATA}.pt_slices=['20:50', '50:80']", f"{ARCHITECTURE}.batchnorm=true"),
        ("batchnorm needs several events",),
    ),
    "misspelt key": ((f"{DATA}.pt_slice=[]",), ("pt_slice", "Did you mean 'pt_slices'")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_mistakes_are_refused_with_place_and_remedy(bench: FakesBench, case: str) -> None:
    overrides, words = REFUSED[case]
    with pytest.raises(ConfigError, match=r"command line|yaml:") as refused:
        checked(bench, *overrides)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("network", models_in(FakesModel.model_fields["architecture_config"].annotation))
def test_a_width_that_no_head_reads_is_refused_of_every_network(network: type[FakesNetworkArchitecture]) -> None:
    keys = {"model": get_args(network.model_fields["model"].annotation)[0], "output_dim": 4}
    (problem,) = network.model_validate(keys).problems()
    assert "output_dim is the width between trunk and heads" in problem.message
    assert "heads of an ensemble read" in str(network.model_fields["output_dim"].description)


@pytest.mark.parametrize("loss", RATIO_LOSSES)
def test_every_loss_may_be_named(bench: FakesBench, loss: str) -> None:
    assert checked(bench, f"{TRAINING}.loss={loss}").experiment.model.training_config.loss_name == loss
    assert loss in family.losses()


def test_every_network_that_may_be_named_is_listed() -> None:
    networks = models_in(FakesModel.model_fields["architecture_config"].annotation)
    assert {str(*get_args(network.model_fields["model"].annotation)) for network in networks} == set(family.models())
