"""Quality of the tabstar family: scores of held-out rows before and after training, table by table."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.experiment import StartAndEnd, start_and_end
from benchmarks.page import Section, embedded, how_it_was_made, results_table
from tabstar_lit.config.paths import roots
from tabstar_lit.data.outputs import whole_file
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.family import TabstarFamily
from tabstar_lit.families.tabstar.tables.converter import FileSource, convert
from tabstar_lit.families.tabstar.tables.manifest import TableEntry, read_manifest
from tabstar_lit.plots.style import PALETTE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tabstar_lit.engine.module import TrainingModule
    from tabstar_lit.families.tabstar.config import TabstarExperiment
    from tabstar_lit.families.tabstar.data import TabstarData

REPOSITORY = Path(__file__).resolve().parents[1]
DATA_VARIABLE = "TABSTAR_LIT_SHARED_DATA"
MANIFEST = "tabular.yaml"
CORPUS = "public_tables.h5"
PUBLIC_TABLES = ("model_config=tabstar/public_tables", "dataset_config=tabstar/public_tables")

SCORE = "val_score"
LOWEST_SHOWN = -0.4
"""R² has no lower bound; a worse score is drawn here."""

BUILTIN_TEXT = """\
What `train_tabstar` does without arguments: a small network with a fixed sentence encoder learns the five real tables
that scikit-learn carries. Scores are of the rows held out of training, all of a table together: ROC-AUC (each class
against the rest, mean over classes) for classification, R² for regression. *Start* is the network before its first
step, *end* after its last; `val_score` is the mean over tables. Random weights order the rows of a table somehow, so a
start may lie far from 0.5 on either side.
"""

PUBLIC_TEXT = """\
One network, one training, {tables} tables of very different kinds: censuses, loans, films, storms, reviews, issues. The
sentence encoder is fixed; the rest starts from random weights and sees some hundred rows of each table in an epoch.
This shows that one network learns all of them at once, in minutes on a processor. It is no comparison with methods
that are tuned for a single table. Scores as above, on at most {val_rows} held-out rows of a table.
"""

Scores = Mapping[str, tuple[float, float]]
"""Start and end by table."""


class ReadingOnce(TabstarFamily):
    """The tabstar family, but a fixed text encoder reads the strings of a table once for all runs, in whatever process.

    What is kept in files below the data root is what a run of its own would compute again, in minutes.
    """

    def module(self, experiment: TabstarExperiment, data: TabstarData) -> TrainingModule:
        """Build the module; the vectors of its strings come from files, which are made where they are missing."""
        module = super().module(experiment, data)
        if module.network.text_encoder.is_frozen:
            whole = torch.cat([_vectors(name, data, module.network) for name in data.names])
            module.network.text_lookup = lambda strings: whole[torch.from_numpy(strings)].to(module.device)
        return module


def _vectors(table: str, data: TabstarData, network: Any) -> Tensor:
    """Return the vectors ``[V, D]`` of a table's strings, in the order of their numbers."""
    first = data.tokens.first(table)
    strings = np.arange(first, first + len(data.tokens.ranks(table)))
    words = network.text_encoder.embeddings.word_embeddings.weight
    key = hashlib.sha256(data.tokens.gather(strings)[0].tobytes() + words.detach().numpy().tobytes())
    path = roots().data / "string_vectors" / f"{table}-{key.hexdigest()[:16]}.pt"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            torch.save(network.text_lookup(strings), part)
    vectors: Tensor = torch.load(path, weights_only=True)
    return vectors


def builtin() -> Section:
    """Train what ``train_tabstar`` trains when nothing else is said."""
    trained = start_and_end(ReadingOnce())
    scores = trained.scores(SCORE)
    results = named_results(trained, "tabstar.builtin_score")
    return Section(
        "The default training: tables of scikit-learn",
        [
            BUILTIN_TEXT,
            *results_table(results),
            *table(("table", "start", "end"), [(name, *rounded(pair)) for name, pair in scores.items()]),
            *embedded("builtin_scores", "Score per table and epoch, and the mean"),
            *how_it_was_made([trained.start, trained.end]),
        ],
        results,
        {"builtin_scores": trained.end.figures / "scores.png"},
    )


def real_tables() -> Section:
    """Train one network on all tables of the manifest at once, from nothing."""
    entries = convert_tables(find_manifest())
    trained = start_and_end(ReadingOnce(), PUBLIC_TABLES)
    scores = trained.scores(SCORE)
    results = named_results(trained, "tabstar.val_score")
    drawn = trained.end.figures / "start_and_end.png"
    save_figure(draw_start_and_end(scores, {entry.name: entry.task for entry in entries}), drawn)
    return Section(
        f"{len(entries)} public tables at once",
        [
            PUBLIC_TEXT.format(
                tables=len(entries), val_rows=trained.end.files.config["dataset_config.val_rows_per_dataset"]
            ),
            *results_table(results),
            *embedded("start_and_end", "Score of every table before the first and after the last step"),
            what_was_learned(scores),
            "",
            *scores_by_table(entries, scores),
            *embedded("score_heat_map", "Score of every table after each epoch"),
            *embedded("predicted_vs_true", "Predicted and true z-scores of held-out rows after the last epoch"),
            *embedded(
                "calibration",
                "Confidence in the predicted class and its accuracy, first page of tables",
            ),
            *how_it_was_made([trained.start, trained.end], [f"tabstar_lit convert tables {MANIFEST} -o data/{CORPUS}"]),
            *sources(entries),
        ],
        results,
        {
            "start_and_end": drawn,
            "score_heat_map": trained.end.figures / "score_heat_map.png",
            **{name: last_drawn(trained.end.figures / name) for name in ("predicted_vs_true", "calibration")},
        },
    )


