"""``docs/results.md``: one section an experiment, each replaced by itself when its experiment is run again."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from benchmarks.experiment import Many, Trained
from tabstar_lit.engine.reports.markdown import table

INTRODUCTION = """\
# Results

Quality on real tables, measured through the training commands. `make results` runs every experiment and writes this
page anew; `make results ARGS=NAME` runs one of them and replaces its section. Each prints its figures as
`RESULT name=value`. A run keeps its own record, with all metrics, figures and the configuration, below `runs/`.

Where a duration is far above the processor time, the machine was busy with other work, too.
"""

MARK = re.compile(r"^<!-- experiment: (\w+) -->\n", re.MULTILINE)


@dataclass
class Section:
    """What one experiment has to tell.

    Attributes
    ----------
    title : str
        Heading.
    lines : list of str
        Markdown below it.
    results : mapping of str to float
        What is printed as ``RESULT name=value``.
    images : mapping of str to Path
        Figures to be copied beside the page, by the name they get there.
    """

    title: str
    lines: list[str]
    results: Mapping[str, float]
    images: Mapping[str, Path] = field(default_factory=dict)


def write_section(page: Path, name: str, section: Section, order: Sequence[str]) -> None:
    """Put a section into the page, in the place of its older self or in ``order``, with its figures.

    Parameters
    ----------
    page : Path
        The page; made when it is not there. Figures go to ``images/results`` beside it.
    name : str
        Of the experiment.
    section : Section
        Its results.
    order : sequence of str
        All experiments; sections of others are dropped.
    """
    images = page.parent / "images" / "results"
    images.mkdir(parents=True, exist_ok=True)
    for image, source in section.images.items():
        shutil.copyfile(source, images / f"{image}.png")
    text = page.read_text(encoding="utf-8") if page.exists() else ""
    _, *parts = MARK.split(text)
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    sections[name] = "\n".join([f"## {section.title}", "", *section.lines]).rstrip() + "\n\n"
    body = "".join(f"<!-- experiment: {known} -->\n{sections[known]}" for known in order if known in sections)
    page.write_text(f"{INTRODUCTION}\n{body.rstrip()}\n", encoding="utf-8")


def print_results(section: Section) -> None:
    """Print the figures, one a line."""
    for figure, value in section.results.items():
        click.echo(f"RESULT {figure}={value:.4g}" if 0 < abs(value) < 1e-3 else f"RESULT {figure}={value:.4f}")


def embedded(image: str, caption: str) -> list[str]:
    """Return the lines that embed a figure of :attr:`Section.images`."""
    return [f"![{caption}](images/results/{image}.png)", ""]


def results_table(results: Mapping[str, float]) -> list[str]:
    """Return the ``RESULT`` values as a table."""
    rows = [
        (f"`{name}`", f"{value:.1e}" if 0 < abs(value) < 1e-3 else f"{value:.4f}") for name, value in results.items()
    ]
    return table(("result", "value"), rows)


def how_it_was_made(runs: Sequence[Trained | Many], before: Iterable[str] = ()) -> list[str]:
    """Return commands, seed, duration, machine and versions.

    Parameters
    ----------
    runs : sequence of Trained or Many
        In the order they were run.
    before : iterable of str
        Commands that prepared the data.
    """
    record = runs[-1].record
    facts = [
        ("date", datetime.now(UTC).strftime("%Y-%m-%d")),
        ("seed", record["seed"]),
        ("machine", f"{os.cpu_count()} processor cores, {_accelerator(record)}"),
        ("duration", " + ".join(f"{run.wall_s:.0f} s" for run in runs)),
        ("processor time", " + ".join(f"{run.cpu_s:.0f} s" for run in runs)),
        ("versions", ", ".join(f"{name} {version}" for name, version in record["versions"].items())),
    ]
    # text, not bash: the tests of the documentation do not train these again.
    commands = ["```text", *before, *(one_word_a_line(run.command) for run in runs), "```", ""]
    return ["### How it was made", "", *commands, *table(("", ""), facts)]


def one_word_a_line(command: str) -> str:
    """Return a command that can still be pasted into a shell, and be read."""
    return " \\\n    ".join(map(shlex.quote, shlex.split(command)))


def _accelerator(record: Mapping[str, Any]) -> str:
    """Say which accelerator a run was trained on."""
    hardware = record.get("hardware") or {}
    return str(hardware.get("name", "no accelerator used"))
