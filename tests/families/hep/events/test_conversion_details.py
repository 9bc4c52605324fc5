"""What becomes of single columns, objects, ids, categories and patterns on the way into an event file."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from by_hand import convert, lists, report, texts

from tabstar_lit.errors import ConfigError, DataError, TabstarLitError
from tabstar_lit.families.hep.events.file import EventFile

MISSING = "missing (empty or NaN); say 'nullable: true' if that may be, or which missing_code means it"
SOURCE = "sources: [{file: t.csv}]\n"


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_a_missing_code_of_text_works_for_numbers_in_chunks_of_any_size(tmp_path: Path, rows: int) -> None:
    table = "x,k\n1.5,a\n?,?\n-999,b\n4,a\n"
    config = SOURCE + f"chunk_rows: {rows}\n" + "columns: {x: {missing_code: ['?', -999]}, y: {from: x + 1, "
    file = convert(tmp_path, config + "missing_code: [-999, '?']}, k: {kind: categorical, missing_code: '?'}}", t=table)
    np.testing.assert_array_equal(file.column("x"), [1.5, np.nan, np.nan, 4])
    np.testing.assert_array_equal(file.column("y"), [2.5, np.nan, np.nan, 5])
    assert texts(file, "k") == ["a", None, "b", "a"]
    assert [file.columns[name].nullable for name in "xyk"] == [True, True, True]


def test_a_text_that_no_missing_code_declares_is_refused(tmp_path: Path) -> None:
    words = r"t\.csv: column 'x' holds the text '(\?|seven)'; make it 'kind: categorical', or declare missing_code"
    for column in ("{}", "{missing_code: '?'}"):
        with pytest.raises(DataError, match=words):
            convert(tmp_path, SOURCE + f"columns: {{x: {column}}}", t="x\n1\n?\nseven\n")


def test_codes_of_a_column_are_not_missing_in_another(tmp_path: Path) -> None:
    """Codes belong to the column that declares them, and the source is not changed under the columns after it."""
    columns = "columns: {a: {from: x, missing_code: -1}, b: x, c: {from: x * y, missing_code: -1}}"
    file = convert(tmp_path, SOURCE + columns, t="x,y\n-1,2\n3,-1\n4,5\n")
    np.testing.assert_array_equal(file.column("a"), [np.nan, 3, 4])
    np.testing.assert_array_equal(file.column("b"), [-1, 3, 4])
    np.testing.assert_array_equal(file.column("c"), [np.nan, np.nan, 20])


def test_a_nan_that_is_computed_from_known_inputs_is_no_missing_value(tmp_path: Path) -> None:
    config = SOURCE + "columns: {y: {from: sqrt(x), missing_code: -999}}"
    with pytest.raises(DataError, match=r"column 'y': 1 values are NaN although 'sqrt\(x\)' has all .* rows 1, "):
        convert(tmp_path, config, t="x\n4\n-4\n-999\n")
    assert convert(tmp_path, config, t="x\n4\n9\n-999\n").column("y")[:2].tolist() == [2, 3]


def test_codes_are_compared_in_the_precision_of_the_source(tmp_path: Path) -> None:
    """-99.9 in float32 is another number than in float64."""
    for kind in (pa.float32(), pa.float64(), pa.float16()):
        pq.write_table(
            pa.table({"x": pa.array(np.array([1.5, -99.9, -99.0], kind.to_pandas_dtype()))}), tmp_path / "t.parquet"
        )
        file = convert(tmp_path, "sources: [{file: t.parquet}]\ncolumns: {x: {missing_code: -99.9}}", f"{kind}.h5")
        np.testing.assert_array_equal(np.isnan(file.column("x")), [False, True, False])
    pq.write_table(pa.table({"x": pa.array([1, -99, 3])}), tmp_path / "t.parquet")
    file = convert(tmp_path, "sources: [{file: t.parquet}]\ncolumns: {x: {missing_code: [-99.9, 3]}}", "whole.h5")
    np.testing.assert_array_equal(file.column("x"), [1, -99, np.nan])


def test_a_condition_that_is_missing_does_not_hold(tmp_path: Path) -> None:
    table = "x,s\n4,1\n-4,0\n,1\n9,\n"
    file = convert(tmp_path, SOURCE + "cuts: [sqrt(x)]\ncolumns: {x: }", t=table)
    assert file.column("x").tolist() == [4, 9]
    labels = "sources: [{file: t.csv, label: {yes: s, no: not s}}]\ncolumns: {x: {nullable: true}}"
    with pytest.raises(DataError, match=r"label: 1 values are missing, as no rule holds.*first in rows 3, "):
        convert(tmp_path, labels, "labels.h5", t=table)
    columns = "columns: {both: (s and 1) * 1, any: (s or 0) * 1, chosen: 'where(s, 1, 2)'}"
    file = convert(tmp_path, SOURCE + columns, "logic.h5", t=table)
    assert [file.column(name).tolist() for name in ("both", "any", "chosen")] == [[1, 0, 1, 0]] * 2 + [[1, 2, 1, 2]]
    with pytest.raises(DataError, match="needs numbers, but found the text 'a'"):
        convert(tmp_path, SOURCE + "cuts: [s]\ncolumns: {x: }", "text.h5", t="x,s\n1,a\n")


def test_an_expression_can_say_that_a_value_is_missing(tmp_path: Path) -> None:
    """A code, such as -999, is one of the source's values; a computed value cannot be one."""
    column = "{from: 'where(x > 0, log(x), missing)'"
    file = convert(tmp_path, SOURCE + f"columns: {{y: {column}, nullable: true}}}}", t="x\n1\n-1\n")
    np.testing.assert_array_equal(file.column("y"), [0, np.nan])
    with pytest.raises(DataError, match=r"column 'y': 1 values are missing .* say 'nullable: true'"):
        convert(tmp_path, SOURCE + f"columns: {{y: {column}}}}}", "other.h5", t="x\n1\n-1\n")
    with pytest.raises(
        ConfigError, match=r"'missing' may be the word or the column of t\.csv: `missing` in backquotes"
    ):
        convert(tmp_path, SOURCE + f"columns: {{y: {column}, nullable: true}}}}", "both.h5", t="x,missing\n1,5\n")
    quoted = convert(tmp_path, SOURCE + "columns: {y: '`missing`'}", "quoted.h5", t="x,missing\n1,5\n-1,6\n")
    assert quoted.column("y").tolist() == [5, 6]
    config = SOURCE + "define: {none: missing}\ncolumns: {y: {from: 'where(x > 0, x, none)', nullable: true}}"
    np.testing.assert_array_equal(convert(tmp_path, config, "defined.h5", t="x\n1\n-1\n").column("y"), [1, np.nan])


