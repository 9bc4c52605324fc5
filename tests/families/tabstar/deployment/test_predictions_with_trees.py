"""A model whose predictions start from trees goes every way that a trained model goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from trained_tables import train

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.families.tabstar.deployment import chunks
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar
from tabstar_lit.families.tabstar.offsets import OFFSET
from tabstar_lit.families.tabstar.tables.converter import FileSource, convert
from tabstar_lit.families.tabstar.tables.manifest import read_manifest


def cells(n: int = 400, seed: int = 0) -> pd.DataFrame:
    """Draw rows with gaps, common texts, and texts of which each is another."""
    rng = np.random.default_rng(seed)
    size, color = rng.normal(size=n), rng.choice(["red", "blue", "green"], n)
    frame = pd.DataFrame({"size": size, "color": color, "note": [f"note {seed} of {i}" for i in range(n)]})
    frame["price"] = 10 * np.abs(size) + 5 * (color == "red") + rng.normal(scale=0.2, size=n) + 100
    frame.loc[rng.random(n) < 0.1, "size"] = np.nan
    return frame


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedTabstar]:
    """Return a checkpoint, and its model."""
    folder = tmp_path_factory.mktemp("trees")
    cells().to_csv(folder / "goods.csv", index=False)
    (folder / "manifest.yaml").write_text("- {name: goods, file: goods.csv, target: price, task: regression}\n")
    (entry,) = read_manifest(folder / "manifest.yaml")
    convert([FileSource(entry, folder / "goods.csv")], folder / "corpus.h5")
    _, checkpoint = train(folder, folder / "corpus.h5", "dataset_config.target_offset=trees")
    model = tabstar_lit.load(checkpoint)
    assert isinstance(model, TrainedTabstar)
    return checkpoint, model


def new_rows() -> pd.DataFrame:
    """Draw rows with texts that the training has not seen."""
    frame = cells(60, seed=1)
    frame.loc[::7, "color"] = "purple"
    frame.loc[::11, "color"] = None
    return frame


def test_trees_are_kept_as_plain_values_and_say_most(trained: tuple[Path, TrainedTabstar]) -> None:
    checkpoint, model = trained
    torch.load(checkpoint, weights_only=True)
    target = model.config["tables"]["goods"]["target"]
    assert target[OFFSET]["kind"] == "trees"
    known = new_rows()
    known = known[known["color"].isin(["red", "blue", "green"]) & known["size"].notna()]
    error = model.predict(known)["prediction"] - known["price"]
    assert error.std() < 0.5 * known["price"].std()


def test_rows_do_not_mind_batch_chunk_or_company(
    trained: tuple[Path, TrainedTabstar], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model = trained
    rows = new_rows()
    whole = model.predict(rows)["prediction"]
    np.testing.assert_allclose(model.predict(rows, batch_size=7)["prediction"], whole, rtol=1e-6)
    alone = [model.predict(rows[i : i + 1])["prediction"].item() for i in range(12)]
    np.testing.assert_allclose(alone, whole[:12], rtol=1e-6)
    turned = rows[rows.columns[::-1]].iloc[::-1]
    np.testing.assert_allclose(model.predict(turned)["prediction"].iloc[::-1], whole, rtol=1e-6)
    monkeypatch.setattr(chunks.frame_chunks, "__defaults__", (8,))
    np.testing.assert_allclose(model.predict(rows)["prediction"], whole, rtol=1e-6)


def test_exports_predict_the_same(trained: tuple[Path, TrainedTabstar], tmp_path: Path) -> None:
    checkpoint, model = trained
    rows = new_rows()
    expected = model.predict(rows)["prediction"]
    for name, options in {"own.safetensors": [], "own.ckpt": ["--checkpoint"]}.items():
        output = tmp_path / name
        told = CliRunner().invoke(main, ["export", str(checkpoint), "-o", str(output), *options])
        assert told.exit_code == 0, told.output
        np.testing.assert_array_equal(tabstar_lit.load(output).predict(rows)["prediction"], expected)


def test_rows_are_embedded_and_explained(trained: tuple[Path, TrainedTabstar]) -> None:
    _, model = trained
    rows = new_rows()
    assert np.isfinite(model.embed(rows).rows).all()
    assert set(model.explain(rows).columns["column"]) >= {"size", "color"}
