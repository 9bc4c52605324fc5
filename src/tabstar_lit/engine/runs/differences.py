"""What differs between runs: configuration, data, program, results, and the first step whose numbers do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tabstar_lit.engine.runs.files import MEMORY, RunFiles
from tabstar_lit.engine.runs.records import COSTS, RESERVED
from tabstar_lit.engine.tracking.uploads import flatten

Cells = dict[str, dict[str, Any]]
"""Rows of a table: key -> name of a run -> its value."""

PROGRAM = ("command", "argv", "user", "seed", "versions", "git", "machine", "hardware")
"""Keys of ``run.json`` that say what trained the run, and on what."""


class StepDifference(NamedTuple):
    """The first step of a stage at which a metric of two runs differs, or where one of them has none."""

    stage: str
    step: int
    metric: str
    values: tuple[float | None, float | None]


def configuration_differences(found: Sequence[RunFiles]) -> Cells:
    """Return the configuration keys whose values differ, with every run's value."""
    return _differing({run.name: run.config for run in found})


def data_differences(found: Sequence[RunFiles]) -> Cells:
    """Return the stages that were trained on other data, with every run's fingerprint.

    A run that also says how earlier releases knew its data is compared with theirs by that.
    """
    stages = {run.name: run.stages for run in found}
    differing = _differing(
        {name: {n: s.get("data_fingerprint") for n, s in own.items()} for name, own in stages.items()}
    )
    return {
        stage: cells
        for stage, cells in differing.items()
        if not set.intersection(*(_fingerprints(own.get(stage, {})) for own in stages.values()))
    }


def program_differences(found: Sequence[RunFiles]) -> Cells:
    """Return what differs in command, versions, commit and machine."""
    return _differing({run.name: dict(flatten({key: run.record.get(key) for key in PROGRAM})) for run in found})


def side_by_side(found: Sequence[RunFiles]) -> Cells:
    """Return best scores and the last value of every metric per epoch, with every run's value."""
    values: Cells = {}
    for run in found:
        for stage, result in run.stages.items():
            if result.get("monitor"):
                values.setdefault(f"{stage}: best {result['monitor']}", {})[run.name] = result.get("best_score")
            last = {name: value for epoch in run.epochs(stage).values() for name, value in epoch.items()}
            for name, value in last.items():
                values.setdefault(f"{stage}: last {name}", {})[run.name] = value
    return {key: {run.name: cells.get(run.name) for run in found} for key, cells in values.items()}


def first_difference(one: RunFiles, other: RunFiles) -> StepDifference | None:
    """Return where the metrics of two runs begin to differ; None where they are equal as far as both go.

    Numbers are compared bit for bit; what measures the machine, and when, is left out.
    """
    theirs = _by_step(other)
    for (stage, step), metrics in _by_step(one).items():
        if (stage, step) not in theirs:
            continue
        against = theirs[stage, step]
        for name in dict.fromkeys((*metrics, *against)):
            values = metrics.get(name), against.get(name)
            if values[0] != values[1]:
                return StepDifference(stage, step, name, values)
    return None


def last_steps(run: RunFiles) -> dict[str, int]:
    """Return the last step of every stage that has metrics."""
    return {record["stage"]: record["step"] for record in run.metrics}


def _fingerprints(stage: Mapping[str, Any]) -> set[str | None]:
    return {stage.get("data_fingerprint"), *stage.get("earlier_data_fingerprints", ())}


def _by_step(run: RunFiles) -> dict[tuple[str, int], dict[str, float | None]]:
    steps: dict[tuple[str, int], dict[str, float | None]] = {}
    left_out = {*RESERVED, *COSTS, MEMORY}
    for record in run.metrics:
        values = {name: value for name, value in record.items() if name not in left_out}
        if values:
            steps.setdefault((record["stage"], record["step"]), {}).update(values)
    return steps


def _differing(values: Mapping[str, Mapping[str, Any]]) -> Cells:
    keys = dict.fromkeys(key for of_run in values.values() for key in of_run)
    table = {key: {name: of_run.get(key) for name, of_run in values.items()} for key in keys}
    return {key: cells for key, cells in table.items() if len(set(cells.values())) > 1}