def test_objects_whose_selection_is_missing_are_left_out(tmp_path: Path) -> None:
    pq.write_table(pa.table({"pt": [[1.0, 2.0], [3.0]], "good": [[1.0, np.nan], [0.0]]}), tmp_path / "t.parquet")
    config = "sources: [{file: t.parquet}]\ncolumns: {n: count(good)}\nobjects: {o: {select: good, columns: {pt: pt}}}"
    file = convert(tmp_path, config)
    assert lists(file, "o", "pt") == [[1], []]
    assert file.column("n").tolist() == [1, 0]


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_categories_of_csv_do_not_depend_on_what_else_is_in_their_chunk(tmp_path: Path, rows: int) -> None:
    config = (
        SOURCE + f"chunk_rows: {rows}\n" + "columns: {k: {kind: categorical, nullable: true}, j: {kind: categorical}}"
    )
    file = convert(tmp_path, config, t="k,j\n1.0,01\n1,1\n,2\nNone,a\n2.50,NA\n")
    assert texts(file, "k") == ["1", "1", None, "None", "2.5"]
    assert texts(file, "j") == ["01", "1", "2", "a", "NA"]


def test_a_category_that_is_also_computed_with_stays_a_number(tmp_path: Path) -> None:
    config = SOURCE + "columns: {k: {kind: categorical}, twice: 2 * k}"
    file = convert(tmp_path, config, t="k\n1\n3\n")
    assert (texts(file, "k"), file.column("twice").tolist()) == (["1", "3"], [2, 6])


