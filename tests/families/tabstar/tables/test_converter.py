"""Manifests to corpora: every mistake is located, unchanged tables are kept, real tables equal the official package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from benchmarks.golden.tabstar_v1 import REAL_TABLES
from official_answers import assert_table

from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.tabstar.numbers import z_scores
from tabstar_lit.families.tabstar.tables.converter import FileSource, Report, convert
from tabstar_lit.families.tabstar.tables.corpus import Corpus
from tabstar_lit.families.tabstar.tables.encoding import Settings
from tabstar_lit.families.tabstar.tables.manifest import read_manifest

Entry = dict[str, object]
Build = Callable[..., Report]


def frame(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(n),
            "size": rng.normal(size=n).round(3),
            "color": rng.choice(["red", "green"], n),
            "day": pd.date_range("2020-01-01", periods=n).strftime("%Y-%m-%d"),
            "kind": rng.choice(["a", "b", "c"], n),
            "price": rng.normal(size=n).round(3),
        }
    )


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Write one table and its manifest, convert, and return the report."""

    def run(table: pd.DataFrame, *, settings: Settings | None = None, **changes: object) -> Report:
        table.to_csv(tmp_path / "t.csv", index=False)
        entry: Entry = {"name": "toy", "file": "t.csv", "target": "kind", "task": "classification"}
        return convert_entries(tmp_path, [entry | changes], settings=settings)

    return run


def convert_entries(folder: Path, entries: list[Entry], **options: object) -> Report:
    (folder / "m.yaml").write_text(yaml.safe_dump(entries, sort_keys=False))
    sources = [FileSource(entry, folder / entry.file) for entry in read_manifest(folder / "m.yaml")]
    return convert(sources, folder / "c.h5", **options)  # type: ignore[arg-type]  # options of convert


def test_a_table_is_converted_with_its_schema(build: Build) -> None:
    report = build(frame(), ignore=["id"], dates=["day"], description="Toys.", licence="CC0")
    table = Corpus.open(report.path).load("toy")
    assert table.feature_names == ("color", "day_day", "day_month", "day_total_seconds", "day_weekday", "price", "size")
    assert table.classes == ("a", "b", "c")
    schema = table.schema
    assert schema["about"]["licence"] == "CC0"
    assert schema["source"]["file"] == "t.csv"
    assert len(schema["source"]["sha256"]) == 64
    assert schema["dates"] == {"day": ["year", "month", "day", "total_seconds", "weekday"]}
    assert schema["ignored"] == ["id"]
    assert schema["split"] == {"fraction": 0.1, "seed": 0}
    assert report.tables[0].warnings == ("column 'day_year' is left out: it has the same value in all training rows",)


def test_a_column_of_numbers_as_target_and_its_unit(build: Build) -> None:
    rows = frame()
    rows.loc[3, "price"] = 1e4
    table = Corpus.open(build(rows, target="price", task="regression").path).load("toy")
    train = ~table.is_validation
    prices = rows["price"].to_numpy()
    assert table.target_mean == pytest.approx(prices[train].mean())
    assert table.target_std == pytest.approx(prices[train].std())
    z_scores = (prices - prices[train].mean()) / prices[train].std()
    assert np.abs(z_scores).max() > 3, "a tail must be there to be kept"
    np.testing.assert_allclose(table.targets, z_scores, rtol=1e-6, atol=1e-6)


def test_bin_labels_can_be_numeric(build: Build) -> None:
    table = frame(500).assign(size=np.arange(500) + 5)
    official = Corpus.open(build(table).path).load("toy").vocabulary
    numeric = Corpus.open(build(table, settings=Settings(bin_labels="numeric")).path).load("toy").vocabulary
    assert sorted(set(official) - set(numeric)) != []
    assert "Predictive Feature: size\nFeature Value: Higher than 504 (Quantile 100%)" in numeric


def test_another_seed_is_another_split(build: Build) -> None:
    first = Corpus.open(build(frame(500)).path).load("toy").is_validation
    second = Corpus.open(build(frame(500), settings=Settings(seed=1)).path).load("toy").is_validation
    assert (first != second).any()


def test_appended_rows_keep_every_row_on_its_side(build: Build) -> None:
    table = frame(300)
    before = Corpus.open(build(table).path).load("toy")
    more = table.tail(100).assign(color="blue")  # a new category, and gaps in a column without any
    more["size"] = more["size"].where(more["size"] > 0)
    after = Corpus.open(build(pd.concat([table, more], ignore_index=True)).path).load("toy")
    assert len(after) == 400
    assert after.row_ids[:300].tolist() == before.row_ids.tolist()
    assert after.is_validation[:300].tolist() == before.is_validation.tolist()


def bad(**columns: object) -> pd.DataFrame:
    return frame().assign(**columns)


