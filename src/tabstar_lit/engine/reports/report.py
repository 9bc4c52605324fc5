"""``report.md``: what came of a run and how to use it, then figures, numbers, and how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.reports.figures import figures
from tabstar_lit.engine.reports.markdown import code, facts, link, table
from tabstar_lit.engine.reports.numbers import numbers
from tabstar_lit.engine.reports.page import as_page
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.files import RunFiles, format_value, is_evaluation
from tabstar_lit.engine.runs.records import PAGE_FILE, REPORT_FILE

SHOWN_KEYS = (
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


def write_report(run: RunDirectory, family: AnyFamily | None = None) -> Path:
    """Write ``report.md`` and ``report.html`` into the run directory, and return the path of the first.

    Parameters
    ----------
    run : RunDirectory
        Every path in the report is relative to it, and nothing secret is among what is read. The page holds its figures
        and needs no other file.
    family : Family or None
        Says how its checkpoints predict.
    """
    files = RunFiles(run.root)
    lines = [
        f"# {files.name}",
        "",
        *_verdict(files, run, family),
        *figures(files, run),
        *numbers(files),
        *_configuration(files),
        *_data(files),
        *_origin(files),
        *_how_to_go_on(files),
    ]
    text = "\n".join(lines)
    run.write(REPORT_FILE, text)
    run.write(PAGE_FILE, as_page(text, files.name, run.root))
    return run.root / REPORT_FILE


# -- what came of it --------------------------------------------------------------------------------------------------


def _verdict(files: RunFiles, run: RunDirectory, family: AnyFamily | None) -> Iterator[str]:
    """Yield the result of each stage, what to doubt, and how to predict with the last one's best checkpoint."""
    for name, result in files.stages.items():
        yield from _result(name if len(files.stages) > 1 else "", result, run)
    best = [result["best_checkpoint"] for result in files.stages.values() if result.get("best_checkpoint")]
    usage = family.usage(shlex.quote(Path(best[-1]).name)) if best and family else ""
    if usage:
        yield from ("Predict new data:", "", *code([usage]))


def _result(stage: str, result: Mapping[str, Any], run: RunDirectory) -> Iterator[str]:
    score, monitor = result.get("best_score"), result.get("monitor")
    of = f" of the stage {stage}" if stage else ""
    if result.get("evaluated"):
        checkpoint = Path(result["evaluated"])
        yield from (f"**Evaluation** of {link(checkpoint.name, checkpoint, run.root)}.", "")
    elif score is not None:
        early = ", and stopped early" if result.get("stopped_early") else ""
        epochs = ", ".join(map(str, result.get("averaged_epochs") or ()))
        of_best = f"by the mean of the weights of epochs {epochs}" if epochs else f"in epoch {result.get('best_epoch')}"
        reached = f"{of_best} of {result.get('epochs')} ({result.get('steps')} steps{early})"
        yield from (f"**Best {monitor}{of}: {format_value(score)}**, {reached}.", "")
    else:
        yield from (f"**The training{of} kept no best checkpoint**: status {result.get('status')}.", "")
    if best := result.get("best_checkpoint"):
        yield from (f"Checkpoint: {link(best, run.checkpoints / best, run.root)}", "")
    if tests := result.get("test"):
        side = result.get("test_side", "test")
        heading = "score on the test rows" if side == "test" else "score on the validation rows: there are no test rows"
        yield from table((heading, "value"), [(f"`{name}`", value) for name, value in tests.items() if "/" not in name])
    for note in result.get("notes") or ():
        yield from (f"**To look at:** {note}", "")


# -- what it was made of ----------------------------------------------------------------------------------------------


def _configuration(files: RunFiles) -> list[str]:
    rows = [
        (f"`{key}`", value)
        for key, value in files.config.items()
        if any(key == shown or key.startswith(f"{shown}.") for shown in SHOWN_KEYS)
        and value not in ("None", "[]", "{}")
    ]
    more = "Everything else is in [config.yaml](config.yaml); [provenance.yaml](provenance.yaml) says which file and"
    return ["## Configuration", "", *table(("key", "value"), rows), f"{more} line each value came from.", ""]


def _data(files: RunFiles) -> list[str]:
    found = {name: stage.get("data_fingerprint") for name, stage in files.stages.items()}
    if len(set(found.values())) == 1:
        found = {"all stages" if len(found) > 1 else "fingerprint": next(iter(found.values()))}
    about = {"content": next((stage["about"] for stage in files.stages.values() if stage.get("about")), None)}
    return ["## Data", "", *facts("data", {"name": files.config.get("dataset_config.name"), **about, **found})]


def _origin(files: RunFiles) -> list[str]:
    """Return by what, where and from which program the run was made."""
    record, git = files.record, files.record.get("git") or {}
    created = datetime.fromtimestamp(files.created, UTC).strftime("%Y-%m-%d %H:%M UTC")
    commit = f"{git['commit']}{'' if git.get('clean') else ' (with changes)'}" if git else None
    machine = record.get("machine") or {}
    known = {
        "status": files.status,
        "command": record.get("command"),
        "created": created,
        "resumed": f"{len(record['resumed'])} times" if record.get("resumed") else None,
        "seed": record.get("seed"),
        "trained on": _hardware(record.get("hardware") or {}),
        "machine": machine.get("system"),
        "git commit": commit,
        "MLflow run": record.get("mlflow_run_id"),
    }
    stages = {f"MLflow run of {name}": stage.get("mlflow_run_id") for name, stage in files.stages.items()}
    lines = ["## Run", "", *facts("run", known | stages)]
    if record.get("argv"):
        lines += ["Command line:", "", *code([shlex.join(_shown(record["argv"]))])]
    return [*lines, "## Versions", "", *table(("package", "version"), record.get("versions", {}).items())]


def _shown(argv: list[str]) -> list[str]:
    """Return the words of a command line with the name of the program instead of its path, and without a key."""
    words = [word for word in argv if not word.startswith("experiment_config.comet_api_key=")]
    return [Path(words[0]).name, *words[1:]]


def _hardware(record: Mapping[str, Any]) -> str | None:
    """Say in words what ``run.json`` knows of the devices."""
    if not record:
        return None
    name, card = record["accelerator"], record.get("name")
    parts = [f"{record['devices']} x {card or name}", f"precision {record['precision']}"]
    parts += [f"{record['world_size']} processes"] if record["world_size"] > 1 else []
    parts += [f"driver {record['driver']}"] if record.get("driver") else []
    return ", ".join(parts)


# -- how to go on -----------------------------------------------------------------------------------------------------


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
    lines = [
        "# watch: the table of metrics and its curve, or everything in the browser",
        f"tabstar_lit runs show {files.name}",
        "track -p 5000",
        *([] if is_evaluation(files.record) else resume),
        *(["# evaluate the best checkpoint", _evaluation(files, Path(best[-1]).name)] if best else []),
    ]
    return ["## Going on", "", *code(lines)]