def test_missing_numbers_of_csv_are_missing_in_every_spelling(tmp_path: Path) -> None:
    file = convert(tmp_path, SOURCE + "columns: {x: {nullable: true}}", t="x,y\n1,0\nnan,0\nNone,0\n-1.#IND,0\n,0\n")
    np.testing.assert_array_equal(file.column("x"), [1, np.nan, np.nan, np.nan, np.nan])


def test_the_separator_of_csv_can_be_given(tmp_path: Path) -> None:
    file = convert(tmp_path, "sources: [{file: t.csv, separator: ';'}]\ncolumns: {x: , y: }", t="x;y\n1;2\n3;4\n")
    assert (file.column("x").tolist(), file.column("y").tolist()) == ([1, 3], [2, 4])


@pytest.mark.parametrize(
    ("column", "table", "problem"),
    [
        ("type: bool", "0\n1\n2", "1 values are neither 0 nor 1, but its type is bool (first in rows 2"),
        ("type: int", "1\n16777217\n3", "1 values are too large to be exact in float32 (over 16777216) (first"),
        ("type: int, scale: 2", "8388609\n1\n3", "1 values are too large to be exact in float32"),
        ("scale: 10", "1\n2\n1e38", "1 values are infinite, or beyond what float32 holds (first in rows 2"),
        ("nullable: true", '1\n""\ninf', "1 values are infinite"),
        ("unit: a", '""\n' * 7, f"7 values are {MISSING} (first in rows 0, 1, 2, 3, 4, counted from 0)"),
    ],
)
def test_values_that_do_not_fit_their_column_are_counted_and_placed(
    tmp_path: Path, column: str, table: str, problem: str
) -> None:
    with pytest.raises(DataError, match=re.escape(f"t.csv: column 'x': {problem}")):
        convert(tmp_path, SOURCE + f"columns: {{x: {{{column}}}}}", t=f"x\n{table}\n")


@pytest.mark.parametrize(("column", "value"), [("type: int", 1 << 24), ("type: bool", 1), ("scale: 1000", 0.25)])
def test_values_at_the_limit_are_kept(tmp_path: Path, column: str, value: float) -> None:
    file = convert(tmp_path, SOURCE + f"columns: {{x: {{{column}}}}}", t=f"x\n{value}\n0\n")
    assert file.column("x").tolist() == [value * (1000 if "scale" in column else 1), 0]


def test_rows_are_counted_in_the_source_whatever_was_cut_before(tmp_path: Path) -> None:
    config = SOURCE + "chunk_rows: 2\ncuts: [x > 1, x < 9]\ncolumns: {y: }"
    with pytest.raises(DataError, match=r"'y': 1 values are missing .*rows 4, counted from 0"):
        convert(tmp_path, config, t="x,y\n0,\n5,1\n9,\n5,1\n5,\n5,1\n")


def test_cuts_of_a_source_hold_beside_the_common_ones_and_for_it_alone(tmp_path: Path) -> None:
    config = """
sources:
  - {file: a.csv, label: a, cuts: x > 1, weight: x}
  - {file: b.csv, label: b}
cuts: x < 4
weight: 10 * x
classes: [b, a]
columns: {x: }
"""
    done = report(tmp_path, config, a="x\n1\n2\n3\n4\n", b="x\n1\n5\n")
    assert (done.n_read, done.written, done.file.n_events) == (6, True, 3)
    assert done.file.column("x").tolist() == [2, 3, 1]
    assert done.file.weights().tolist() == [2, 3, 10]
    assert (done.file.classes, done.file.labels().tolist()) == (("b", "a"), [1, 1, 0])
    assert [source["file"] for source in done.file.sources] == ["a.csv", "b.csv"]


# -- categories --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 100])
def test_categories_found_are_sorted_numbers_by_value_before_texts(tmp_path: Path, rows: int) -> None:
    config = SOURCE + f"chunk_rows: {rows}\n" + "columns: {k: {kind: categorical, nullable: true}}"
    file = convert(tmp_path, config, t="k,x\nb,1\n10,1\n9,1\n,1\n-2.5,1\na,1\n10,1\n")
    assert file.columns["k"].categories == ("-2.5", "9", "10", "a", "b")
    assert texts(file, "k") == ["b", "10", "9", None, "-2.5", "a", "10"]


