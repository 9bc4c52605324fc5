"""Loss curves of the shipped defaults: how they are made, and how they stand in the text files beside this one.

A file holds one stage of one command. Lines that begin with ``#`` explain; every other one is a loss:

    train_loss_step 1 0.6942946140336946

which is its name, the optimizer step, and the value with all its digits.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from golden_run import FIXED, HERE, TOLERANCE, is_close, records, run

STEPS = {
    "train_tabstar": 100,
    "train_signal": 100,
    "train_fakes": 200,
    "train_experts": 4,
    "train_microbes": 8,
    "train_antibody": 20,
}
"""Optimizer steps of a stage. The schedules of learning rates reach their end in them, as shipped ones do later.

Of tables and toy collisions there are fewer: their networks pass through peaks of the loss, where the rounding of a sum
in another order grows. Those of experts, microbes and antibodies take long: there are few.
"""
STAGES = {
    "train_tabstar": ("pretrain",),
    "train_signal": ("train",),
    "train_fakes": ("numerator", "denominator", "ratio"),
    "train_experts": ("transformer", "state_space", "diffuser", "mixture"),
    "train_microbes": ("encoder", "predictor"),
    "train_antibody": ("train",),
}
WITHIN_AN_EPOCH = ("train_antibody", "train_experts")
"""Commands whose steps end before the first validation."""
LOSSES = ("train_loss_step", "val_loss")


class Loss(NamedTuple):
    """One value of one loss."""

    name: str
    step: int
    value: float


Curve = list[Loss]


def path_of(command: str, stage: str) -> Path:
    """Return the file that holds the curve of a stage."""
    return HERE / f"{command}_{stage}.txt"


def train(command: str, folder: Path, *overrides: str, threads: int = 1) -> dict[str, Curve]:
    """Train what a command ships as its default and return the curve of each stage, in the order of training."""
    names = ("experiment_config.experiment_name=curves", "experiment_config.run_name=golden")
    length = f"model_config.training_config.max_steps={STEPS[command]}"
    run(folder, (command, *FIXED, "experiment_config.tracker=none", *names, length, *overrides), threads=threads)
    curves: dict[str, Curve] = {}
    for record in records(folder / "runs/logs/curves/golden"):
        found = [Loss(name, record["step"], record[name]) for name in LOSSES if name in record]
        curves.setdefault(record["stage"], []).extend(found)
    return curves


def to_text(command: str, stage: str, curve: Curve) -> str:
    """Return a curve as its file has it."""
    head = (
        f"# Losses of the stage `{stage}` of `{command}` as it is shipped: {STEPS[command]} optimizer steps in\n"
        f"# double precision, on the CPU, with one thread. Made by `make golden`, compared at {TOLERANCE:g}.\n"
        "# loss step value\n"
    )
    return head + "".join(f"{loss.name} {loss.step} {loss.value!r}\n" for loss in curve)


def read(text: str) -> Curve:
    """Return the curve in the text of a file."""
    rows = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return [Loss(name, int(step), float(value)) for name, step, value in rows]


def difference(curve: Curve, expected: Curve) -> str | None:
    """Return how a curve departs from the expected one, in a sentence; None where it does not."""
    if [loss[:2] for loss in curve] != [loss[:2] for loss in expected]:
        first = next((pair for pair in zip(curve, expected, strict=False) if pair[0][:2] != pair[1][:2]), "the end")
        return f"{len(curve)} losses instead of {len(expected)}, or other steps, from {first} on"
    apart = [(got, want) for got, want in zip(curve, expected, strict=True) if not is_close(got.value, want.value)]
    if not apart:
        return None
    got, want = apart[0]
    return f"{len(apart)} of {len(curve)} differ, first {got.name} of step {got.step}: {got.value}, was {want.value}"