MISTAKES = {
    "missing target": (frame(), {"target": "knid"}, r"no column 'knid' \(named under 'target'\). Did you mean 'kind'"),
    "missing ignore": (frame(), {"ignore": ["sise"]}, r"no column 'sise' \(named under 'ignore'\)"),
    "missing dates": (frame(), {"dates": ["xyz"]}, r"no column 'xyz' \(named under 'dates'\). It has: id, size"),
    "target ignored": (frame(), {"ignore": ["kind"]}, "column 'kind' is named as target and under 'ignore'"),
    "no dates": (frame(), {"dates": ["color"]}, r"column 'color' .* holds no date: '(red|green)'"),
    "constant class": (bad(kind="a"), {}, "target 'kind' is constant \\('a' in every row\\)"),
    "constant number": (bad(price=2.5), {"target": "price", "task": "regression"}, r"'price' is constant \(2\.5"),
    "every row a class": (frame(), {"target": "id"}, "another class in each of its 60 rows"),
    "text to regress": (frame(), {"target": "color", "task": "regression"}, r"'color' is not numeric: '\w+' in 60"),
    "one bad number": (
        bad(price=["1,5" if i == 4 else "2.5" for i in range(60)]),
        {"target": "price", "task": "regression"},
        r"'price' is not numeric: '1,5' in 1 row \(5\)",
    ),
    "gaps in target": (
        bad(kind=frame()["kind"].where(frame().index > 6)),
        {},
        r"target 'kind' is missing in 7 rows \(1, 2, 3, 4, 5, …\).*missing_target: drop",
    ),
    "no target": (bad(kind=None), {"missing_target": "drop"}, "target 'kind' is missing in all rows"),
    "infinite": (bad(size=[np.inf if i in (2, 9) else i for i in range(60)]), {}, r"'size' is infinite.* \(3, 10\)"),
    "infinite target": (
        bad(price=[np.inf if i == 2 else i for i in range(60)]),
        {"target": "price", "task": "regression"},
        r"target 'price' is infinite.* 1 row \(3\)",
    ),
    "all ignored": (
        frame(),
        {"ignore": ["id", "size", "color", "day", "price"]},
        "no feature column is left \\(there is no column\\)",
    ),
    "nothing useful": (
        bad(size=1, color="x", day=None),
        {"ignore": ["id", "price"]},
        "no feature column is left .*'day' is missing in all training rows",
    ),
    "two rows": (frame(2).assign(price=[1.0, 2.0]), {"target": "price", "task": "regression"}, "2 rows are too few"),
    "same class text": (bad(kind=["a\tb", "a b"] * 30), {}, "classes that read the same in the texts"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_names_table_file_and_column(build: Build, tmp_path: Path, case: str) -> None:
    table, changes, words = MISTAKES[case]
    with pytest.raises(DataError, match=r"table 'toy' \(t\.csv\): .*" + words):
        build(table, **changes)
    assert not (tmp_path / "c.h5").exists()


def test_rows_without_target_can_be_dropped(build: Build) -> None:
    table = bad(kind=frame()["kind"].where(frame().index > 6))
    assert build(table, missing_target="drop").tables[0].rows == 53


def test_odd_but_usable_columns_are_named_in_warnings(build: Build) -> None:
    table = bad(
        gone=np.nan,
        same=3,
        kind=["once"] + ["a", "b"] * 29 + ["a"],
        day=["soon"] + ["2020-03-04"] * 58 + ["2021-01-01"],
    )
    report = build(table, dates=["day"])
    warnings = "\n".join(report.tables[0].warnings)
    assert "class 'once' has one row: it trains and is never validated" in warnings
    assert "column 'gone' is left out: it is missing in all training rows" in warnings
    assert "column 'same' is left out: it has the same value" in warnings
    assert "column 'day' holds no date in 1 row (1): taken as missing" in warnings
    read = Corpus.open(report.path).load("toy")
    assert not read.is_validation[0]


def test_a_table_smaller_than_a_batch_is_fine(build: Build) -> None:
    assert build(frame(9)).tables[0].rows == 9


def two_tables(folder: Path) -> list[Entry]:
    for name in ("one", "two"):
        frame().to_csv(folder / f"{name}.csv", index=False)
    return [
        {"name": name, "file": f"{name}.csv", "target": "kind", "task": "classification"} for name in ("one", "two")
    ]


def test_what_did_not_change_is_kept(tmp_path: Path) -> None:
    entries = two_tables(tmp_path)
    assert convert_entries(tmp_path, entries).written
    first = (tmp_path / "c.h5").read_bytes()
    assert not convert_entries(tmp_path, entries).written
    assert (tmp_path / "c.h5").read_bytes() == first

    frame(70).to_csv(tmp_path / "two.csv", index=False)
    report = convert_entries(tmp_path, entries)
    assert [(row.name, row.kept, row.rows) for row in report.tables] == [("one", True, 60), ("two", False, 70)]

    entries.append(entries[0] | {"name": "three"})
    entries[1]["ignore"] = ["id"]
    assert [row.kept for row in convert_entries(tmp_path, entries).tables] == [True, False, False]
    assert [row.kept for row in convert_entries(tmp_path, entries, settings=Settings(seed=3)).tables] == [False] * 3

    report = convert_entries(tmp_path, entries[2:])
    assert report.written
    assert Corpus.open(report.path).tables == ("three",)


def test_a_damaged_table_is_converted_again(tmp_path: Path) -> None:
    entries = two_tables(tmp_path)
    convert_entries(tmp_path, entries)
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        file["tables/two/targets"][0] += 1
    assert [row.kept for row in convert_entries(tmp_path, entries).tables] == [True, False]
    assert len(Corpus.open(tmp_path / "c.h5").load("two")) == 60


def test_all_bad_tables_are_named_at_once_and_nothing_changes(tmp_path: Path) -> None:
    entries = two_tables(tmp_path)
    convert_entries(tmp_path, entries)
    before = (tmp_path / "c.h5").read_bytes()
    (tmp_path / "one.csv").write_text("kind,kind\na,b\n")
    entries[1]["target"] = "nothing"
    with pytest.raises(DataError, match="one") as caught:
        convert_entries(tmp_path, entries)
    assert str(caught.value).count("table '") == 2
    assert (tmp_path / "c.h5").read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_is_no_corpus_is_not_overwritten(tmp_path: Path) -> None:
    entries = two_tables(tmp_path)
    (tmp_path / "c.h5").write_text("precious")
    with pytest.raises(DataError, match="not overwritten"):
        convert_entries(tmp_path, entries)
    assert (tmp_path / "c.h5").read_text() == "precious"


def test_all_mistakes_of_a_manifest_are_located_at_once(tmp_path: Path) -> None:
    manifest = tmp_path / "m.yaml"
    manifest.write_text(
        "- name: a\n  file: t.csv\n  target: 2019\n  task: classificaton\n  ignor: [x]\n"
        "- name: a/b\n  file: t.csv\n  task: regression\n  ignore: x\n"
    )
    with pytest.raises(ConfigError, match="problems") as caught:
        read_manifest(manifest)
    message = str(caught.value)
    for words in (
        "m.yaml:4:3: task cannot be the text 'classificaton'. Did you mean 'classification'?",
        "m.yaml:5:3: unknown key 'ignor'",
        "m.yaml:6:3: use letters, digits",
        "m.yaml:6:3: the key 'target' is missing",
        "m.yaml:9:3: expected a list, got the text 'x'",
    ):
        assert words in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a list of tables"),
        ("name: a\n", "expected a list of tables"),
        ("[]\n", "the manifest names no table"),
        ("- {name: a, name: b}\n", "m.yaml:1:13: duplicate key 'name'"),
        (
            "- {name: a, file: q.csv, target: y, task: regression}\n",
            r"m.yaml:1:13: no file 'q.csv' in .*Did you mean 'w.csv'",
        ),
        (
            "- {name: a, file: w.csv, target: y, task: regression}\n" * 2,
            "m.yaml:2:4: a table named 'a' stands above already",
        ),
        ("- {name: a\n", "m.yaml:2:1: not valid YAML"),
    ],
)
def test_bad_manifests_are_located(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "w.csv").write_text("y\n1\n")
    (tmp_path / "m.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        read_manifest(tmp_path / "m.yaml")


def test_manifests_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"- {name: \xe9}\n")
    with pytest.raises(ConfigError, match=r"latin\.yaml:1:1: not UTF-8"):
        read_manifest(tmp_path / "latin.yaml")
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file"):
        read_manifest(tmp_path / "none.yaml")


@pytest.fixture(scope="module")
def real(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    output = tmp_path_factory.mktemp("real") / "real.h5"
    entries = read_manifest(shared_data / "tabular.yaml")
    convert([FileSource(entry, shared_data / entry.file) for entry in entries], output)
    return Corpus.open(output)


def test_all_real_tables_convert_and_load(shared_data: Path, real: Corpus) -> None:
    entries = {entry.name: entry for entry in read_manifest(shared_data / "tabular.yaml")}
    assert set(real.tables) == set(entries)
    for name in real.tables:
        table = real.load(name)
        assert len(table) == entries[name].rows
        assert len(table.classes) == (entries[name].n_classes or 0)
        assert abs(table.is_validation.mean() - 0.1) < 0.03
        assert np.isfinite(z_scores(table.numbers)).all()
        assert table.codes.max() == len(table.vocabulary) - 1


@pytest.mark.parametrize("name", REAL_TABLES)
def test_real_tables_equal_the_official_package(real: Corpus, name: str) -> None:
    assert_table(real.load(name))