def test_whole_numbers_are_the_same_category_with_and_without_a_point(tmp_path: Path) -> None:
    pq.write_table(pa.table({"k": [1.0, 0.5, None, 2.0]}), tmp_path / "f.parquet")
    pq.write_table(pa.table({"k": [True, False]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"k": ["1", "2"]}), tmp_path / "s.parquet")
    sources = "sources: [{file: f.parquet}, {file: b.parquet}, {file: s.parquet}]\n"
    file = convert(tmp_path, sources + "columns: {k: {kind: categorical, nullable: true}}")
    assert texts(file, "k") == ["1", "0.5", None, "2", "1", "0", "1", "2"]


def test_fixed_categories_keep_their_order_and_those_that_do_not_occur(tmp_path: Path) -> None:
    config = SOURCE + "columns: {k: {kind: categorical, categories: [tau, mu, e, 0]}}"
    with pytest.raises(ConfigError, match=r"c\.yaml:2:59: expected text, got the number 0.5"):
        convert(tmp_path, config.replace("0]", "0.5]"), t="k\ne\ntau\ne\n")
    file = convert(tmp_path, config, t="k\ne\ntau\ne\n")
    assert file.columns["k"].categories == ("tau", "mu", "e", "0")
    assert file.column("k").tolist() == [2, 0, 2]


def test_a_value_beside_the_fixed_categories_is_named_with_its_rows(tmp_path: Path) -> None:
    config = SOURCE + "chunk_rows: 2\ncolumns: {k: {kind: categorical, categories: [muon, tau]}}"
    words = r"column 'k': 2 values are 'muons', which is none .*Did you mean 'muon'\? .*\(first in rows 2, 3, counted"
    with pytest.raises(DataError, match=words):
        convert(tmp_path, config, t="k\nmuon\ntau\nmuons\nmuons\n")
    assert not (tmp_path / "e.h5").exists()


def test_a_missing_category_must_be_declared(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'k': 1 values are missing .*nullable: true.* rows 1, counted"):
        convert(tmp_path, SOURCE + "columns: {k: {kind: categorical}, x: }", t="k,x\na,1\n,2\n")


# -- patterns ----------------------------------------------------------------------------------------------------------

WIDE = "jet_pt,jet_eta,lep_pt,weight\n-1,2,3,4\n5,6,7,8\n"


def test_a_pattern_takes_what_is_not_given_by_itself_and_its_settings_hold_for_all(tmp_path: Path) -> None:
    columns = "columns: {jet_eta: {scale: 10}, '*_pt': {missing_code: -1, unit: GeV}, 'jet_*': {}}"
    file = convert(tmp_path, SOURCE + columns, t=WIDE)
    assert list(file.columns) == ["jet_eta", "jet_pt", "lep_pt"], "the first pattern that matches has it"
    assert [file.columns[name].unit for name in file.columns] == [None, "GeV", "GeV"]
    np.testing.assert_array_equal(file.column("jet_pt"), [np.nan, 5])
    assert file.column("jet_eta").tolist() == [20, 60]


@pytest.mark.parametrize(
    ("pattern", "names"), [("?e*", ["jet_pt", "jet_eta", "lep_pt", "weight"]), ("[l]*", ["lep_pt"])]
)
def test_all_signs_of_patterns_are_known(tmp_path: Path, pattern: str, names: list[str]) -> None:
    assert list(convert(tmp_path, SOURCE + f"columns: {{'{pattern}': }}", t=WIDE).columns) == names


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("columns: {'JET_*': }", "c.yaml:2:11: 'JET_*' matches no column of t.csv"),
        ("columns: {'jet_*': lep_pt}", "c.yaml:2:11: 'jet_*' stands for several columns of events; it cannot have"),
        ("objects: {jets: {columns: {'jet_*': }}}", "'jet_*' stands for several columns of events"),
        ("objects: {jets: {columns: {offsets: jet_pt}}}", "a column of objects cannot be called 'offsets'"),
        ("columns: {jet_pt: {categories: [a]}}", "only a categorical column has categories; add 'kind: categorical'"),
        ("columns: {jet_pt: {kind: categorical, scale: 2}}", "a categorical column has neither scale nor type"),
        ("weight: weight", "neither columns nor objects are given: there is nothing to convert"),
        ("columns: {jet_pt: }\nclasses: [a, b, a]", "the class 'a' stands above already"),
        ("objects: {jets: {columns: {pt: jet_pt}}}", "column 'jets.pt' has one value an event, but objects need one"),
    ],
)
def test_settings_that_make_no_sense_are_named(tmp_path: Path, rest: str, words: str) -> None:
    with pytest.raises(TabstarLitError, match=re.escape(words)):
        convert(tmp_path, SOURCE + rest, t=WIDE)


