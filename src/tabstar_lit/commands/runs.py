"""``tabstar_lit runs``: look at runs in the terminal, while they go on and after."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tabstar_lit.commands.completion import names_of_runs
from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.terminal import curve, print_table
from tabstar_lit.config import roots
from tabstar_lit.config.tree import did_you_mean, suggestion
from tabstar_lit.engine.options import CommandGroup, examples
from tabstar_lit.engine.runs.differences import (
    Cells,
    StepDifference,
    configuration_differences,
    data_differences,
    first_difference,
    last_steps,
    program_differences,
    side_by_side,
)
from tabstar_lit.engine.runs.files import RunFiles, find_run, format_value, in_order, run_directories
from tabstar_lit.engine.runs.ranking import Score, chosen_metric, is_larger_better, ranking
from tabstar_lit.engine.runs.records import METRICS_FILE, RESERVED, parse_record
from tabstar_lit.errors import RunError

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5

save_dir_option = click.option(
    "--save-dir",
    type=click.Path(path_type=Path),
    help="Folder of the runs (experiment_config.save_dir); default: ANALYSIS_ML_LOGS_DIR, else runs/logs.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for other programs.")


@click.group(
    "runs",
    cls=CommandGroup,
    help="List, rank, show and compare runs.",
    epilog=examples(
        ("tabstar_lit runs list", "what has been trained"),
        ("tabstar_lit runs best --metric val_loss", "the best checkpoint of all"),
        ("tabstar_lit runs show RUN --follow", "watch one that goes on"),
        ("tabstar_lit runs diff RUN OTHER", "why two runs differ"),
    ),
)
def runs() -> None:
    """Group of the verbs below."""


@runs.command(
    "list", epilog=examples(("tabstar_lit runs list", "all"), ("tabstar_lit runs list --json", "for programs"))
)
@save_dir_option
@json_option
def list_runs(save_dir: Path | None, as_json: bool) -> None:
    """List all runs, oldest first, with their state and best score."""
    with reported_errors():
        found = in_order(run_directories(save_dir or roots().logs))
        if as_json:
            click.echo(json.dumps([summary(run) for run in found], indent=2))
        elif not found:
            click.echo(f"no runs in {save_dir or roots().logs}")
        else:
            header = ["run", "status", "stage", "epochs", "monitor", "best", "created"]
            rows = [row for run in found for row in overview(run)]
            print_table(header, rows, optional=("stage", "epochs", "created"))


@runs.command(
    "show",
    epilog=examples(
        ("tabstar_lit runs show RUN", "tables and curves"),
        ("tabstar_lit runs show RUN -m val_loss -m train_loss", "these curves"),
        ("tabstar_lit runs show RUN --follow", "while it goes on"),
    ),
)
@click.argument("name", shell_complete=names_of_runs)
@click.option("--metric", "-m", "metrics", multiple=True, help="Metric whose curve is drawn; can be repeated.")
@click.option("--follow", "-f", is_flag=True, help="Print new metrics as they come, until the run ends.")
@save_dir_option
@json_option
def show(name: str, metrics: tuple[str, ...], follow: bool, save_dir: Path | None, as_json: bool) -> None:
    """Show the run NAME: its state, its metrics per epoch, and curves."""
    with reported_errors():
        run = find_run(name, save_dir or roots().logs)
        check_metrics(run, metrics)
        if as_json:
            click.echo(json.dumps(details(run, metrics), indent=2))
        elif follow:
            for line in new_lines(run, metrics):
                click.echo(line)
            click.echo(f"{run.name} {RunFiles(run.root).status}")
        else:
            print_portrait(run, metrics)


@runs.command("compare", epilog=examples(("tabstar_lit runs compare RUN OTHER THIRD", "side by side")))
@click.argument("names", nargs=-1, required=True, metavar="NAME NAME ...", shell_complete=names_of_runs)
@save_dir_option
@json_option
def compare(names: tuple[str, ...], save_dir: Path | None, as_json: bool) -> None:
    """Compare runs: the configuration keys that differ, and best and last metrics side by side."""
    with reported_errors():
        found = [find_run(name, save_dir or roots().logs) for name in names]
        config, results = configuration_differences(found), side_by_side(found)
        if as_json:
            click.echo(json.dumps({"config": config, "metrics": results}, indent=2))
        else:
            print_cells("configuration", config, found)
            print_cells("metrics", results, found)


@runs.command("diff", epilog=examples(("tabstar_lit runs diff RUN OTHER", "why they differ")))
@click.argument("one", shell_complete=names_of_runs)
@click.argument("other", shell_complete=names_of_runs)
@save_dir_option
@json_option
def diff(one: str, other: str, save_dir: Path | None, as_json: bool) -> None:
    """Say why two runs differ: configuration, data, program and machine, and the first step whose numbers do."""
    with reported_errors():
        first, second = found = [find_run(name, save_dir or roots().logs) for name in (one, other)]
        parts = {
            "configuration": configuration_differences(found),
            "data": data_differences(found),
            "program": program_differences(found),
        }
        step = first_difference(first, second)
        if as_json:
            named = None if step is None else step._asdict()
            click.echo(json.dumps({**parts, "first_step": named}, indent=2))
            return
        for title, cells in parts.items():
            print_cells(title, cells, found)
        click.echo(f"metrics: {describe_step(step, first, second)}")


@runs.command(
    "best",
    epilog=examples(
        ("tabstar_lit runs best", "as monitored"),
        ("tabstar_lit runs best --metric val_loss -n 3", "by another metric"),
        ("tabstar_lit runs best --experiment higgs", "of one experiment"),
    ),
)
@click.option("--metric", "-m", help="What is ranked; default: what the youngest run monitored.")
@click.option(
    "--mode", type=click.Choice(["min", "max"]), help="Whether small or large is good; default: as monitored."
)
@click.option("--experiment", "-e", help="Rank the runs of this experiment only.")
@click.option("-n", "count", type=click.IntRange(1), default=10, show_default=True, help="How many are shown.")
@save_dir_option
@json_option
def best(
    *,
    metric: str | None,
    mode: str | None,
    experiment: str | None,
    count: int,
    save_dir: Path | None,
    as_json: bool,
) -> None:
    """Rank all runs by a metric, and say where the best checkpoint is."""
    with reported_errors():
        found = in_order(run_directories(save_dir or roots().logs, experiment))
        name = chosen_metric(found, metric)
        larger = is_larger_better(found, name) if mode is None else mode == "max"
        scores = ranking(found, name, larger=larger)
        if as_json:
            click.echo(json.dumps([described(score, name) for score in scores[:count]], indent=2))
            return
        rows = [[s.run.name, s.run.status, s.stage, s.epoch, s.value] for s in scores[:count]]
        print_table(["run", "status", "stage", "epoch", name], rows, optional=("stage",))
        click.echo(f"\n{len(scores)} scores of {len(found)} runs; {'larger' if larger else 'smaller'} is better")
        click.echo(f"best checkpoint: {scores[0].checkpoint or 'not kept'}")


def check_metrics(run: RunFiles, metrics: Sequence[str]) -> None:
    """Make sure the run has logged ``metrics``."""
    known = run.names()
    for metric in metrics:
        if metric not in known and known:
            hint = did_you_mean(metric, known, n=3) or suggestion(metric, known, listed="It has")
            raise RunError(f"{run.name} has no metric {metric!r}.{hint}")


# -- what is said -----------------------------------------------------------------------------------------------------


def summary(run: RunFiles) -> dict[str, Any]:
    """Return what the list says of a run, for other programs."""
    record = run.record
    kept = {key: record.get(key) for key in ("command", "family", "created", "seed", "mlflow_run_id")}
    return {"name": run.name, "directory": str(run.root), "status": run.status, **kept, "stages": run.stages}


def overview(run: RunFiles) -> Iterator[list[object]]:
    """Yield the run's rows of the list, one for every stage."""
    created = datetime.fromtimestamp(run.created).strftime("%Y-%m-%d %H:%M")
    for i, (stage, result) in enumerate((run.stages or {"–": {}}).items()):
        row = [stage, result.get("epochs") or _epochs(run, stage), result.get("monitor"), result.get("best_score")]
        yield [run.name if i == 0 else "", run.status if i == 0 else "", *row, created if i == 0 else ""]


