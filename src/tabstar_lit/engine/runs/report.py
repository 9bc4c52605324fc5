"""``report.md``: what a run trained, on what, with what result, at what cost, and how to go on from it."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.files import RunFiles, format_value, is_evaluation
from tabstar_lit.engine.runs.records import COSTS, REPORT_FILE

FACTS = (
    "model_config.name",
    "dataset_config.name",
    "model_config.training_config.loss",
    "model_config.training_config.optimizer",
    "model_config.training_config.scheduler",
    "model_config.training_config.max_epochs",
    "model_config.training_config.accumulate_grad_batches",
    "model_config.training_config.gradient_clip_val",
    "model_config.freeze",
    "model_config.load_modules",
    "experiment_config.precision",
    "experiment_config.accelerator",
)
"""Keys of the configuration, or of whole sections of it, that the report repeats."""

FIGURE_SUFFIXES = (".png", ".svg", ".jpg")


def write_report(run: RunDirectory) -> Path:
    """Write ``report.md`` into the run directory from the files that are there, and return its path.

    Every path in it is relative to the run directory, and nothing secret is among what it reads.
    """
    files = RunFiles(run.root)
    lines = [
        f"# {files.name}",
        "",
        *_overview(files),
        *_configuration(files),
        *(line for stage in files.stages for line in _section(files, run, stage)),
        *_figures(run),
        *_versions(files),
        *_how_to_go_on(files),
    ]
    run.write(REPORT_FILE, "\n".join(lines))
    return run.root / REPORT_FILE


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Return the lines of a Markdown table, numbers shortened; no lines when there are no rows."""
    body = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    rule = "|" + " --- |" * len(header)
    return [f"| {' | '.join(header)} |", rule, *body, ""] if body else []


def _cell(value: object) -> str:
    return format_value(value).replace("|", "\\|")


