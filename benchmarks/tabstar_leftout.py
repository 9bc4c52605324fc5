"""Does pretraining help? Tables that the pretraining never saw, learnt in three ways on the same rows.

``python -m benchmarks.tabstar_leftout --jobs 4`` spreads the trainings over processes; ``--pretrain-epochs``,
``--seen`` and ``--seeds`` say how long and how often. What is stopped goes on when it is started again: scores that are
known are not computed a second time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np
import pandas as pd

from benchmarks.experiment import limits, train
from benchmarks.page import Section, embedded, print_results, results_table
from benchmarks.tabstar_results import CORPUS, ReadingOnce, convert_tables, find_manifest
from tabstar_lit.arrays import Bool
from tabstar_lit.config.paths import roots
from tabstar_lit.data.outputs import whole_file
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.engine.weights.loading import load_weights
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.tabstar.tables.corpus import Corpus
from tabstar_lit.families.tabstar.tables.manifest import TableEntry, read_manifest
from tabstar_lit.plots.style import PALETTE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEFT_OUT = (
    "imdb_genre", "telco_churn", "credit_scoring", "penguins_raw", "coffee_quality",
    "nhefs_blood_pressure", "movies_rating", "ames_housing", "developer_salary", "california_housing",
)  # fmt: skip
"""Four classifications and six regressions, with text and without."""

MODULES = ("text_projection", "numerical_fusion", "tabular_encoder", "cls_head", "reg_head")
ARMS = ("pretrained", "encoder_only", "hgb")
ARM_WORDS = {
    "pretrained": "fine-tuned from our pretraining",
    "encoder_only": "the same network, new on its text encoder",
    "hgb": "HistGradientBoosting, text by TF-IDF and SVD",
}
LIMIT = "model_config.architecture_config.regression_limit"
HEAD = "model_config.architecture_config.regression_head"
BINS = "model_config.architecture_config.regression_bins"
NUMBERS = "model_config.architecture_config.numbers"
FREQUENCIES = "model_config.architecture_config.number_frequencies"
OFFSET = "dataset_config.target_offset"
HEADS: dict[str, dict[str, object]] = {
    "both": {HEAD: "both", BINS: 200, LIMIT: 10.0},
    "six": {NUMBERS: "six"},
    "periodic": {NUMBERS: "six", FREQUENCIES: 16},
    "offset": {OFFSET: "additive"},
    "periodic_offset": {NUMBERS: "six", FREQUENCIES: 16, OFFSET: "additive"},
    "trees": {OFFSET: "trees"},
    "six_trees": {NUMBERS: "six", OFFSET: "trees"},
    "periodic_trees": {NUMBERS: "six", FREQUENCIES: 16, OFFSET: "trees"},
    "quantile": {"dataset_config.target_transform": "quantile"},
    "huber": {"model_config.training_config.loss": "multitask_huber"},
}
"""How a target is learned otherwise than the model has it, as overrides."""
FEW_VALUES = 50
"""A column of text with at most so many values is a category for gradient boosting."""
COMPONENTS = 30
WORD = r"(?u)\S+"

TEXT = """\
{n} tables are left out of a pretraining on the other {others}; then each is learnt on its training rows and scored on
its held-out rows (ROC-AUC, or R²): from the pretrained weights, by the same network with a new body on the same fixed
sentence encoder, and by scikit-learn's HistGradientBoosting. {seeds} seeds, the same rows for all. Both networks see
about {seen} rows of the table, whatever its size, at the same settings, and their last weights count: held-out rows
choose nothing. The pretraining took {pretrain_epochs} epochs of up to {rows} rows of each table: it is small, and so is
what it can show. Errors are standard errors over seeds.
"""


class Budget(NamedTuple):
    """How much is trained."""

    seeds: int = 3
    pretrain_epochs: int = 16
    seen: int = 16_000
    rows: int = 512
    jobs: int = 1
    model: str = "tabstar/public_tables"
    left_out: tuple[str, ...] = LEFT_OUT


class Job(NamedTuple):
    """One training of one table; ``head`` is how its target is learned, null: as the model has it."""

    table: str
    arm: str
    seed: int
    budget: Budget
    head: str | None = None

    @property
    def corpus(self) -> Path:
        """All tables."""
        return roots().data / CORPUS

    @property
    def folder(self) -> Path:
        """Where trainings of this budget leave what they write."""
        budget = self.budget
        return roots().logs / "leftout" / f"{budget.pretrain_epochs}x{budget.rows}_{budget.seen}"

    @property
    def name(self) -> str:
        """Of the run."""
        return "_".join([self.table, self.arm, *([] if self.head is None else [self.head]), str(self.seed)])

    @property
    def changes(self) -> dict[str, object]:
        """What its head changes, as overrides."""
        return {} if self.head is None else HEADS[self.head]

    @property
    def base(self) -> Job:
        """The pretraining that a fine-tuning starts from."""
        return self._replace(table="others", arm="pretraining", head=None)


def settings(job: Job, epochs: int, rows: int) -> list[str]:
    """Return the settings that all trainings share: they are scored once, at their end."""
    training, folder = "model_config.training_config", job.folder
    return [
        f"model_config={job.budget.model}", "dataset_config=tabstar/public_tables",
        f"dataset_config.corpus={json.dumps(str(job.corpus))}", "dataset_config.val_rows_per_dataset=null",
        f"dataset_config.rows_per_dataset={rows}", "dataset_config.same_tokens=warn", "dataset_config.batch_size=32",
        f"{training}.max_epochs={epochs}", f"{training}.save_top_k=0", f"{training}.save_last=false",
        f"{training}.monitor=val_loss", f"{training}.monitor_mode=min",
        f"{training}.model_save_path={json.dumps(str(folder / 'models'))}",
        f"experiment_config.save_dir={json.dumps(str(folder / 'logs'))}", f"experiment_config.seed={job.seed}",
        f"experiment_config.tracker_path={json.dumps(str(folder / 'figures'))}",
        f"experiment_config.check_eval_n_epoch={epochs}", "experiment_config.experiment_name=leftout",
        f"experiment_config.run_name={job.name}", "experiment_config.tracker=none",
        "experiment_config.plot_metrics_n_epoch=null", "experiment_config.tqdm_refresh_rate=0", *limits(),
        *(f"{key}={value}" for key, value in job.changes.items()),
    ]  # fmt: skip


def last_checkpoint(job: Job) -> Path | None:
    """Return the weights that a pretraining ended with; None where it has not come to its end."""
    return next((job.folder / "models").rglob(f"{job.name}_epoch={job.budget.pretrain_epochs - 1}.ckpt"), None)


def discard(job: Job) -> None:
    """Remove what a run has left that was stopped: it is done again from its beginning."""
    for part in ("logs", "figures", "models"):
        shutil.rmtree(job.folder / part / "leftout" / job.name, ignore_errors=True)


def pretrain(job: Job) -> None:
    """Train on all tables but those left out, unless it is done."""
    if last_checkpoint(job) is None:
        discard(job)
        left = f"dataset_config.exclude={json.dumps(job.budget.left_out)}"
        kept = f"model_config.training_config.save_every_n_epochs={job.budget.pretrain_epochs}"
        train(ReadingOnce(), [*settings(job, job.budget.pretrain_epochs, job.budget.rows), left, kept])


def network_score(job: Job) -> float:
    """Train a network on one table; return its score at the end."""
    count = int((~Corpus.open(job.corpus).load(job.table).is_validation).sum())
    own = settings(job, max(1, round(job.budget.seen / count)), count)
    own.append(f"dataset_config.tables=[{job.table}]")
    if job.arm == "pretrained":
        base = last_checkpoint(job.base)
        if base is None:
            raise CheckpointError(f"{job.base.name} has left no weights in {job.folder / 'models'}.")
        there = {key.partition(".")[0] for key in load_weights(base)}
        new = {"reg_head": HEAD, "numerical_fusion": NUMBERS}
        modules = [name for name in MODULES if name in there and new.get(name) not in job.changes]
        own.append(f"model_config.load_modules={json.dumps(dict.fromkeys(modules, str(base)))}")
    return train(ReadingOnce(), own).value("val_score")


def boosted_score(job: Job) -> float:
    """Fit HistGradientBoosting to the same training rows; return its score of the same held-out rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
    from sklearn.metrics import r2_score, roc_auc_score
    from sklearn.pipeline import make_pipeline

    entry, frame, held_out = rows_of(job)
    y = frame.pop(entry.target)
    is_classes = entry.task == "classification"
    kind: Any = HistGradientBoostingClassifier if is_classes else HistGradientBoostingRegressor
    y = y.astype(str) if is_classes else y.astype(float)
    model = make_pipeline(columns_of(frame[~held_out], job.seed), kind(random_state=job.seed))
    model.fit(frame[~held_out], y[~held_out])
    if not is_classes:
        return float(r2_score(y[held_out], model.predict(frame[held_out])))
    scores = model.predict_proba(frame[held_out])
    if scores.shape[1] == 2:
        return float(roc_auc_score(y[held_out], scores[:, 1]))
    truth = y[held_out].to_numpy()[:, None] == model.classes_
    there = truth.any(axis=0) & ~truth.all(axis=0)
    return float(np.mean([roc_auc_score(truth[:, i], scores[:, i]) for i in np.flatnonzero(there)]))


