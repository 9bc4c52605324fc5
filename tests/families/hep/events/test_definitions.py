"""Definitions: an expression by name means the same as the expression written out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from by_hand import convert, lists

from tabstar_lit.errors import TabstarLitError
from tabstar_lit.families.hep.events.expressions import Expression

SOURCE = "sources: [{file: t.csv}]\n"


def test_a_definition_is_what_it_says_also_through_others(tmp_path: Path) -> None:
    define = "define: {double: 2 * x, more: double + y}\ncuts: [double > 1]\n"
    file = convert(tmp_path, SOURCE + define + "columns: {a: more / double, x:}", t="x,y\n0,5\n1,4\n2,8\n")
    np.testing.assert_array_equal(file.column("a"), [3, 3])
    np.testing.assert_array_equal(file.column("x"), [1, 2])


def test_missing_codes_reach_into_definitions(tmp_path: Path) -> None:
    """A code is one of the source's values, not of what is computed from them."""
    config = SOURCE + "define: {half: x / 2}\ncolumns: {a: {from: half + 1, missing_code: -999}, b: half}"
    file = convert(tmp_path, config, t="x\n4\n-999\n-1998\n")
    np.testing.assert_array_equal(file.column("a"), [3, np.nan, -998])
    np.testing.assert_array_equal(file.column("b"), [2, -499.5, -999])


def test_definitions_compare_texts(tmp_path: Path) -> None:
    """Whether a column is read as text is known from the definition: codes of digits keep their zeros."""
    config = SOURCE + "define: {k: kind, is_a: kind == '01'}\ncolumns: {a: is_a * 1, b: (k == '1') * 1}"
    file = convert(tmp_path, config, t="kind\n01\n1\n")
    assert (file.column("a").tolist(), file.column("b").tolist()) == ([1, 0], [0, 1])


def test_definitions_in_objects_see_the_selected_ones_only(tmp_path: Path) -> None:
    table = {"pt": [[5.0, 1.0, 3.0], [], [2.0]], "axis": [1.0, 2.0, 3.0]}
    pq.write_table(pa.table(table), tmp_path / "t.parquet")
    config = (
        "sources: [{file: t.parquet}]\ndefine: {share: pt / sum(pt), near: pt - axis}\n"
        "columns: {n_near: count(near > 1)}\n"
        "objects: {jets: {select: near >= 0, order_by: pt, max_length: 2, columns: {share: share, near: near}}}"
    )
    file = convert(tmp_path, config)
    assert file.column("n_near").tolist() == [2, 0, 0]
    assert lists(file, "jets", "near") == [[4, 2], [], []]
    assert lists(file, "jets", "share") == [[0.625, 0.375], [], []]


def test_a_definition_is_computed_once_however_often_it_is_named() -> None:
    """Thirty definitions that name the one before twice: 2^30 additions, were they written out."""
    definitions: dict[str, Expression] = {}
    for level in range(30):
        before = f"d{level - 1}" if level else "x"
        definitions[f"d{level}"] = Expression(f"{before} + {before}", definitions.copy())
    last = Expression("d29", definitions)
    assert [name.name for name in last.names] == ["x"]
    np.testing.assert_array_equal(last({"x": np.array([1.0, 3.0])}, 2), [2.0**30, 3 * 2.0**30])


@pytest.mark.parametrize(
    ("define", "words"),
    [
        ("{a: b + x, b: x}", "c.yaml:2:10: 'b' is not defined above this line; move its definition up"),
        ("{a: a + x}", "'a' is not defined above this line"),
        ("{a: x +}", "c.yaml:2:10: 'x +' is no expression"),
        ("{a: z}", "c.yaml:2:10: no column 'z' in t.csv"),
        ("{x: x + 1}", "'x' is not defined above this line"),
        ("{missing: x, a: y}", "c.yaml:2:10: 'missing' is the word for no value; choose another name"),
        ("{x: y}", "c.yaml:2:10: 'x' is a column of t.csv already; choose another name"),
        ("{aa: x}", "no column 'a' in t.csv. Did you mean 'aa'?"),
    ],
)
def test_mistakes_of_definitions_are_named_where_they_stand(tmp_path: Path, define: str, words: str) -> None:
    with pytest.raises(TabstarLitError, match=re.escape(words)):
        convert(tmp_path, f"{SOURCE}define: {define}\ncolumns: {{c: a}}", t="x,y\n1,2\n")
