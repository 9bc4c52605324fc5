"""The card of a model: what it is, what it was trained on, how good it is and how it is used, for who only has it."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tabstar_lit.data.outputs import whole_file
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.reports.card_text import CardText
from tabstar_lit.engine.reports.markdown import code, facts, table
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.files import RunFiles, format_value
from tabstar_lit.engine.trained import kept_config
from tabstar_lit.engine.weights.files import read_checkpoint
from tabstar_lit.engine.weights.loading import network_weights
from tabstar_lit.errors import CheckpointError

log = logging.getLogger(__name__)

CARD_FILE = "README.md"
"""As hubs of models call it."""


def model_card(text: CardText, name: str, *, family: str, usage: str = "", known: Sequence[str] = ()) -> str:
    """Return a card in Markdown, with the head that hubs read.

    Parameters
    ----------
    text : CardText
        What the family says.
    name : str
        Of the file or folder that the card stands beside.
    family : str
        Name of the family, a tag.
    usage : str
        The command that predicts.
    known : sequence of str
        Further lines: scores, and where they come from.
    """
    head = ["---", "library_name: tabstar_lit", f"tags: [{', '.join([family, *text.tags])}]", "---"]
    limits = ["## Limits", "", *(f"- {limit}" for limit in text.limits), ""] if text.limits else []
    details = [*(f"- {detail}" for detail in text.details), ""] if text.details else []
    trained_on = ["## Trained on", "", *text.trained_on, ""] if text.trained_on else []
    what = ["", f"# {name}", "", text.what, ""]
    return "\n".join([*head, *what, *details, *trained_on, *known, *_use(text, name, usage), *limits])


def _use(text: CardText, name: str, usage: str) -> Iterator[str]:
    if usage or text.use:
        yield from ("## Use", "", *(code([usage]) if usage else ()))
        yield from code(["import tabstar_lit", "", f'model = tabstar_lit.load("{name}")', *text.use], "python")


def write_card(text: CardText, path: Path, name: str, *, family: str) -> Path:
    """Write the card of an exported model, called ``name``, to ``path``, and return that."""
    with whole_file(path) as part:
        part.write_text(model_card(text, name, family=family), encoding="utf-8")
    return path


def write_cards(family: AnyFamily, run: RunDirectory) -> list[Path]:
    """Write a card beside the best checkpoint of each stage of a run that is still there, with its scores.

    A card that cannot be written is told of; the run has been finished all the same.
    """
    files, written = RunFiles(run.root), []
    for stage, result in files.stages.items():
        checkpoint = run.checkpoints / str(result.get("best_checkpoint"))
        if checkpoint.is_file():
            try:
                written.append(_card_of(family, files, stage, checkpoint))
            except (OSError, CheckpointError) as error:
                log.warning("The card of %s cannot be written. %s", checkpoint, error)
    return written


def _card_of(family: AnyFamily, files: RunFiles, stage: str, checkpoint: Path) -> Path:
    content, result = read_checkpoint(checkpoint, mmap=True), files.stages[stage]
    count = sum(weight.numel() for weight in network_weights(content, checkpoint).values())
    known = [*_scores(result), *_origin(files, stage, result, count)]
    name, path = checkpoint.name, checkpoint.with_name(CARD_FILE)
    usage = family.usage(shlex.quote(name))
    card = model_card(family.card(kept_config(content)), name, family=family.name, usage=usage, known=known)
    with whole_file(path) as part:
        part.write_text(card, encoding="utf-8")
    return path


def _scores(result: Mapping[str, Any]) -> Iterator[str]:
    rows = [(result.get("monitor"), "validation", format_value(result.get("best_score")))]
    side = "test" if result.get("test_side") == "test" else "validation"
    rows += [(name, side, value) for name, value in (result.get("test") or {}).items() if "/" not in name]
    yield from ("## Scores", "", *table(("score", "data", "value"), rows))


def _origin(files: RunFiles, stage: str, result: Mapping[str, Any], parameters: int) -> Iterator[str]:
    versions, git = files.record.get("versions", {}), files.record.get("git") or {}
    known = {
        "run": files.name,
        "stage": stage,
        "parameters": f"{parameters:,}",
        "data": files.config.get("dataset_config.name"),
        "data fingerprint": result.get("data_fingerprint"),
        "epoch": result.get("best_epoch"),
        "seed": files.record.get("seed"),
        "tabstar_lit": versions.get("tabstar_lit"),
        "torch": versions.get("torch"),
        "git commit": git.get("commit"),
    }
    yield from ("## Origin", "", *facts("origin", known))
