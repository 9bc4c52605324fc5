"""``tabstar_lit fakes apply``: the fake factor of each loose event as Parquet, and the fakes they predict."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from tabstar_lit.data.outputs import write_parquet
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.factor.factors import (
    FakeYield,
    RegionEvents,
    event_factors,
    loose_events,
    region_events,
    require_ratio,
)
from tabstar_lit.families.hep.fakes.factor.model import BATCH_SIZE, RatioModel


class Applied(NamedTuple):
    """What was written: numbers of loose events of data, of simulation, and left out by cuts; and the prediction."""

    n_data: int
    n_mc: int
    left_out: int
    prediction: FakeYield


def apply_factor(
    model: RatioModel,
    events: Path,
    output: Path,
    *,
    split: str | None = None,
    batch_size: int = BATCH_SIZE,
    progress: Progress = no_progress,
) -> Applied:
    """Write the fake factor of every loose event of a file as Parquet, in the order of the file.

    Columns: ``event_id``, ``label``, ``weight``, ``F``, ``sigma_F``, ``log_f_mean``, ``log_f_std`` and ``fake_weight``,
    which is ``w F``, with its sign turned for simulation: its sum is the prediction. With twins among the heads also
    ``log_f_sampling`` and ``log_f_training``, the two parts of ``log_f_std``.

    Parameters
    ----------
    model : RatioModel
        The ratio, see :func:`~tabstar_lit.families.hep.fakes.factor.restore.restore`.
    events : Path
        An event file with its features, labelled as in the training; tight events are passed over.
    output : Path
        The Parquet file.
    split : str, optional
        Only events on this side of the training's split.
    batch_size : int
        Events in a batch.
    progress : callable
        For a progress bar.

    Raises
    ------
    CheckpointError
        The model is no fake factor.
    DataError
        There are no loose events, or they lack a feature.
    """
    regions, loose = _chosen(model, events, split)
    parts: list[FakeYield] = []
    tables = _tables(model, loose, batch_size, parts)
    write_parquet(output, tables, n_rows=len(loose.rows), progress=progress)
    n_mc = int(loose.simulated.sum())
    return Applied(len(loose.rows) - n_mc, n_mc, regions.left_out, FakeYield.joined(parts))


def factors_of(
    model: RatioModel, events: Path, *, split: str | None = None, batch_size: int = BATCH_SIZE
) -> pd.DataFrame:
    """Return what :func:`apply_factor` writes."""
    _, loose = _chosen(model, events, split)
    frame: pd.DataFrame = pa.concat_tables(_tables(model, loose, batch_size, [])).to_pandas()
    return frame


def _chosen(model: RatioModel, events: Path, split: str | None) -> tuple[RegionEvents, RegionEvents]:
    """Return the events of both regions, and the loose ones among them."""
    require_ratio(model)
    regions = region_events(model, EventFile.open(events), split)
    return regions, loose_events(model, regions)


def _tables(model: RatioModel, loose: RegionEvents, batch_size: int, parts: list[FakeYield]) -> Iterator[pa.Table]:
    """Yield the rows of each chunk, and append what it predicts to ``parts``."""
    file = loose.file
    ids, labels, names = file.event_ids(), file.labels(), pa.array(file.classes, pa.string())
    for found in event_factors(model, loose, batch_size=batch_size):
        own = slice(*np.searchsorted(loose.rows, [found.rows[0], found.rows[-1] + 1]))
        parts.append(FakeYield.of(loose, found, model.ensemble))
        parted = {"log_f_sampling": found.sampling, "log_f_training": found.training} if model.twins else {}
        yield pa.table(
            {
                "event_id": ids[found.rows],
                "label": pa.DictionaryArray.from_arrays(pa.array(labels[found.rows], pa.int32()), names),
                "weight": np.where(loose.simulated[own], -loose.signed[own], loose.signed[own]),
                "F": found.factor,
                "sigma_F": found.error,
                "log_f_mean": found.mean,
                "log_f_std": found.std,
                **parted,
                "fake_weight": parts[-1].terms,
            }
        )