def rows_of(job: Job) -> tuple[TableEntry, pd.DataFrame, Bool]:
    """Return a table with its target, and which rows the corpus holds out."""
    from tabstar_lit.families.tabstar.tables.converter import FileSource

    manifest = find_manifest()
    entry = next(entry for entry in read_manifest(manifest) if entry.name == job.table)
    raw = FileSource(entry, manifest.parent / entry.file).read()
    frame = raw.frame[raw.frame[entry.target].notna()].reset_index(drop=True)
    frame = frame.drop(columns=[*entry.ignore, *raw.counters], errors="ignore")
    return entry, frame, Corpus.open(job.corpus).load(job.table).is_validation


def columns_of(frame: pd.DataFrame, seed: int) -> Any:
    """Return the preparation of columns: numbers as they are, categories by number, text by TF-IDF and SVD."""
    from sklearn.compose import make_column_transformer
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

    numbers = [name for name in frame if pd.api.types.is_numeric_dtype(frame[name])]
    words = [name for name in frame if name not in numbers]
    few = [name for name in words if frame[name].nunique() <= FEW_VALUES]
    parts: list[Any] = [("passthrough", numbers)]
    if few:
        ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
        parts.append((make_pipeline(FunctionTransformer(_as_text), ordinal), few))
    for name in (name for name in words if name not in few):
        tfidf = TfidfVectorizer(max_features=20_000, token_pattern=WORD)
        size = min(COMPONENTS, max(2, len(tfidf.fit(_as_text(frame[name])).vocabulary_) - 1))
        vectors = make_pipeline(FunctionTransformer(_as_text), tfidf, TruncatedSVD(size, random_state=seed))
        parts.append((vectors, name))
    return make_column_transformer(*parts)


