"""k-fold cross-validation of a table: every row is predicted once, by a model that has seen nothing of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch

from tabstar_lit.data.outputs import whole_file
from tabstar_lit.data.splits import Fold, Split
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.folds import fold_table, load_fold
from tabstar_lit.engine.run import run
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.deployment.trained import restore
from tabstar_lit.families.tabstar.tables.converter import Source
from tabstar_lit.families.tabstar.tables.corpus import write_corpus
from tabstar_lit.families.tabstar.tables.encoding import Settings, encode_table, read_target, usable_rows
from tabstar_lit.families.tabstar.tables.files import RawTable
from tabstar_lit.families.tabstar.tables.manifest import TableEntry
from tabstar_lit.metrics.scores import r_squared, roc_auc


class Folds(NamedTuple):
    """How many folds, the seed that deals rows to them, and the folder of their corpora."""

    n: int
    seed: int
    folder: Path


class Labelled(NamedTuple):
    """The rows of a table that have a target, and these targets: names of ``classes``, or numbers."""

    raw: RawTable
    true: pd.Series
    classes: tuple[str, ...]


def cross_validate(
    family: AnyFamily,
    source: Source,
    folds: Folds,
    overrides: Sequence[str],
    config_dir: Path | None,
    *,
    argv: Sequence[str] = (),
    tell: Callable[[str], object] = print,
) -> pd.DataFrame:
    """Train on all folds but one, for each of them, and predict the one that was left out.

    A row's fold follows from its content and the seed. Of the other rows the usual share chooses the best epoch.

    Parameters
    ----------
    family : Family
        The family itself.
    source : Source
        The table.
    folds : Folds
        How it is dealt.
    overrides : sequence of str
        Settings as on the command line of ``train_tabstar``.
    config_dir : Path or None
        Folder of the configuration.
    argv : sequence of str
        The command line, for the records.
    tell : callable
        Gets a line about each fold.

    Returns
    -------
    DataFrame
        A row for each row that has a target, in the order of the file: ``fold``, ``true``, ``prediction`` and, for
        classes, ``p_<class>``, 0 for one that the other folds have no row of.

    Raises
    ------
    DataError
        The table cannot be learnt from, or a fold is empty.
    """
    table = _labelled(source)
    parts = []
    for fold in range(folds.n):
        held_out = Split(folds.seed, {}, Fold(fold, folds.n)).sides(table.raw.ids) == 1
        if not held_out.any():
            raise DataError(f"table '{source.entry.name}': fold {fold} of {folds.n} has no row. Ask for fewer folds.")
        corpus = _write_fold(source, table.raw, held_out, folds, fold)
        own = (*overrides, f'dataset_config.corpus="{corpus}"', "dataset_config.tables=null")
        loaded = load_fold(family, own, config_dir, fold)
        directory = run(family, loaded, argv=argv)
        best = directory.record()["stages"][loaded.stages[-1].name]["best_checkpoint"]
        predicted = restore(directory.checkpoints / best).predict(table.raw.frame[held_out], table=source.entry.name)
        part = pd.concat([pd.DataFrame({"fold": fold, "true": table.true[held_out]}), predicted], axis=1)
        parts.append(part)
        scores = ", ".join(f"{name} {value:.4g}" for name, value in scores_of(_whole(part, table.classes)).items())
        tell(f"fold {fold + 1} of {folds.n}: {len(part)} rows, {scores}")
    return _whole(pd.concat(parts).sort_index(), table.classes)


def scores_of(predicted: pd.DataFrame) -> dict[str, float]:
    """Return ROC-AUC and accuracy of predicted classes, or R² and the root mean squared error of numbers."""
    probabilities = predicted.filter(regex="^p_")
    if probabilities.empty:
        true, seen = (torch.tensor(predicted[name].to_numpy(np.float64)) for name in ("true", "prediction"))
        return {"R2": r_squared(seen, true), "RMSE": float((seen - true).square().mean().sqrt())}
    classes = [str(name).removeprefix("p_") for name in probabilities]
    true = torch.tensor([classes.index(own) for own in predicted["true"]])
    auc = roc_auc(torch.tensor(probabilities.to_numpy(np.float64)), true)
    return {"ROC-AUC": auc, "accuracy": float((predicted["true"] == predicted["prediction"]).mean())}


def write_report(path: Path, entry: TableEntry, predicted: pd.DataFrame) -> str:
    """Write what the folds say together, and all predictions beside it as Parquet; return the report."""
    parts = [part for _, part in predicted.groupby("fold")]
    title = f"# {len(parts)} folds of {entry.name}: {entry.task} of {entry.target}"
    lines = fold_table([scores_of(part) for part in parts], scores_of(predicted), [len(part) for part in parts])
    text = "\n".join([title, "", *lines])
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8")
    with whole_file(path.with_suffix(".parquet")) as part:
        predicted.to_parquet(part, index=False)
    return text


def _labelled(source: Source) -> Labelled:
    raw = source.read()
    frame, ids = usable_rows(source.entry, raw)
    values, classes = read_target(source.entry, frame[source.entry.target], gaps=len(frame) < len(raw.frame))
    true: Any = np.array(classes, dtype=object)[values.astype(np.int64)] if classes else values
    return Labelled(raw._replace(frame=frame, ids=ids), pd.Series(true), classes)


def _write_fold(source: Source, raw: RawTable, held_out: Any, folds: Folds, fold: int) -> Path:
    """Write the corpus of the rows that are not held out; everything in it is fitted on these."""
    rest = raw._replace(frame=raw.frame[~held_out].reset_index(drop=True), ids=raw.ids[~held_out])
    table = encode_table(source.entry, rest, Settings(seed=folds.seed))
    table.schema.update(source=source.identity(), fingerprint=f"fold {fold} of {folds.n}, seed {folds.seed}")
    path = folds.folder / f"fold_{fold}.h5"
    write_corpus(path, [table], order=[source.entry.name])
    return path.absolute()


def _whole(predicted: pd.DataFrame, classes: Sequence[str]) -> pd.DataFrame:
    """Return predictions with a probability for every class, in their order."""
    columns = [f"p_{name}" for name in classes]
    return predicted.reindex(columns=["fold", "true", "prediction", *columns]).fillna(dict.fromkeys(columns, 0.0))
