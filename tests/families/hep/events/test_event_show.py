"""The tables and histograms of an event file, recomputed by NumPy and pandas from what was written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from by_hand import convert
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tabstar_lit.data.progress import Progress
from tabstar_lit.families.hep.events import show
from tabstar_lit.families.hep.events.file import (
    ColumnInfo,
    EventChunk,
    EventFile,
    EventSchema,
    EventWriter,
    ObjectChunk,
)
from tabstar_lit.families.hep.events.show import MAX_CATEGORIES, N_BINS, _edges, _shares, describe, draw

TABLE = "x,k,w,n\n" + "".join(f"{x},{k},{w},{n}\n" for x, k, w, n in zip(
    ["", 2, 4, 12], ["a", "b", "b", ""], [1, -0.5, 2, 1], [0, 1, 1, 0], strict=True
))  # fmt: skip
CONFIG = """
sources: [{file: t.csv, label: {low: n == 0, high: n == 1}}]
weight: w
columns:
  "x/y": {from: x, nullable: true, unit: GeV}
  k: {kind: categorical, nullable: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> EventFile:
    return convert(tmp_path, CONFIG, t=TABLE)


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of each line by its first; those of a class below a column by both."""
    found, column = {}, ""
    for line in filter(None, text.splitlines()):
        first, *cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
        column = column if line.startswith("  ") else first
        found[f"{column}: {first}" if line.startswith("  ") else first] = cells
    return found


def test_classes_are_counted_and_weighed(file: EventFile) -> None:
    found = rows(describe(file))
    assert found["class"] == ["events", "sum of weights", "effective count", "negative share"]
    assert found["low"] == ["2", "2", "2", "0.00%"]
    assert found["high"] == ["2", "1.5", f"{1.5**2 / (0.25 + 4):.6g}", "50.00%"]
    assert found["all"] == ["4", "3.5", f"{3.5**2 / 6.25:.6g}", "25.00%"]


def test_columns_show_range_weighted_mean_and_what_is_missing_of_all_events_and_each_class(file: EventFile) -> None:
    found = rows(describe(file))
    assert found["column"] == ["kind", "unit", "min", "weighted mean", "max", "missing"]
    assert found["x/y"] == ["numerical", "GeV", "2", f"{(-0.5 * 2 + 2 * 4 + 12) / 2.5:.5g}", "12", "25.00%"]
    assert found["x/y: low"] == ["12", "12", "12", "50.00%"]
    assert found["x/y: high"] == ["2", f"{(-0.5 * 2 + 2 * 4) / 1.5:.5g}", "4", "0.00%"]


def test_columns_show_the_category_of_most_weight_of_all_events_and_each_class(file: EventFile) -> None:
    found = rows(describe(file))
    assert found["k"] == ["2 categories", f"b ({1.5 / 3.5:.0%})", "25.00%"]
    assert found["k: low"] == ["a (50%)", "50.00%"]
    assert found["k: high"] == ["b (100%)", "0.00%"]


def test_objects_have_the_weight_and_the_class_of_their_event(tmp_path: Path) -> None:
    pt, counts = np.array([1.0, 3.0, 5.0, 7.0]), np.array([2, 0, 1, 1])
    schema = EventSchema(("b", "s"), {}, {"jets": {"pt": ColumnInfo("pt")}}, has_weights=True)
    ids = np.arange(4, dtype=np.uint64)
    chunk = EventChunk(
        {}, np.array([0, 0, 1, 1]), np.array([2.0, 1, -1, 4]), ids, {"jets": ObjectChunk(counts, {"pt": pt})}
    )
    with EventWriter(tmp_path / "jets.h5", schema) as writer:
        writer.append(chunk)
    found = rows(describe(EventFile.open(tmp_path / "jets.h5")))
    assert found["pt"] == ["numerical", "1", f"{(2 * 1 + 2 * 3 - 5 + 4 * 7) / 7:.5g}", "7", "0.00%"]
    assert found["pt: b"] == ["1", "2", "3", "0.00%"]
    assert found["pt: s"] == ["5", f"{(-5 + 28) / 3:.5g}", "7", "0.00%"]


def test_a_class_without_weight_has_no_mean_and_zero_has_no_sign(tmp_path: Path) -> None:
    config = "sources: [{file: t.csv, label: {low: n == 0, high: n == 1}}]\nweight: w\n"
    config += "columns: {x: {}, k: {kind: categorical}}"
    file = convert(tmp_path, config, t="x,k,w,n\n-0.0,a,1,0\n-0.0,b,1,0\n3,a,-0.0,1\n")
    found = rows(describe(file))
    assert (found["x: low"], found["x: high"]) == (["0", "0", "0", "0.00%"], ["3", "3", "0.00%"])
    assert (found["high"][1], found["k: high"]) == ("0", ["0.00%"])


def test_one_class_has_no_lines_of_its_own(tmp_path: Path) -> None:
    file = convert(tmp_path, "sources: [{file: t.csv, label: only}]\ncolumns: {x: {}}", t="x\n1\n2\n")
    found = rows(describe(file))
    assert found["column"][3] == "mean"
    assert [name for name in found if name.startswith("x")] == ["x"]


def test_columns_of_a_table_stand_under_each_other(file: EventFile) -> None:
    lines = describe(file).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("class"))
    head, *body = lines[start : start + 4]
    for name in ("events", "sum of weights", "effective count", "negative share"):
        end = head.index(name) + len(name)
        assert all(line[end - 1] != " " and line[end : end + 1] in ("", " ") for line in body), name


def test_a_file_without_labels_weights_or_known_values_is_shown_too(tmp_path: Path) -> None:
    config = "sources: [{file: t.csv}]\ncolumns: {x: {nullable: true}, k: {kind: categorical, nullable: true}}"
    file = convert(tmp_path, config, t="x,k,y\n,,1\n,,2\n")
    text = describe(file)
    found = rows(text)
    assert "2 events, without weights" in text.splitlines()[0]
    assert found["all"] == ["2", "2", "2", "0.00%"]
    assert (found["x"], found["k"]) == (["numerical", "100.00%"], ["0 categories", "100.00%"])
    assert all(path.stat().st_size > 0 for path in draw(file, tmp_path / "figures"))


def test_figures_have_names_that_every_system_allows(file: EventFile, tmp_path: Path) -> None:
    written = draw(file, tmp_path / "new" / "figures")
    assert [path.name for path in written] == ["x_y.png", "k.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written)


def test_columns_whose_names_differ_in_case_or_in_odd_characters_have_figures_of_their_own(tmp_path: Path) -> None:
    config = "sources: [{file: t.csv}]\ncolumns: {a/b: x, a b: x, a_b: x, A_b: x, a_b_2: x}"
    written = draw(convert(tmp_path, config, t="x\n1\n2\n"), tmp_path / "figures")
    assert [path.name for path in written] == ["a_b.png", "a_b_2.png", "a_b_3.png", "A_b_4.png", "a_b_2_2.png"]
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {path.name for path in written}


@pytest.mark.parametrize(
    ("work", "what"), [(describe, "reading"), (lambda file: draw(file, file.path.parent), "drawing")]
)
def test_a_bar_goes_over_all_events(
    file: EventFile, monkeypatch: pytest.MonkeyPatch, work: Callable[[EventFile], object], what: str
) -> None:
    bars: list[tuple[str, int | None, list[int]]] = []

    def recorded(what: str) -> Progress:
        @contextmanager
        def bar(n_events: int | None) -> Iterator[Callable[[int], object]]:
            steps: list[int] = []
            bars.append((what, n_events, steps))
            yield steps.append

        return bar

    monkeypatch.setattr(show, "progress_bar", recorded)
    work(file)
    assert [(name, n, sum(steps), len(steps)) for name, n, steps in bars] == [(what, 4, 4, 2)]


@settings(max_examples=40)
@given(
    hnp.arrays(np.float32, st.integers(1, 60), elements=st.integers(-6, 6).map(float)),
    st.lists(st.sampled_from([-2.0, -0.5, 0.25, 1.0]), min_size=60, max_size=60),
)
def test_bins_of_whole_numbers_are_centred_on_them(values: np.ndarray, weights: list[float]) -> None:
    """Also where a quantile lies between two numbers; each bin then is the sum that NumPy gets by hand."""
    edges = _edges(ColumnInfo("n"), values)
    centres = edges[:-1] + 0.5
    np.testing.assert_array_equal(centres, np.round(centres))
    w = np.array(weights)[: len(values)]
    shares, band, _ = _shares(values, w, edges)
    total = abs(w.sum()) or 1.0
    np.testing.assert_allclose(shares * total, [w[values == c].sum() for c in centres], atol=1e-6)
    np.testing.assert_allclose(band * total, [np.sqrt((w[values == c] ** 2).sum()) for c in centres], atol=1e-6)


def test_bins_of_other_numbers_are_as_many_and_leave_out_the_extremes() -> None:
    values = np.append(np.random.default_rng(0).normal(size=5000), [1e6, -1e6]).astype(np.float32)
    edges = _edges(ColumnInfo("x"), values)
    np.testing.assert_allclose(np.diff(edges), (edges[-1] - edges[0]) / N_BINS)
    np.testing.assert_allclose(edges[[0, -1]], np.quantile(values.astype(float), [0.005, 0.995]))
    wide = _edges(ColumnInfo("n"), np.arange(1000, dtype=np.float32))
    assert len(wide) == N_BINS + 1, "a wide range of whole numbers has no bin for each"


@pytest.mark.parametrize("value", [0.3, -7.0, 0.0])
def test_a_constant_has_a_bin_around_it(value: float) -> None:
    edges = _edges(ColumnInfo("x"), np.full(5, value, np.float32))
    shares, *_ = _shares(np.full(5, value, np.float32), np.ones(5), edges)
    assert np.all(np.diff(edges) > 0)
    assert shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("n", [1, MAX_CATEGORIES, MAX_CATEGORIES + 30])
def test_many_categories_are_drawn_up_to_a_number(n: int) -> None:
    info = ColumnInfo("k", "categorical", categories=tuple(map(str, range(n))))
    edges = _edges(info, np.arange(n))
    assert (edges[0], edges[-1]) == (-0.5, min(n, MAX_CATEGORIES) - 0.5)


def test_the_share_of_negative_weights_keeps_its_sign() -> None:
    shares, band, _ = _shares(np.array([0.5, 1.5]), np.array([-3.0, 1.0]), np.array([0.0, 1.0, 2.0]))
    assert shares.tolist() == [-1.5, 0.5]
    assert band.tolist() == [1.5, 0.5]