def _as_text(cells: Any) -> Any:
    return cells.astype(object).where(cells.notna(), "missing").astype(str)


def score(job: Job) -> float:
    """Do one job, unless its score is known."""
    path = job.folder / "scores" / f"{job.name}.json"
    if not path.is_file():
        discard(job)
        own = boosted_score(job) if job.arm == "hgb" else network_score(job)
        with whole_file(path) as part:
            part.write_text(json.dumps(own), encoding="utf-8")
    return float(json.loads(path.read_text(encoding="utf-8")))


def scores(jobs: Sequence[Job], processes: int) -> pd.DataFrame:
    """Do jobs, and the pretrainings that they start from; return a row for each, with its score."""
    entries = {entry.name: entry for entry in convert_tables(find_manifest())}
    bases = list(dict.fromkeys(job.base for job in jobs if job.arm == "pretrained"))
    jobs[0].folder.joinpath("scores").mkdir(parents=True, exist_ok=True)
    if processes == 1:
        for base in bases:
            pretrain(base)
        found = list(map(score, jobs))
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            list(pool.map(pretrain, bases))
            found = list(pool.map(score, jobs))
    columns = {
        "table": [job.table for job in jobs],
        "arm": [job.arm for job in jobs],
        "seed": [job.seed for job in jobs],
    }
    frame = pd.DataFrame(columns | {"head": [job.head for job in jobs], "score": found})
    frame["task"] = [entries[name].task for name in frame["table"]]
    return frame