def _epochs(run: RunFiles, stage: str) -> int | None:
    """Count the epochs of a stage that has not ended; the metrics of one run must not keep others from being listed."""
    try:
        return len(run.epochs(stage))
    except RunError as error:
        log.warning("%s", error)
        return None


def print_portrait(run: RunFiles, metrics: Sequence[str]) -> None:
    """Print tables and curves of a run."""
    click.echo(f"{run.name}  {run.status}  {run.root}")
    for stage, result in run.stages.items():
        epochs = run.epochs(stage)
        columns = [n for n in run.names(stage) if "/" not in n and any(n in values for values in epochs.values())]
        rows = [[number, *(values.get(name) for name in columns)] for number, values in epochs.items()]
        score = result.get("best_score")  # known when the stage has ended
        best = "" if score is None else f": best {result.get('monitor')} {format_value(score)}"
        click.echo(f"\nstage {stage} {result.get('status', '')}{best}\n")
        print_table(["epoch", *columns], rows)
        for name in metrics or default_metrics(run, stage):
            if series := run.series(name, stage):
                click.echo(f"\n{name} over steps\n{curve(series)}")


def print_cells(title: str, cells: Cells, found: Sequence[RunFiles]) -> None:
    """Print a table of what differs, a column for each run; nothing but a word where nothing does."""
    if not cells:
        click.echo(f"{title}: no differences\n")
        return
    names = [run.root.name for run in found]
    header = names if len(set(names)) == len(names) else [run.name for run in found]
    print_table([title, *header], [[key, *values.values()] for key, values in cells.items()], first=34)
    click.echo()