def test_labels_are_for_all_sources_or_none_and_among_the_classes(tmp_path: Path) -> None:
    sources = "sources: [{file: a.csv, label: a}, {file: b.csv%s}]\ncolumns: {x: }\nclasses: %s"
    tables = {"a": "x\n1\n", "b": "x\n2\n"}
    with pytest.raises(ConfigError, match=r"c\.yaml:1:36: this source has no label but others have: label all or none"):
        convert(tmp_path, sources % ("", "[a]"), **tables)
    with pytest.raises(ConfigError, match=r"the class 'bee' is not among classes\. .*"):
        convert(tmp_path, sources % (", label: bee", "[a, bees]"), **tables)
    assert convert(tmp_path, sources % (", label: b", "[b, a]"), **tables).labels().tolist() == [1, 0]


# -- objects -----------------------------------------------------------------------------------------------------------

PT = [[30.0, 50.0, None, 50.0], [], [10.0], [40.0, 20.0]]
NUMBER = [[0, 1, 2, 3], [], [4], [5, 6]]


def jets(folder: Path, settings: str) -> EventFile:
    table = {"pt": PT, "n": NUMBER, "low": [25.0, 0.0, 0.0, 30.0], "short": [[1], [], [1], [1]]}
    pq.write_table(pa.table(table), folder / "o.parquet")
    config = f"sources: [{{file: o.parquet}}]\nobjects: {{jets: {{{settings}}}}}"
    return convert(folder, config)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ("", NUMBER),
        ("order_by: pt, ", [[1, 3, 0, 2], [], [4], [5, 6]]),  # equal ones stay in order, missing ones come last
        ("order_by: -n, max_length: 2, ", [[0, 1], [], [4], [5, 6]]),
        ("order_by: n, max_length: 1, ", [[3], [], [4], [6]]),
        ("select: pt > low, ", [[0, 1, 3], [], [4], [5]]),
        ("select: pt > low, order_by: n, max_length: 2, ", [[3, 1], [], [4], [5]]),
        ("select: n > 99, ", [[], [], [], []]),
    ],
)
def test_objects_are_selected_then_ordered_then_truncated(
    tmp_path: Path, settings: str, expected: list[list[int]]
) -> None:
    file = jets(tmp_path, settings + "columns: {n: , twice: n * 2}")
    assert lists(file, "jets", "n") == expected
    assert lists(file, "jets", "twice") == [[2 * n for n in event] for event in expected]
    assert file.objects["jets"].max_length == max(map(len, expected))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("columns: {n: , s: short}", r"columns 'n' and 's' of 'jets' differ in length within an event"),
        ("select: low > 1, columns: {n: }", r"select 'low > 1' must have one value for each of these objects"),
        ("order_by: short, columns: {n: }", r"order_by 'short' must have one value for each"),
        ("columns: {n: , s: n + short}", r"'n \+ short': mixes columns of objects that do not go together"),
        ("columns: {pt: }", r"column 'jets\.pt': 1 values are missing .* rows 0, counted"),
    ],
)
def test_objects_that_do_not_go_together_are_refused(tmp_path: Path, settings: str, words: str) -> None:
    with pytest.raises(DataError, match=r"o\.parquet: " + words):
        jets(tmp_path, settings)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("columns: {n: }", r"column 'n' has one value an object: give it under 'objects', or use sum\(\.\.\.\)"),
        ("columns: {low: }\ncuts: n > 1", r"the cut 'n > 1' has one value an object, not one an event; take one"),
        ("columns: {low: }\nweight: n", r"the weight 'n' has one value an object"),
        ("columns: {low: }\nevent_id: n", r"the id 'n' has one value an object"),
    ],
)
def test_what_events_need_once_is_not_one_an_object(tmp_path: Path, line: str, words: str) -> None:
    jets(tmp_path, "columns: {n: }")
    with pytest.raises(DataError, match=words):
        convert(tmp_path, f"sources: [{{file: o.parquet}}]\n{line}", "other.h5")


