"""Rows are read, computed and written some at a time, and none of them minds which others come along."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from trained_tables import Bench, train

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.deployment import chunks
from tabstar_lit.families.tabstar.deployment.chunks import Wanted, file_chunks
from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar
from tabstar_lit.families.tabstar.tables.converter import FileSource, convert
from tabstar_lit.families.tabstar.tables.manifest import read_manifest

ODD = """
- name: odd
  file: odd.csv
  target: y
  task: regression
  dates: [day, stamp]
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, TrainedTabstar]:
    """Return a table whose cells read otherwise beside other rows, and a model of it."""
    folder, n = tmp_path_factory.mktemp("odd"), 120
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({
        "code": [f"{i % 9:03d}" if i % 40 else "none yet" for i in range(n)],  # digits, but for a few cells
        "day": [f"{i % 28 + 1:02d}/{i % 12 + 1:02d}/2024" for i in range(n)],  # only some tell day from month
        "stamp": [20240101 + i % 28 for i in range(n)],
        "open": [("true", "", "false")[i % 3] for i in range(n)],
        "price": [f"{1000 + 7 * i:,}.5" for i in range(n)],
        "text": [f'line\none "{i % 5}"' for i in range(n)],
        "y": rng.normal(size=n).round(3),
    })  # fmt: skip
    frame.to_csv(folder / "odd.csv", index=False)
    (folder / "manifest.yaml").write_text(ODD)
    (entry,) = read_manifest(folder / "manifest.yaml")
    convert([FileSource(entry, folder / "odd.csv")], folder / "corpus.h5")
    _, checkpoint = train(folder, folder / "corpus.h5")
    model = tabstar_lit.load(checkpoint)
    assert isinstance(model, TrainedTabstar)
    return folder / "odd.csv", model