def run(budget: Budget) -> Section:
    """Pretrain, learn every left-out table in every way, and tell."""
    jobs = [Job(name, arm, seed, budget) for name in budget.left_out for arm in ARMS for seed in range(budget.seeds)]
    found = scores(jobs, budget.jobs)
    results = {
        f"tabstar.leftout_{'auc' if task == 'classification' else 'r2'}_{arm}": float(own["score"].mean())
        for (task, arm), own in found.groupby(["task", "arm"])
    }
    count, whole = len(budget.left_out), len(read_manifest(find_manifest()))
    text = TEXT.format(n=count, others=whole - count, **budget._asdict())
    drawn = save_figure(draw(found), jobs[0].folder / "figures" / "leftout.png")
    told = [text, *results_table(results), what_helped(found), ""]
    lines = [*told, *by_table(found), *embedded("leftout", "Scores of the left-out tables")]
    return Section("Does pretraining help? Tables left out", lines, results, {"leftout": drawn})


def what_helped(found: pd.DataFrame) -> str:
    """Say how far pretraining is from none, over the tables of each task."""
    means = found.pivot_table(index=["task", "table"], columns="arm", values="score")
    gains = means["pretrained"] - means["encoder_only"]
    auc, r2 = (f"{gains[task].mean():+.3f} ± {gains[task].sem():.3f}" for task in ("classification", "regression"))
    return (
        f"Against the new network, pretraining gives {auc} of ROC-AUC and {r2} of R² (mean and standard error over "
        f"tables); it is ahead on {int((gains > 0).sum())} of {len(gains)} tables."
    )


def draw(found: pd.DataFrame) -> Figure:
    """Draw the mean score of each table and way with its standard error, classifications on top."""
    names = list(found["table"].unique())[::-1]
    figure, (axes,) = new_figure(width=7.6, height=1.6 + 0.36 * len(names))
    for place, arm in enumerate(ARMS):
        own = found[found["arm"] == arm].groupby("table")["score"]
        heights = np.arange(len(names)) + 0.2 * (1 - place)
        mean, error = own.mean()[names], own.sem()[names]
        axes.errorbar(mean, heights, xerr=error, fmt="o", color=PALETTE[place], capsize=2, label=ARM_WORDS[arm])
    kinds = dict(zip(found["table"], found["task"], strict=True))
    labels = [f"{name} ({'ROC-AUC' if kinds[name] == 'classification' else 'R²'})" for name in names]
    axes.set_yticks(range(len(names)), labels)
    axes.set(
        xlabel="score of held-out rows, mean and standard error over seeds", title="Tables left out of pretraining"
    )
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    return figure


def by_table(found: pd.DataFrame) -> list[str]:
    """Return the mean and standard error over seeds of each table and way."""
    rows = [
        (name, *(mean_and_error(own[own["arm"] == arm]["score"]) for arm in ARMS))
        for name, own in found.groupby("table", sort=False)
    ]
    return table(("table", *(ARM_WORDS[arm] for arm in ARMS)), rows)


def mean_and_error(scores: pd.Series) -> str:
    """Print the mean of scores and its standard error; one score alone has none."""
    return f"{scores.mean():.3f} ± {scores.sem():.3f}" if len(scores) > 1 else f"{scores.mean():.3f}"


def leftout() -> Section:
    """Run it as ``make results`` does."""
    return run(Budget())


@click.command()
@click.option("--seeds", type=int, default=Budget().seeds)
@click.option("--pretrain-epochs", type=int, default=Budget().pretrain_epochs)
@click.option("--seen", type=int, default=Budget().seen)
@click.option("--rows", type=int, default=Budget().rows)
@click.option("--jobs", type=int, default=1)
def main(**budget: Any) -> None:
    """Print what the experiment finds with another budget than the page has."""
    section = run(Budget(**budget))
    click.echo("\n".join(section.lines))
    print_results(section)


if __name__ == "__main__":
    main()