def _overview(files: RunFiles) -> list[str]:
    record = files.record
    created = datetime.fromtimestamp(files.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
    facts = {
        "status": files.status,
        "command": record.get("command"),
        "created": created,
        "resumed": f"{len(record['resumed'])} times" if record.get("resumed") else None,
        "seed": record.get("seed"),
        "trained on": _hardware(record.get("hardware") or {}),
        "MLflow run": record.get("mlflow_run_id"),
    }
    return table(("run", ""), [(name, value) for name, value in facts.items() if value is not None])


def _hardware(record: Mapping[str, Any]) -> str | None:
    """Say in words what ``run.json`` knows of the devices."""
    if not record:
        return None
    name, card = record["accelerator"], record.get("name")
    parts = [f"{record['devices']} x {card or name}", f"precision {record['precision']}"]
    parts += [f"{record['world_size']} processes"] if record["world_size"] > 1 else []
    parts += [f"driver {record['driver']}"] if record.get("driver") else []
    return ", ".join(parts)


def _configuration(files: RunFiles) -> list[str]:
    rows = [
        (f"`{key}`", value)
        for key, value in files.config.items()
        if any(key == fact or key.startswith(f"{fact}.") for fact in FACTS) and value not in ("None", "[]", "{}")
    ]
    more = "Everything else is in [config.yaml](config.yaml); [provenance.yaml](provenance.yaml) says which file and"
    return ["## Configuration", "", *table(("key", "value"), rows), f"{more} line each value came from.", ""]


def _section(files: RunFiles, run: RunDirectory, stage: str) -> list[str]:
    evaluated = files.stages[stage].get("evaluated")
    return _stage(files, run, stage) if evaluated is None else _test(files, run, stage, Path(evaluated))


def _test(files: RunFiles, run: RunDirectory, stage: str, checkpoint: Path) -> list[str]:
    """Tell of a test, whose numbers are of no epoch."""
    result = files.stages[stage]
    facts = {
        "status": result.get("status"),
        "checkpoint": _link(checkpoint.name, checkpoint, run.root),
        "configured as stage": stage,
        "data fingerprint": result.get("data_fingerprint"),
        "MLflow run": result.get("mlflow_run_id"),
    }
    rows = [(name, value) for name, value in (facts | _tests(result)).items() if value is not None]
    return ["## Evaluation", "", *table(("result", ""), rows)]


def _tests(result: Mapping[str, Any]) -> dict[str, Any]:
    return {f"test: {name}": value for name, value in (result.get("test") or {}).items()}


def _stage(files: RunFiles, run: RunDirectory, stage: str) -> list[str]:
    epochs = files.epochs(stage)
    plain = [name for name in files.names(stage) if "/" not in name and any(name in e for e in epochs.values())]
    costs = [name for name in plain if name in COSTS]
    results = [name for name in plain if name not in COSTS]
    return [
        f"## Stage {stage}",
        "",
        *_result(files, run, stage),
        "### Metrics per epoch",
        "",
        *table(("epoch", *results), [(n, *(e.get(name) for name in results)) for n, e in epochs.items()]),
        *_by_source(epochs),
        *(_costs(epochs, costs) if costs else ()),
    ]


def _costs(epochs: Mapping[int, Mapping[str, float | None]], costs: Sequence[str]) -> list[str]:
    return [
        "### Time and memory per epoch",
        "",
        *table(("epoch", *costs), [(n, *(e.get(name) for name in costs)) for n, e in epochs.items()]),
        *_totals(epochs),
    ]


def _result(files: RunFiles, run: RunDirectory, stage: str) -> list[str]:
    result = files.stages[stage]
    facts = {
        "status": result.get("status"),
        "epochs": result.get("epochs"),
        "optimizer steps": result.get("steps"),
        f"best {result.get('monitor')}": result.get("best_score"),
        "best epoch": result.get("best_epoch"),
        "mean of the weights of epochs": ", ".join(map(str, result.get("averaged_epochs") or ())) or None,
        "best checkpoint": _checkpoint_link(run, result.get("best_checkpoint")),
        "stopped early": "yes" if result.get("stopped_early") else None,
        "data fingerprint": result.get("data_fingerprint"),
        "MLflow run": result.get("mlflow_run_id"),
    }
    rows = [(name, value) for name, value in (facts | _tests(result)).items() if value is not None]
    notes = [f"**To look at:** {note}" for note in result.get("notes") or ()]
    return [*table(("result", ""), rows), *(line for note in notes for line in (note, ""))]


def _checkpoint_link(run: RunDirectory, checkpoint: str | None) -> str | None:
    return None if checkpoint is None else _link(checkpoint, run.checkpoints / checkpoint, run.root)


def _by_source(epochs: dict[int, dict[str, float | None]]) -> list[str]:
    """Return first and last value of every metric that exists per source (``val_auc/<source>``)."""
    firsts: dict[str, tuple[int, float | None]] = {}
    lasts: dict[str, tuple[int, float | None]] = {}
    for number, values in epochs.items():
        for name, value in values.items():
            if "/" in name and not name.startswith("lr/"):
                firsts.setdefault(name, (number, value))
                lasts[name] = (number, value)
    rows = [
        (*reversed(name.split("/", maxsplit=1)), firsts[name][1], lasts[name][1], lasts[name][0])
        for name in sorted(lasts)
    ]
    lines = table(("source", "metric", "first", "last", "in epoch"), rows)
    return ["### By source", "", *lines] if lines else []


def _totals(epochs: Mapping[int, Mapping[str, float | None]]) -> list[str]:
    seconds = [e["epoch_seconds"] or 0.0 for e in epochs.values() if "epoch_seconds" in e]
    if not seconds:
        return []
    peak = max((e.get("rss_mib") or -math.inf for e in epochs.values()), default=-math.inf)
    return [f"{sum(seconds):.1f} s in {len(seconds)} epochs; at most {peak:.0f} MiB of memory.", ""]


def _figures(run: RunDirectory) -> list[str]:
    """Embed summary figures and, of those drawn every epoch, the last one of each folder."""
    pictures = sorted(path for path in run.figures.rglob("*") if path.suffix in FIGURE_SUFFIXES)
    shown: dict[Path, Path] = {}
    for path in pictures:
        every_epoch = path.stem.startswith(("epoch_", "test"))
        shown[path.parent if every_epoch else path] = path
    lines = [line for path in shown.values() for line in (f"!{_link(_title(path, run), path, run.root)}", "")]
    return ["## Figures", "", *lines] if lines else []


def _title(path: Path, run: RunDirectory) -> str:
    return path.relative_to(run.figures).with_suffix("").as_posix()


def _link(text: str, target: Path, base: Path) -> str:
    return f"[{text}]({quote(Path(os.path.relpath(target, base)).as_posix())})"


def _versions(files: RunFiles) -> list[str]:
    git = files.record.get("git") or {}
    commit = [("git commit", f"{git['commit']}{'' if git.get('clean') else ' (with changes)'}")] if git else []
    rows = [*files.record.get("versions", {}).items(), *commit]
    return ["## Versions", "", *table(("package", "version"), rows)]


def _evaluation(files: RunFiles, checkpoint: str) -> str:
    """Return the command that evaluates a checkpoint under the configuration of the run, as a run of its own."""
    unwanted = ("--resume", "experiment_config.run_name=", "experiment_config.comet_api_key=")
    given = [word for word in files.record.get("argv", [])[1:] if not word.startswith(unwanted)]
    name = f"experiment_config.run_name={files.record['run_name']}_test"
    return shlex.join(
        [files.record.get("command", "train"), *given, f"model_config.load_checkpoint={checkpoint}", name]
    )


def _how_to_go_on(files: RunFiles) -> list[str]:
    command = files.record.get("command", "train")
    best = [stage["best_checkpoint"] for stage in files.stages.values() if stage.get("best_checkpoint")]
    resume = [
        "# go on where the run stopped; RUN_DIRECTORY is the folder of this report",
        f"{command} --resume RUN_DIRECTORY",
    ]
    evaluate = ["# evaluate the best checkpoint", _evaluation(files, Path(best[-1]).name)] if best else []
    return [
        "## Going on",
        "",
        "```bash",
        "# watch: the table of metrics and its curve, or everything in the browser",
        f"tabstar_lit runs show {files.name}",
        "track -p 5000",
        *([] if is_evaluation(files.record) else resume),
        *evaluate,
        "```",
        "",
    ]
