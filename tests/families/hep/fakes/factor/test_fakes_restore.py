"""A checkpoint alone gives log-ratios: the same as in training, for any loss, slices and gaps included."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes_bench import TRAINING, FakesBench, open_events

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.engine.weights.files import CHECKPOINT_KEY
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.factor.restore import restore
from tabstar_lit.families.hep.fakes.module import FakesModule

ONE_STEP = ("stages=[numerator]", f"{TRAINING}.max_epochs=1")
SETTINGS = {
    "plain": (),
    "another link": (f"{TRAINING}.loss=lsif",),
    "no ensemble": ("model_config.architecture_config.ensemble=null",),
    "slices": ("dataset_config.pt_slices=['20:60', '60:300']",),
    "gap": (
        "dataset_config.crack_veto={variable: abs_eta}",
        "dataset_config.feature_scaling.numer_scaler_type=standard",
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_checkpoint_alone_gives_the_ratios_of_the_training(
    make_bench: Callable[[str], FakesBench], monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    modules: list[FakesModule] = []
    monkeypatch.setattr(FakesModule, "on_fit_end", lambda module: modules.append(module))
    bench = make_bench("one")
    bench.train(*ONE_STEP, *SETTINGS[case])
    checkpoint = bench.folder / "models/toys/run/run_last.ckpt"
    model = restore(checkpoint)
    rows = np.arange(0, 1000, 7)
    batch = model.preprocessor.batch(EventFile.open(bench.events), rows)
    (trained,) = modules
    with torch.no_grad():
        expected = trained.eval().compute(
            batch._replace(loss_weights=torch.ones(len(rows), model.log_ratios(batch).shape[1]))
        )
    torch.testing.assert_close(model.log_ratios(batch), expected.columns["log_ratios"])
    torch.testing.assert_close(model.log_ratios(batch.features), expected.columns["log_ratios"])
    assert model.role == "numerator"


def test_what_the_checkpoint_says_of_its_events(trained: FakesBench) -> None:
    model = restore(trained.best("ratio"))
    assert model.role == "ratio"
    assert model.variables == ("pt", "abs_eta")
    assert str(model.dataset.files) == str(trained.events)
    data = open_events(trained.events, "ratio")
    batch = data.val_dataset()[RowBatch(0, data.rows("test"))]
    assert model.log_ratios(batch).shape == (len(batch.rows), 3)
    assert not model.log_ratios(batch).requires_grad


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"family": "signal"}, r"a checkpoint of the family signal, and one of the family fakes is needed"),
        ({"role": None}, r"keeps no role, .*older release"),
        ({"architecture_config": {"model": "Oracle"}}, r"an architecture that this release does not know"),
    ],
)
def test_checkpoints_of_something_else_are_refused(
    trained: FakesBench, tmp_path: Path, change: dict[str, object], says: str
) -> None:
    content = trained.last("ratio")
    payload = content[CHECKPOINT_KEY]["payload"]
    if change.get("role", "") is None:
        del payload["role"]
    else:
        payload.update(change)
    torch.save(content, tmp_path / "other.ckpt")
    with pytest.raises(CheckpointError, match=says):
        restore(tmp_path / "other.ckpt")
