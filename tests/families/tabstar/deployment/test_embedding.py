"""Vectors of rows and cells, and what predictions look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from trained_tables import Bench

from tabstar_lit.commands.cli import main
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.deployment.explaining import METHODS, attention_maps
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar


def test_the_head_reads_the_prediction_off_the_vectors(bench: Bench, model: TrainedTabstar) -> None:
    frame = bench.raw["diabetes"]
    vectors = model.embed(frame, table="diabetes")
    target = model.config["tables"]["diabetes"]["target"]
    with torch.no_grad():
        scores = model.network.reg_head(torch.from_numpy(vectors.rows)[:, None]).squeeze().numpy()
    predicted = model.predict(frame, table="diabetes")["prediction"]
    np.testing.assert_allclose(scores * target["std"] + target["mean"], predicted, rtol=1e-5)
    assert vectors.cells is None


def test_cells_have_a_vector_for_each_feature(bench: Bench, model: TrainedTabstar, tmp_path: Path) -> None:
    frame = bench.raw["trips"].head(30)
    features = model.config["tables"]["trips"]["features"]
    rows, cells = model.embed(frame, table="trips", cells=True)
    assert rows.shape == (30, 32)
    assert cells is not None
    assert cells.shape == (30, len(features), 32)
    np.testing.assert_allclose(rows, model.embed(frame, table="trips", batch_size=4).rows, atol=1e-5)
    frame.to_csv(tmp_path / "t.csv", index=False)
    for name in ("v.parquet", "v.npz"):
        command = ["embed", str(bench.checkpoint), str(tmp_path / "t.csv"), "--table", "trips", "--cells", "-o"]
        done = CliRunner().invoke(main, [*command, str(tmp_path / name)])
        assert done.exit_code == 0, done.output
        assert "vectors of 30 rows" in done.stdout
    table = pd.read_parquet(tmp_path / "v.parquet")
    assert [*table] == ["row", *(f"cell {name}" for name in features)]
    np.testing.assert_allclose(np.stack(table["row"]), rows, atol=1e-5)
    np.testing.assert_allclose(np.stack(table[f"cell {features[1]}"]), cells[:, 1], atol=1e-5)
    with np.load(tmp_path / "v.npz") as archive:
        np.testing.assert_allclose(archive["cells"], cells, atol=1e-5)
        assert list(archive["features"]) == features
    done = CliRunner().invoke(main, [*command, str(tmp_path / "v.csv")])
    assert (done.exit_code, "written as .parquet or .npz" in done.stderr) == (2, True)


def test_attention_is_that_of_the_layers(model: TrainedTabstar) -> None:
    torch.manual_seed(0)
    state = elements = torch.randn(3, 5, 32)
    encoder = model.network.tabular_encoder
    seen: list[torch.Tensor] = []
    for layer in encoder.layers:  # each map from the layer's projections, the next elements by torch's own layer
        own = layer.self_attn
        queries, keys, _ = F.linear(layer.norm1(state), own.in_proj_weight, own.in_proj_bias).chunk(3, dim=-1)
        queries, keys = (part.unflatten(-1, (own.num_heads, -1)).transpose(1, 2) for part in (queries, keys))
        seen.append((queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5).softmax(-1).mean(1))
        state = layer(state)
    torch.testing.assert_close(attention_maps(encoder, elements), torch.stack(seen), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_shares_add_up_and_parts_of_a_date_are_one_column(bench: Bench, model: TrainedTabstar, method: str) -> None:
    frame = bench.raw["trips"]
    importance = model.explain(frame, table="trips", method=method)  # type: ignore[arg-type]  # a text here
    assert set(importance.columns["column"]) >= {"start", "line", "minutes"}
    assert not any(name.startswith("start_") for name in importance.columns["column"])
    np.testing.assert_allclose(importance.rows.sum(axis=1), 1, atol=1e-9)
    assert importance.columns["importance"].is_monotonic_decreasing
    np.testing.assert_allclose(importance.columns["importance"].sum(), 1)
    assert importance.rows.index.equals(frame.index)
    assert importance.columns.set_index("column").loc["minutes", "spread"] > 0


def test_importance_is_written_as_table_and_figure(bench: Bench, tmp_path: Path) -> None:
    bench.raw["iris"].to_csv(tmp_path / "iris.csv", index=False)
    done = CliRunner().invoke(
        main,
        ["explain", str(bench.checkpoint), str(tmp_path / "iris.csv"), "--table", "iris", "-o", str(tmp_path / "i.csv"),
         "--rows", str(tmp_path / "r.parquet"), "--figure", str(tmp_path / "i.png")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "i.csv")
    assert [*table] == ["column", "importance", "spread"]
    assert len(table) == 4
    assert len(pd.read_parquet(tmp_path / "r.parquet")) == 150
    assert (tmp_path / "i.png").read_bytes().startswith(b"\x89PNG")
    assert table["column"][0] in done.stdout


def test_no_rows_are_refused(bench: Bench, model: TrainedTabstar) -> None:
    empty = bench.raw["iris"].iloc[:0]
    for ask in (model.embed, model.explain, model.predict):
        with pytest.raises(DataError, match="there are no rows"):
            ask(empty, table="iris")