# -- ids ---------------------------------------------------------------------------------------------------------------


def ids(folder: Path, keys: str, table: str) -> tuple[list[int], list[int]]:
    file = convert(folder, SOURCE + keys + "\ncolumns: {x: }", t=table)
    return file.event_ids().tolist(), file.group_ids().tolist()


def test_ids_keep_all_their_digits(tmp_path: Path) -> None:
    table = "x,id,run\n1,9007199254740993,7\n2,9007199254740992,7\n"
    assert ids(tmp_path, "event_id: id\ngroup_id: run", table) == ([2**53 + 1, 2**53], [7, 7])


def test_several_columns_and_texts_make_one_id_that_depends_on_each(tmp_path: Path) -> None:
    table = "x,run,event,who\n1,1,2,a\n1,2,1,a\n1,1,1,a\n1,2,2,b\n"
    event, group = ids(tmp_path, "event_id: [run, event]\ngroup_id: who", table)
    assert len(set(event)) == 4
    assert [group.index(one) for one in group] == [0, 0, 0, 3]
    for name in ("run", "event"):
        with pytest.raises(DataError, match="event ids are not unique: 2 repeat an earlier one"):
            ids(tmp_path, f"event_id: {name}", table)


@pytest.mark.parametrize(("cell", "table"), [("-1", "1,3\n2,-1\n"), ("1.5", "1,3\n2,1.5\n"), ("none", "1,3\n2,\n")])
def test_ids_that_are_no_whole_numbers_are_refused(tmp_path: Path, cell: str, table: str) -> None:
    with pytest.raises(DataError, match=r"id 'id': 1 values are .*(missing|not whole).*rows 1, ") as raised:
        ids(tmp_path, "event_id: id", "x,id\n" + table)
    assert "t.csv" in str(raised.value), cell


def test_a_missing_part_of_an_id_is_refused(tmp_path: Path) -> None:
    """All events without a group would be one group."""
    for group in ("who", "[run, who]"):
        with pytest.raises(DataError, match=r"id 'who': 2 values are missing; .* \(first in rows 1, 2, "):
            ids(tmp_path, f"event_id: id\ngroup_id: {group}", "x,id,run,who\n1,1,1,a\n1,2,1,\n1,3,1,\n")


def test_whole_numbers_are_the_same_id_in_every_type(tmp_path: Path) -> None:
    """One file may hold run numbers as integers, another, made by pandas around a gap, as floats."""
    for name, kind in (("a", pa.int64()), ("b", pa.float64()), ("c", pa.int32()), ("d", pa.float32())):
        table = {"run": pa.array([3, 3, 4]).cast(kind), "event": pa.array([1, 2, 1]).cast(kind), "x": [0.5, 1.5, 0.5]}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    config = "sources: [{file: '*.parquet'}]\ncolumns: {x: }\n"
    groups = convert(tmp_path, config + "group_id: [run, event]").group_ids().reshape(4, 3)
    assert (groups == groups[0]).all()
    assert len(set(groups[0].tolist())) == 3
    broken = convert(tmp_path, config + "group_id: [run, x]", "other.h5").group_ids()
    assert len(set(broken.tolist())) == 3  # fractions are hashed as they are


