"""Steps by recordings: the same gradients, losses and weights as computed one by one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from benchmarks.loops import train
from lightning.pytorch import Callback, LightningModule, Trainer
from rerun import Replaying, Rerun
from torch import Tensor, nn

from tabstar_lit.engine.devices import replays
from tabstar_lit.engine.devices.replays import Replays, pieces_of
from tabstar_lit.errors import ConfigError
from tabstar_lit.families import get_family
from tabstar_lit.families.hep.events.toys import ensure_toy
from tabstar_lit.families.tabstar.module import TabstarModule
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin


@dataclass(frozen=True)
class Output:
    loss: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    columns: dict[str, Tensor] = field(default_factory=dict)


class Line(nn.Module):
    """A line, and a weight that nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.idle = nn.Parameter(torch.tensor([2.0])), nn.Parameter(torch.ones(3))

    def step(self, batch: tuple[Tensor, Tensor]) -> Output:
        x, y = batch
        error = (self.slope * x - y).square()
        return Output(error.mean(), {"largest": error.max()}, {"error": error})


def batch(seed: int, rows: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(2, rows, generator=generator)
    return x, y


def expected(line: Line, own: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    loss = line.step(own).loss
    return loss.detach(), torch.autograd.grad(loss, line.slope)[0]


@pytest.fixture
def line() -> Line:
    return Line()


@pytest.fixture
def steps(line: Line) -> Replays:
    return Replays(line.step, list(line.parameters()), record=Rerun)


def test_the_second_batch_of_a_shape_is_recorded_and_later_ones_are_computed_by_it(line: Line, steps: Replays) -> None:
    loss, _ = expected(line, batch(0))
    assert steps.step(pieces_of(batch(0))).loss == loss
    assert not steps.is_replayed
    for seed in (1, 2):
        loss, gradient = expected(line, batch(seed))
        output = steps.step(pieces_of(batch(seed)))
        assert steps.is_replayed
        line.zero_grad()
        steps.hand_over()
        assert line.slope.grad is not None
        torch.testing.assert_close((output.loss, line.slope.grad), (loss, gradient), rtol=0, atol=0)
        assert line.idle.grad is None
        assert steps.norm is not None
        torch.testing.assert_close(steps.norm, gradient.norm())
    assert steps.recorded == 1
    assert steps.step(pieces_of(batch(3, rows=5))).loss.requires_grad
    assert steps.norm is None
    assert steps.recorded == 1


def test_outputs_stay_when_the_next_step_is_computed(steps: Replays) -> None:
    steps.step(pieces_of(batch(0)))
    first = steps.step(pieces_of(batch(1)))
    kept = first.loss.clone(), first.terms["largest"].clone()
    steps.step(pieces_of(batch(2)))
    assert (first.loss, first.terms["largest"]) == kept
    assert not first.columns


def test_gradients_of_several_batches_are_added_with_their_weights(line: Line, steps: Replays) -> None:
    steps.step(pieces_of(batch(0)))
    total = torch.zeros(1)
    for seed, scale in ((1, 0.5), (2, torch.tensor(3.0))):
        total += scale * expected(line, batch(seed))[1]
        steps.step(pieces_of(batch(seed)))
        steps.hand_over(scale)
        assert steps.norm is None
    torch.testing.assert_close(line.slope.grad, total)


def test_shapes_are_recorded_up_to_a_number(steps: Replays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replays, "MOST_SHAPES", 2)
    for rows in (3, 4, 5) * 3:
        steps.step(pieces_of(batch(rows, rows)))
    assert steps.recorded == 2
    assert not steps.is_replayed


def test_gradients_are_handed_over_once(steps: Replays) -> None:
    with pytest.raises(RuntimeError, match="no step"):
        steps.hand_over()
    for seed in range(2):
        steps.step(pieces_of(batch(seed)))
    steps.hand_over()
    with pytest.raises(RuntimeError, match="no step"):
        steps.hand_over()


def test_a_step_that_cannot_be_recorded_says_which_setting_asked_for_it(line: Line) -> None:
    def refuses(compute: Any, pool: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    steps = Replays(line.step, list(line.parameters()), record=refuses)
    steps.step(pieces_of(batch(0)))
    with pytest.raises(ConfigError, match=r"cuda_graphs.*not permitted.*Leave it out"):
        steps.step(pieces_of(batch(1)))


@pytest.mark.parametrize(
    ("family", "settings", "says"),
    [
        ("microbes", (), "this family"),
        ("signal", ("experiment_config.devices=2", "experiment_config.accelerator=cpu"), "one device"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_the_training(
    family: str, settings: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    data = [f"dataset_config.files={ensure_toy(tmp_path / 'toy.h5')}"] if family == "signal" else []
    with pytest.raises(ConfigError, match=f"cuda_graphs.*{says}"):
        train(get_family(family), [*data, *settings, RECORDED], Weights(), warm=False)


def test_a_processor_records_nothing_and_trains_as_it_does(tmp_path: Path) -> None:
    chosen = [f"dataset_config.files={ensure_toy(tmp_path / 'toy.h5')}", "model_config.training_config.max_steps=2"]
    plain, recorded = Weights(), Weights()
    train(get_family("signal"), chosen, plain, warm=False)
    train(get_family("signal"), [*chosen, RECORDED], recorded, warm=False)
    assert recorded.losses == plain.losses


class Weights(Callback):
    """Keep the losses of all steps and the weights at the end."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.weights: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: Trainer, module: LightningModule) -> None:
        if isinstance(module, TabstarModule):  # as on a card
            cast(TabStarNetwork, module.network).text_encoder.layout = "ragged"

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(float(outputs["mean"]))

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        self.weights = {name: weight.clone() for name, weight in module.state_dict().items()}


class Both(Replaying, Weights):
    """Both."""


RECORDED = "model_config.training_config.cuda_graphs=true"
EVENTS = ("dataset_config.files=TOY", "dataset_config.dataloader_kwargs.batch_size=256")
TABLES = (
    "dataset_config={corpus: CORPUS, tables: [iris, wine, diabetes], batch_size: 32, rows_per_dataset: 96}",
    "model_config=tabstar/tiny",
    "model_config.architecture_config.text_encoder={name: random, unfreeze_layers: 1}",
)
FROZEN = "model_config.architecture_config.text_encoder={name: random, unfreeze_layers: 0}"
ACCUMULATED = "model_config.training_config.accumulate_grad_batches=3"
BY_BATCH = "model_config.training_config.accumulate_by=batch"


def settings_for(folder: Path, settings: tuple[str, ...], precision: str) -> list[str]:
    files = {"CORPUS": str(ensure_builtin(folder / "builtin.h5")), "TOY": str(ensure_toy(folder / "toy.h5"))}
    return [
        *(setting.replace("CORPUS", files["CORPUS"]).replace("TOY", files["TOY"]) for setting in settings),
        "experiment_config.tracker=none",
        f"experiment_config.precision={precision}",
        "experiment_config.check_eval_n_epoch=100",
        "model_config.training_config.max_steps=6",
    ]


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("signal", EVENTS),
        ("signal", (*EVENTS, ACCUMULATED)),
        ("signal", (*EVENTS, ACCUMULATED, BY_BATCH)),
        ("fakes", ("stages=[numerator]", *EVENTS[1:])),
        ("tabstar", (*TABLES[:2], FROZEN)),
        ("tabstar", TABLES),
        ("tabstar", (*TABLES, ACCUMULATED)),
    ],
)
def test_a_training_by_recordings_ends_where_it_would(family: str, settings: tuple[str, ...], tmp_path: Path) -> None:
    chosen = settings_for(tmp_path, settings, "64-true")
    plain, replayed = Weights(), Both()
    for callback in (plain, replayed):
        train(get_family(family), chosen, callback, warm=False)
    assert replayed.replays.recorded > 0
    torch.testing.assert_close(torch.tensor(replayed.losses), torch.tensor(plain.losses), rtol=1e-9, atol=1e-9)
    for name, weight in plain.weights.items():
        torch.testing.assert_close(replayed.weights[name], weight, rtol=1e-8, atol=1e-8, msg=name)


@pytest.mark.parametrize(("family", "settings"), [("signal", EVENTS), ("tabstar", TABLES)])
def test_recorded_steps_have_the_bits_of_launched_ones_so_that_a_resume_has_too(
    family: str, settings: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded, launched = Both(), Both()
    train(get_family(family), settings_for(tmp_path, settings, "32-true"), recorded, warm=False)
    monkeypatch.setattr(replays, "MOST_SHAPES", 0)
    train(get_family(family), settings_for(tmp_path, settings, "32-true"), launched, warm=False)
    assert (recorded.replays.recorded > 0, launched.replays.recorded) == (True, 0)
    for name, weight in launched.weights.items():
        torch.testing.assert_close(recorded.weights[name], weight, rtol=0, atol=0, msg=name)
