"""Which columns matter: what the whole network would say of rows whose cells stand elsewhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from trained_tables import Bench

from tabstar_lit.config import load_experiment
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.importance import column_importances


@pytest.fixture(scope="module")
def data(bench: Bench) -> TabstarData:
    tiny = ("model_config=tabstar/tiny", "dataset_config.rows_per_dataset=32")
    settings = (*tiny, f"dataset_config.corpus={bench.corpus}")
    loaded: Any = load_experiment(family.schema(), command=family.command, overrides=settings)
    return family.data(loaded.experiment, seed=0)


def losses(model: TrainedTabstar, batch: TableBatch) -> Tensor:
    logits = model.network(batch)
    if batch.task == "regression":
        return (logits.squeeze(-1) - batch.targets).square()
    return F.cross_entropy(logits, batch.targets, reduction="none")


@torch.no_grad()
def test_the_rise_is_that_of_the_whole_network_on_shuffled_cells(data: TabstarData, model: TrainedTabstar) -> None:
    columns = {name: schema["features"] for name, schema in data.schemas.items()}
    batches = list(data.some_held_out())
    assert {batch.source for batch in batches} == set(data.names)
    torch.manual_seed(0)
    found = column_importances(model.network, batches, columns)
    torch.manual_seed(0)
    for batch in batches:
        own = found[f"{batch.source} ({len(batch)} rows)"]
        assert set(own) == set(columns[batch.source])
        order, base = torch.randperm(len(batch)), losses(model, batch)
        for place, name in enumerate(columns[batch.source], start=batch.n_targets):
            index, numbers = batch.index.clone(), batch.numbers.clone()
            index[:, place], numbers[:, place] = index[order, place], numbers[order, place]
            rise = (losses(model, replace(batch, index=index, numbers=numbers)) - base).mean()
            assert own[name].rise == pytest.approx(float(rise), abs=1e-5)


def test_rows_are_fewer_where_there_are_many_columns_and_come_from_all_over(
    data: TabstarData, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = {batch.source: len(batch) for batch in data.some_held_out()}
    monkeypatch.setattr("tabstar_lit.families.tabstar.data.MOST_SHUFFLED", 0)
    monkeypatch.setattr("tabstar_lit.families.tabstar.data.LEAST_SHUFFLED", 4)
    few = list(data.some_held_out())
    assert {len(batch) for batch in few} == {4}
    assert all(rows > 4 for rows in whole.values())
