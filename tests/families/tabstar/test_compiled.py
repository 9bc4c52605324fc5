"""Compiled parts of TabSTAR: the same numbers, and nothing is compiled anew once both tasks have been seen."""

from __future__ import annotations

import copy
from typing import cast

import pytest
import torch
from benchmarks.gpu_tabstar import compilations
from benchmarks.loops import experiment
from torch import Tensor

from tabstar_lit.data.plans import RowBatch
from tabstar_lit.engine.stages import Parts, build_parts
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.data import TabstarData
from tabstar_lit.families.tabstar.family import family
from tabstar_lit.families.tabstar.module import TabstarModule
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.families.tabstar.tables.builtin import ensure_builtin


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Return a small network in double precision, its text as one stream, without dropout."""
    folder = tmp_path_factory.mktemp("compiled")
    chosen = [
        "model_config=tabstar/tiny",
        "model_config.architecture_config.dropout=0",
        "model_config.architecture_config.text_encoder={name: random, unfreeze_layers: 1, dropout: 0}",
        f"dataset_config={{corpus: {ensure_builtin(folder / 'builtin.h5')}}}",
    ]
    made = build_parts(family, *experiment(family, folder, "compiled", chosen), seed=0)
    made.module.double().train()
    cast(TabStarNetwork, made.module.network).text_encoder.layout = "ragged"
    return made


def batch_of(parts: Parts, table: str, rows: int) -> TableBatch:
    data = cast(TabstarData, parts.data)
    dataset, source = data.train_dataset(), data.names.index(table)
    batch = dataset[RowBatch(source, torch.arange(rows).numpy())]
    return batch._each(lambda tensor: tensor.double() if tensor.is_floating_point() else tensor)


def gradients(module: TabstarModule, batch: TableBatch) -> list[Tensor]:
    module.zero_grad()
    loss = module.compute(batch).loss
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in module.parameters() if p.grad is not None)]


def test_batches_of_any_size_need_no_further_compilation_and_give_the_same_gradients(parts: Parts) -> None:
    plain = cast(TabstarModule, parts.module)
    compiled = copy.deepcopy(plain)
    torch.compiler.reset()
    compiled.compile_network("eager")
    for table in ("wine", "diabetes"):  # warm up: one of each task
        gradients(compiled, batch_of(parts, table, 6))
    before = compilations()
    assert before > 0
    for table, rows in (("iris", 5), ("wine", 9), ("breast_cancer", 3), ("diabetes", 11), ("digits", 4)):
        batch = batch_of(parts, table, rows)
        pairs = zip(gradients(compiled, batch), gradients(plain, batch), strict=True)
        assert max(float((own - expected).abs().max()) for own, expected in pairs) < 1e-10
    assert compilations() == before