def describe_step(step: StepDifference | None, one: RunFiles, other: RunFiles) -> str:
    """Return in words where the numbers of two runs begin to differ."""
    if step is not None:
        values = " and ".join(map(repr, step.values))
        return f"first difference in stage {step.stage} at step {step.step}: {step.metric} {values}"
    ends = [", ".join(f"{stage} to step {last}" for stage, last in last_steps(run).items()) for run in (one, other)]
    if ends[0] == ends[1]:
        return f"no differences ({ends[0] or 'nothing was logged'})"
    return f"no differences as far as both go; {one.name} has {ends[0] or 'none'}, {other.name} {ends[1] or 'none'}"


def described(score: Score, metric: str) -> dict[str, Any]:
    """Return a place of the ranking, for other programs."""
    checkpoint = None if score.checkpoint is None else str(score.checkpoint)
    place = {"run": score.run.name, "directory": str(score.run.root), "stage": score.stage, "epoch": score.epoch}
    return {**place, "metric": metric, "value": score.value, "checkpoint": checkpoint}


def default_metrics(run: RunFiles, stage: str) -> list[str]:
    """Return the metrics drawn when none is asked for: the monitored one, else losses."""
    monitor = run.stages[stage].get("monitor")
    preferred = [monitor] if monitor else ["val_loss", "train_loss"]
    return [name for name in run.names(stage) if name in preferred][-1:]


def details(run: RunFiles, metrics: Sequence[str]) -> dict[str, Any]:
    """Return everything ``show`` says of a run, for other programs."""
    epochs = {stage: run.epochs(stage) for stage in run.stages}
    asked_for = {m: [r for r in run.metrics if m in r] for m in metrics}
    series = {m: [{k: r[k] for k in ("stage", "epoch", "step", m)} for r in found] for m, found in asked_for.items()}
    return {**summary(run), "config": run.config, "epochs": epochs, "series": series}


# -- following --------------------------------------------------------------------------------------------------------


def new_lines(run: RunFiles, metrics: Sequence[str], poll_seconds: float = POLL_SECONDS) -> Iterator[str]:
    """Yield a line for every record of ``metrics.jsonl``, those to come included, until the run has ended."""
    path = run.root / METRICS_FILE
    position = 0
    while True:
        over = RunFiles(run.root).status != "running"  # asked before reading, so that nothing is missed
        if path.exists():
            if path.stat().st_size < position:  # a resumed run cut the file back; what stayed was shown
                position = path.stat().st_size
            with path.open(encoding="utf-8") as file:
                file.seek(position)
                while (line := file.readline()).endswith("\n"):
                    position = file.tell()
                    if text := describe(parse_record(line, str(path)), metrics):
                        yield text
        if over:
            return
        time.sleep(poll_seconds)


def describe(record: dict[str, Any], metrics: Sequence[str]) -> str:
    """Return a record as one line, only ``metrics`` if any are given; empty when it has none of them."""
    shown = [name for name in record if name not in RESERVED and (not metrics or name in metrics)]
    values = [f"{name} {format_value(record[name])}" for name in shown]
    when = datetime.fromtimestamp(record["time"]).strftime("%H:%M:%S")
    place = f"{when}  {record['stage']}  epoch {record['epoch']}  step {record['step']}"
    return "  ".join([place, *values]) if values else ""