# -- the data ----------------------------------------------------------------------------------------------------------


def find_manifest() -> Path:
    """Return the manifest of the public tables.

    Raises
    ------
    DataError
        It is not there.
    """
    named = os.environ.get(DATA_VARIABLE)
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data"
    manifest = folder / MANIFEST
    if not manifest.is_file():
        raise DataError(
            f"The public tables are not on this machine: no {MANIFEST} in {folder}. Let {DATA_VARIABLE} name the "
            "folder that holds it, or run the other experiments alone: make results ARGS=builtin"
        )
    return manifest


def convert_tables(manifest: Path) -> tuple[TableEntry, ...]:
    """Bring the corpus below the data root up to date, and return what the manifest says of its tables."""
    entries = read_manifest(manifest)
    corpus = roots().data / CORPUS
    corpus.parent.mkdir(parents=True, exist_ok=True)
    convert([FileSource(entry, manifest.parent / entry.file) for entry in entries], corpus)
    return entries


# -- what is told about it ---------------------------------------------------------------------------------------------


def named_results(trained: StartAndEnd, name: str) -> dict[str, float]:
    """Return the mean score over tables, at start and end, under the names they are printed with."""
    return {f"{name}_start": trained.start.value(SCORE), f"{name}_end": trained.end.value(SCORE)}


def rounded(scores: Sequence[float]) -> list[str]:
    """Return scores as a table shows them."""
    return [f"{score:.3f}" for score in scores]


def scores_by_table(entries: Sequence[TableEntry], scores: Scores) -> list[str]:
    """Return the table of all scores, in the order of the manifest."""
    header = ("table", "rows", "columns", "predicts", "score", "start", "end")
    rows = [
        (
            entry.name,
            entry.rows,
            entry.columns,
            entry.target if entry.n_classes is None else f"{entry.target} ({entry.n_classes} classes)",
            "ROC-AUC" if entry.task == "classification" else "R²",
            *rounded(scores[entry.name]),
        )
        for entry in entries
        if entry.name in scores
    ]
    return table(header, rows)


def what_was_learned(scores: Scores) -> str:
    """Return a sentence that names the tables whose score did not rise."""
    lost = [name for name, (start, end) in scores.items() if end <= start]
    risen = f"{len(scores) - len(lost)} of {len(scores)} tables score higher at the end"
    return f"{risen}; not: {', '.join(lost)}." if lost else f"{risen}."


def sources(entries: Sequence[TableEntry]) -> list[str]:
    """Return where the tables come from, in the manifest's words."""
    rows = [(entry.name, f"{entry.source} ({entry.commit[:10]})", entry.licence) for entry in entries]
    return ["### Where the tables come from", "", *table(("table", "source (commit)", "licence"), rows)]


def last_drawn(folder: Path) -> Path:
    """Return the newest of the figures that are drawn every epoch."""
    return max(folder.glob("epoch_*.png"))


def draw_start_and_end(scores: Scores, tasks: Mapping[str, str]) -> Figure:
    """Draw for every table an arrow from its score at the start to that at the end, the best table on top."""
    names = sorted(scores, key=lambda name: (tasks[name] == "classification", scores[name][1]))
    figure, (axes,) = new_figure(width=7.6, height=1.4 + 0.26 * len(names))
    for height, name in enumerate(names):
        start, end = (max(score, LOWEST_SHOWN) for score in scores[name])
        color = PALETTE[0] if tasks[name] == "classification" else PALETTE[1]
        axes.plot([start, end], [height, height], color=color, linewidth=1.6, alpha=0.5)
        axes.plot(start, height, "o", color="white", markeredgecolor=color, markersize=6)
        axes.plot(end, height, "o", color=color, markersize=6)
    for color, label in ((PALETTE[0], "ROC-AUC"), (PALETTE[1], "R²")):
        axes.plot([], [], "o", color=color, label=f"{label}, end")
        axes.plot([], [], "o", color="white", markeredgecolor=color, label=f"{label}, start")
    axes.set_yticks(range(len(names)), names)
    axes.set(
        xlabel=f"score of held-out rows (below {LOWEST_SHOWN} drawn there)",
        xlim=(LOWEST_SHOWN - 0.03, 1.02),
        title="Before and after training",
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    return figure