def test_hashed_ids_follow_the_contents_not_the_order(tmp_path: Path) -> None:
    """An event keeps its id when others come before it, or its zero changes sign, and loses it with its contents."""
    config = SOURCE + "columns: {x: {nullable: true}, k: {kind: categorical}}"
    rows = ["1,a", "0,b", ",b", "1,b"]

    def hashed(name: str, order: list[str]) -> dict[str, int]:
        file = convert(tmp_path, config, f"{name}.h5", t="x,k\n" + "\n".join(order) + "\n")
        return dict(zip(order, file.event_ids().tolist(), strict=True))

    first = hashed("a", rows)
    assert len(set(first.values())) == 4
    assert hashed("b", rows[::-1]) == first
    changed = hashed("c", ["1,z", "-0.0,b", "2,a", ",b"])  # another category before the others changes the codes
    assert (changed["-0.0,b"], changed[",b"]) == (first["0,b"], first[",b"])
    assert not {changed["1,z"], changed["2,a"]} & set(first.values())


def test_hashed_ids_know_the_order_and_the_number_of_objects(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [[1, 2], [2, 1], [1], [], [1, 2, 0], [1, 2]]}), tmp_path / "o.parquet")
    config = "sources: [{file: o.parquet}]\nobjects: {jets: {columns: {n: }}}"
    found = convert(tmp_path, config).event_ids().tolist()
    assert len(set(found)) == 6, "equal events are told apart"
    alone = convert(tmp_path, config + "\nchunk_rows: 1\n", "one.h5").event_ids().tolist()
    assert alone == found


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_of_a_pattern_come_sorted_and_once(tmp_path: Path) -> None:
    for name in ("r10", "r2", "r1"):
        pd.DataFrame({"x": [int(name[1:])]}).to_csv(tmp_path / f"{name}.csv", index=False)
    file = convert(tmp_path, "sources: [{file: ['r?.csv', r10.csv, 'r*.csv']}]\ncolumns: {x: }")
    assert file.column("x").tolist() == [1, 2, 10]
    with pytest.raises(DataError, match=r"no file matches 's\*\.csv' \(looked for below "):
        convert(tmp_path, "sources: [{file: 's*.csv'}]\ncolumns: {x: }")


def test_every_file_is_checked_for_its_columns_before_any_is_read(tmp_path: Path) -> None:
    config = "sources: [{file: a.csv, cuts: yy > 1}, {file: b.csv}]\ncolumns: {x: }"
    first = "c.yaml:1:25: no column 'yy' (character 1 of \"yy > 1\") in a.csv. Did you mean 'y'?"
    with pytest.raises(ConfigError, match=re.escape(first)) as raised:
        convert(tmp_path, config, a="x,y\nbad,2\n", b="xx\n1\n")
    assert "c.yaml:2:11: no column 'x' in b.csv. Did you mean 'xx'?" in str(raised.value)


def test_a_source_and_a_foreign_file_are_never_overwritten(tmp_path: Path) -> None:
    config = SOURCE + "columns: {x: }"
    with pytest.raises(DataError, match=r"t\.csv: is one of the sources; choose another output"):
        convert(tmp_path, config, "t.csv", t="x\n1\n")
    (tmp_path / "notes.h5").write_text("mine")
    with pytest.raises(DataError, match="The file is not overwritten: remove it or choose another output"):
        convert(tmp_path, config, "notes.h5", t="x\n1\n")
    assert (tmp_path / "notes.h5").read_text() == "mine"


def test_only_what_changes_the_contents_makes_a_file_anew(tmp_path: Path) -> None:
    config = SOURCE + "columns: {x: , y: }"
    assert report(tmp_path, config, t="x,y\n1,2\n").written
    for same in ("chunk_rows: 3\n" + config, config.replace("t.csv", "'t*.csv'"), "# a remark\n" + config):
        assert not report(tmp_path, same).written
    assert report(tmp_path, config.replace("x: , y: ", "y: , x: ")).written, "the order of columns is kept"
    assert report(tmp_path, config.replace("x: ", "x: {unit: m}")).written


def test_a_failed_conversion_leaves_the_old_file(tmp_path: Path) -> None:
    config = SOURCE + "columns: {x: }"
    before = convert(tmp_path, config, t="x\n1\n").fingerprint
    with pytest.raises(DataError, match="missing"):
        convert(tmp_path, config, t="x,y\n1,1\n,1\n")
    assert EventFile.open(tmp_path / "e.h5").fingerprint == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.yaml", "e.h5", "t.csv"]
