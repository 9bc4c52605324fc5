"""What the metrics of a run give reason to doubt, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from tabstar_lit.families.antibody.tracking_config import AntibodyTracking

RISING = 3
"""Epochs in a row in which the validation loss rises before it is said."""

TOO_MANY_RUNS = 0.1
"""Share of written antibodies with a long run of one letter that is too many."""

WORDS = {"antigen": "the antigen", "pkd": "the affinity"}


def doubts(history: Sequence[Mapping[str, float]], tracking: AntibodyTracking) -> Iterator[str]:
    """Yield a line about each sign of trouble in the last epoch of a history, and one about what is read."""
    if not history:
        return
    last = dict(history[-1])
    prefix = "test" if "test_loss" in last else "val"
    yield from _conditions(last, prefix)
    yield from _fit(history, last, tracking)
    yield from _written(last, prefix, tracking)


def _conditions(last: Mapping[str, float], prefix: str) -> Iterator[str]:
    for what, words in WORDS.items():
        names = [f"{prefix}_{what}_effect{end}" for end in ("", "_low", "_high")]
        if not all(name in last for name in names):
            continue
        mean, low, high = (last[name] for name in names)
        told = f"another one makes the loss {mean:+.3f} nats a token larger (95 % interval {low:+.3f} to {high:+.3f})"
        if low > 0:
            yield f"{words} is read: {told}."
        else:
            yield f"{words} is not shown to be read: {told}. A model that ignores it would score as well."


def _fit(
    history: Sequence[Mapping[str, float]], last: Mapping[str, float], tracking: AntibodyTracking
) -> Iterator[str]:
    if {"val_nll", "train_nll"} <= set(last) and (gap := last["val_nll"] - last["train_nll"]) > tracking.max_gap:
        yield (
            f"overfitting: validation is {gap:.2f} nats a token above training (more than {tracking.max_gap:g}). "
            "Take a smaller model, more pairs, or stop earlier."
        )
    losses = [own["val_loss"] for own in history if "val_loss" in own][-RISING - 1 :]
    if len(losses) > RISING and all(one < two for one, two in pairwise(losses)):
        yield f"val_loss rose in each of the last {RISING} epochs, to {losses[-1]:.3f}: the model is overfitting."


def _written(last: Mapping[str, float], prefix: str, tracking: AntibodyTracking) -> Iterator[str]:
    unique = last.get(f"{prefix}_written_uniqueness")
    if unique is not None and unique < tracking.min_diversity:
        yield (
            f"mode collapse: only {unique:.0%} of the written antibodies differ from each other (below "
            f"{tracking.min_diversity:.0%}). Train longer, or sample at a higher temperature."
        )
    runs = last.get(f"{prefix}_written_flaw_homopolymer", 0.0)
    if runs > TOO_MANY_RUNS:
        yield f"repetitive: {runs:.0%} of the written antibodies have runs of over {tracking.max_run} equal letters."