def test_every_chunk_reads_as_the_whole_table(
    odd: tuple[Path, TrainedTabstar], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = odd
    whole = model.predict(path)
    assert whole["prediction"].nunique() > 20
    lines = pd.read_csv(path, dtype=str, na_filter=False)
    for row in (0, 1, 3, 4, 40, 119):  # each in a file of its own
        lines.iloc[[row]].to_csv(tmp_path / "one.csv", index=False)
        alone = model.predict(tmp_path / "one.csv")
        np.testing.assert_allclose(alone["prediction"], whole["prediction"].iloc[[row]], rtol=0, atol=1e-6)
    wanted = Wanted.of(model.config["tables"]["odd"])
    parts = list(file_chunks(path, wanted, rows=7))
    assert [len(part) for part in parts] == [7] * 17 + [1]
    server = model.ask(path).server
    pieces = np.concatenate([server.outputs(part, 3).numpy() for part in parts])
    target = model.config["tables"]["odd"]["target"]
    np.testing.assert_allclose(pieces * target["std"] + target["mean"], whole["prediction"], rtol=0, atol=1e-6)
    zipped = tmp_path / "odd.csv.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    pd.testing.assert_frame_equal(model.predict(zipped), whole)
    header, *rows = path.read_text().splitlines(keepends=True)
    zipped.write_bytes(gzip.compress("".join([header.replace(",", ", "), *rows]).encode()))
    pd.testing.assert_frame_equal(model.predict(zipped), whole)
    content = path.read_text().encode("utf-16")
    for file, own in ((path, content), (zipped, gzip.compress(content))):
        file.write_bytes(own)
        pd.testing.assert_frame_equal(model.predict(file), whole)


def test_predictions_do_not_depend_on_batch_size_or_other_rows(bench: Bench, model: TrainedTabstar) -> None:
    for name, frame in bench.raw.items():
        whole = model.predict(frame, table=name)
        scale = model.config["tables"][name]["target"]["std"]
        numbers = whole.drop(columns="prediction") if "p_0" in whole or len([*whole]) > 1 else whole
        for batch_size in (1, 7, 64):
            some = frame.sample(29, random_state=batch_size)
            again = model.predict(some, table=name, batch_size=batch_size)[numbers.columns]
            np.testing.assert_allclose(again / scale, numbers.loc[some.index] / scale, rtol=0, atol=1e-6)


def test_a_long_file_is_written_in_parts(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks.file_chunks, "__defaults__", (40,))
    frame = bench.raw["iris"]
    frame.to_parquet(tmp_path / "iris.parquet")
    command = ["predict", str(bench.checkpoint), str(tmp_path / "iris.parquet"), "--table", "iris", "-o"]
    done = CliRunner().invoke(main, [*command, str(tmp_path / "p.parquet")])
    assert done.exit_code == 0, done.output
    written = pd.read_parquet(tmp_path / "p.parquet")
    expected = tabstar_lit.load(bench.checkpoint).predict(frame, table="iris")
    pd.testing.assert_frame_equal(written, expected, check_exact=False, rtol=0, atol=1e-6)
    assert pd.io.parquet.get_engine("pyarrow").api.parquet.ParquetFile(tmp_path / "p.parquet").num_row_groups == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", r"is empty"),
        ("a,b\n", r"there are no rows to predict"),
        ("sepal length (cm),b\n1,2\n1\n", r":3: 1 fields, but the header has 2"),
        ("a,a\n1,2\n", r"column name 'a' stands over columns 1, 2"),
    ],
)
def test_files_that_are_no_tables_are_refused(model: TrainedTabstar, tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(DataError, match=words):
        model.predict(tmp_path / "t.csv", table="iris")
    (tmp_path / "t.csv").write_bytes("sepal,\xe9\n1,2\n".encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        model.predict(tmp_path / "t.csv", table="iris")


def test_extra_columns_are_ignored_with_a_word(
    bench: Bench, model: TrainedTabstar, caplog: pytest.LogCaptureFixture
) -> None:
    frame = bench.raw["iris"]
    expected = model.predict(frame, table="iris")
    assert "ignored" not in caplog.text
    seen = model.predict(frame.assign(more=np.inf, petals="five"), table="iris")
    pd.testing.assert_frame_equal(seen, expected)
    assert caplog.text.count("columns that the training did not have are ignored: 'more', 'petals'") == 1


def test_an_unseen_table_needs_a_description_and_is_predicted_with_a_warning(
    bench: Bench, model: TrainedTabstar, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    frame = pd.DataFrame({"wind": [3.0, 9.5, 20.0, 1.0], "sky": ["grey", "blue", "grey", "blue"]})
    with pytest.raises(DataError, match=r"not trained on a table 'weather'.* or described by its target"):
        model.predict(frame, table="weather")
    seen = model.predict(frame, target="rain", classes=["no", "yes"])
    assert [*seen] == ["prediction", "p_no", "p_yes"]
    np.testing.assert_allclose(seen["p_no"] + seen["p_yes"], 1, atol=1e-6)
    assert "zero-shot: 'rain' was not trained on" in caplog.text
    frame.assign(rain="?").to_csv(tmp_path / "w.csv", index=False)
    done = CliRunner().invoke(
        main,
        ["predict", str(bench.checkpoint), str(tmp_path / "w.csv"), "--target", "rain", "--classes", "no, yes",
         "-o", str(tmp_path / "p.parquet")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "p.parquet"), seen)
    numbers = model.predict(frame, target="rain in mm", task="regression")
    assert [*numbers] == ["prediction"]
    for options, words in (
        ({"target": "rain"}, "give its classes, or say"),
        ({"target": "rain", "classes": ["no"]}, "2 or more different classes"),
        ({"target": "rain", "task": "regression", "classes": ["a", "b"]}, "a regression has none"),
        ({"classes": ["a", "b"]}, "give its target too"),
    ):
        with pytest.raises(DataError, match=words):
            model.predict(frame, **options)  # type: ignore[arg-type]  # the cases differ


def test_two_columns_of_one_name_are_refused(bench: Bench, model: TrainedTabstar) -> None:
    frame = bench.raw["iris"]
    with pytest.raises(DataError, match="several columns called"):
        model.predict(pd.concat([frame, frame.iloc[:, :1]], axis=1), table="iris")
