"""Does pretraining help? Tables that the pretraining never saw, learnt in three ways on the same rows.

``python -m benchmarks.tabstar_leftout --jobs 4`` spreads the trainings over processes; ``--pretrain-epochs``,
``--epochs`` and ``--seeds`` say how long and how often.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd

from benchmarks.experiment import limits
from benchmarks.page import Section, results_table
from benchmarks.tabstar_results import CORPUS, convert_tables, find_manifest
from tabstar_lit.arrays import Bool
from tabstar_lit.config.paths import roots
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.engine.weights.loading import load_weights
from tabstar_lit.families.tabstar.manifest import TableEntry, read_manifest

LEFT_OUT = (
    "imdb_genre", "telco_churn", "credit_scoring", "penguins_raw",
    "coffee_quality", "nhefs_blood_pressure", "movies_rating", "ames_housing",
)  # fmt: skip
"""Four classifications and four regressions, with text and without."""

MODULES = ("text_projection", "numerical_fusion", "tabular_encoder", "cls_head", "reg_head")
ARMS = ("pretrained", "encoder_only", "hgb")
ARM_WORDS = {
    "pretrained": "fine-tuned from our pretraining",
    "encoder_only": "the same network, new on its text encoder",
    "hgb": "HistGradientBoosting, text by TF-IDF and SVD",
}
FEW_VALUES = 50
"""A column of text with at most so many values is a category for gradient boosting."""
COMPONENTS = 30
WORD = r"(?u)\S+"

TEXT = """\
{n} tables are left out of a pretraining on the other {others}; then each is learnt on its training rows and scored on
its held-out rows (ROC-AUC, or R²): from the pretrained weights, by the same network with a new body on the same fixed
sentence encoder, and by scikit-learn's HistGradientBoosting. {seeds} seeds, the same rows for all. Both networks train
for {epochs} epochs at the same settings, and the last epoch counts: held-out rows choose nothing. The pretraining took
{pretrain_epochs} epochs of up to {rows} rows of each table: it is small, and so is what it can show. Errors are
standard errors over seeds.
"""


class Budget(NamedTuple):
    """How much is trained."""

    seeds: int = 3
    pretrain_epochs: int = 20
    epochs: int = 30
    rows: int = 512
    jobs: int = 1
    model: str = "tabstar/public_tables"
    left_out: tuple[str, ...] = LEFT_OUT


class Job(NamedTuple):
    """One training of one table."""

    table: str
    arm: str
    seed: int
    budget: Budget
    corpus: str
    folder: str


def settings(name: str, folder: str, seed: int, corpus: str, *, budget: Budget, epochs: int) -> list[str]:
    """Return the settings that all trainings share."""
    training = "model_config.training_config"
    return [
        f"model_config={budget.model}", "dataset_config=tabstar/public_tables",
        f"dataset_config.corpus={json.dumps(corpus)}", "dataset_config.val_rows_per_dataset=null",
        f"dataset_config.rows_per_dataset={budget.rows}", "dataset_config.same_tokens=warn",
        f"{training}.max_epochs={epochs}", f"{training}.model_save_path={json.dumps(folder + '/models')}",
        f"experiment_config.save_dir={json.dumps(folder + '/logs')}", f"experiment_config.seed={seed}",
        f"experiment_config.tracker_path={json.dumps(folder + '/figures')}",
        "experiment_config.experiment_name=leftout",
        f"experiment_config.run_name={name}", "experiment_config.tracker=none",
        "experiment_config.plot_metrics_n_epoch=null", "experiment_config.tqdm_refresh_rate=0", *limits(),
    ]  # fmt: skip


def last_checkpoint(folder: str, name: str) -> Path:
    """Return the weights that a run ended with."""
    return next(Path(folder, "models").rglob(f"{name}_last.ckpt"))


def pretrain(seed: int, budget: Budget, corpus: str, folder: str) -> Path:
    """Train on all tables but those left out."""
    from tabstar_lit import train

    name = f"pretrained_{seed}"
    left = f"dataset_config.exclude={json.dumps(budget.left_out)}"
    own = settings(name, folder, seed, corpus, budget=budget, epochs=budget.pretrain_epochs)
    train("train_tabstar", [*own, left])
    return last_checkpoint(folder, name)


def network_score(job: Job) -> float:
    """Train a network on one table; return its score after the last epoch."""
    from tabstar_lit import train

    name = f"{job.table}_{job.arm}_{job.seed}"
    own = settings(name, job.folder, job.seed, job.corpus, budget=job.budget, epochs=job.budget.epochs)
    own.append(f"dataset_config.tables=[{job.table}]")
    if job.arm == "pretrained":
        base = str(last_checkpoint(job.folder, f"pretrained_{job.seed}"))
        modules = [name for name in MODULES if any(key.startswith(f"{name}.") for key in load_weights(Path(base)))]
        own.append(f"model_config.load_modules={json.dumps(dict.fromkeys(modules, base))}")
    run = train("train_tabstar", own)
    return float(run.metrics["val_score"].dropna().iloc[-1])


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
    from tabstar_lit.families.tabstar.converter import FileSource
    from tabstar_lit.families.tabstar.corpus import Corpus

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


def score(job: Job) -> tuple[str, str, int, float]:
    """Do one job."""
    own = boosted_score(job) if job.arm == "hgb" else network_score(job)
    return job.table, job.arm, job.seed, own


def run(budget: Budget) -> Section:
    """Pretrain, learn every left-out table in every way, and tell."""
    entries = {entry.name: entry for entry in convert_tables(find_manifest())}
    corpus, folder = str(roots().data / CORPUS), str(roots().logs / "leftout")
    seeds = range(budget.seeds)
    jobs = [Job(name, arm, seed, budget, corpus, folder) for name in budget.left_out for arm in ARMS for seed in seeds]
    if budget.jobs == 1:
        for seed in seeds:
            pretrain(seed, budget, corpus, folder)
        scores = list(map(score, jobs))
    else:
        with ProcessPoolExecutor(budget.jobs, mp_context=get_context("spawn")) as pool:
            for waiting in [pool.submit(pretrain, seed, budget, corpus, folder) for seed in seeds]:
                waiting.result()
            scores = list(pool.map(score, jobs))
    found = pd.DataFrame(scores, columns=["table", "arm", "seed", "score"])
    found["task"] = [entries[name].task for name in found["table"]]
    results = {
        f"tabstar.leftout_{'auc' if task == 'classification' else 'r2'}_{arm}": float(own["score"].mean())
        for (task, arm), own in found.groupby(["task", "arm"])
    }
    count = len(budget.left_out)
    text = TEXT.format(n=count, others=len(entries) - count, **budget._asdict())
    return Section("Does pretraining help? Tables left out", [text, *results_table(results), *by_table(found)], results)


def by_table(found: pd.DataFrame) -> list[str]:
    """Return the mean and standard error over seeds of each table and way."""

    def cell(name: str, arm: str) -> str:
        own: Sequence[float] = found[(found["table"] == name) & (found["arm"] == arm)]["score"].tolist()
        error = stdev(own) / len(own) ** 0.5 if len(own) > 1 else float("nan")
        return f"{mean(own):.3f} ± {error:.3f}"

    header = ("table", *(ARM_WORDS[arm] for arm in ARMS))
    return table(header, [(name, *(cell(name, arm) for arm in ARMS)) for name in found["table"].unique()])


def leftout() -> Section:
    """Run it as ``make results`` does."""
    return run(Budget())


@click.command()
@click.option("--seeds", type=int, default=Budget().seeds)
@click.option("--pretrain-epochs", type=int, default=Budget().pretrain_epochs)
@click.option("--epochs", type=int, default=Budget().epochs)
@click.option("--rows", type=int, default=Budget().rows)
@click.option("--jobs", type=int, default=1)
def main(**budget: Any) -> None:
    """Print what the experiment finds with another budget than the page has."""
    section = run(Budget(**budget))
    click.echo("\n".join(section.lines))
    for name, value in section.results.items():
        click.echo(f"RESULT {name}={value:.4f}")


if __name__ == "__main__":
    main()
