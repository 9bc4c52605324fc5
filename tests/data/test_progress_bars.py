"""Bars over events and over items: at once in a terminal, late in a log, and told of everything that is done."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tabstar_lit.data.progress import Progress, item_progress, no_item_progress, no_progress, progress_bar
from tabstar_lit.families.hep.events.conversion import convert_events
from tabstar_lit.families.hep.events.conversion_config import read_conversion


class Screen(io.StringIO):
    """A stream that says it is a terminal, or that it is none."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


def drawn(monkeypatch: pytest.MonkeyPatch, total: int | None, *, terminal: bool) -> str:
    screen = Screen(terminal=terminal)
    monkeypatch.setattr("sys.stderr", screen)
    with progress_bar("converting")(total) as advance:
        advance(30)
        advance(12)
    return screen.getvalue()


def test_a_terminal_sees_the_bar_at_once_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch, 42, terminal=True)
    assert "converting:   0%" in text
    assert "42/42" in text
    assert text.endswith("\n")


def test_an_unknown_number_of_events_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    text = drawn(monkeypatch, None, terminal=True)
    assert "42 events" in text
    assert "%" not in text


def test_a_log_stays_empty_when_it_is_done_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(monkeypatch, 42, terminal=False).strip() == ""


def test_the_bar_ends_with_what_it_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(terminal=True)
    monkeypatch.setattr("sys.stderr", screen)
    with pytest.raises(KeyboardInterrupt), progress_bar("x")(3):
        raise KeyboardInterrupt
    assert screen.getvalue().endswith("\n")


def test_no_progress_takes_every_number(capfd: pytest.CaptureFixture[str]) -> None:
    with no_progress(None) as advance:
        advance(3)
    assert capfd.readouterr() == ("", "")


def items_drawn(monkeypatch: pytest.MonkeyPatch, items: list[str], *, terminal: bool) -> str:
    screen = Screen(terminal=terminal)
    monkeypatch.setattr("sys.stderr", screen)
    assert list(item_progress("converting", "table", str.upper)(items)) == items
    return screen.getvalue()


def test_a_bar_over_items_names_the_one_in_work(monkeypatch: pytest.MonkeyPatch) -> None:
    text = items_drawn(monkeypatch, ["iris", "wine"], terminal=True)
    assert "converting:   0%" in text
    assert text.index("IRIS") < text.index("WINE")
    assert "2/2" in text


def test_neither_no_items_nor_a_moment_in_a_log_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert items_drawn(monkeypatch, [], terminal=True) == ""
    assert items_drawn(monkeypatch, ["iris"], terminal=False).strip() == ""
    assert list(no_item_progress(["iris"])) == ["iris"]


def recorder(seen: list[int | None]) -> Progress:
    @contextmanager
    def progress(total: int | None) -> Iterator[object]:
        seen.append(total)
        yield seen.append

    return progress


@pytest.mark.parametrize(("files", "total"), [("a.parquet, b.parquet", 7), ("a.parquet, c.csv", None)])
def test_a_conversion_tells_its_total_if_all_formats_do_and_every_chunk(
    tmp_path: Path, files: str, total: int | None
) -> None:
    """Events that cuts drop are done too, or the bar would never reach its end."""
    pq.write_table(pa.table({"x": [1, 2, 3, 4, 5]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"x": [6, 7]}), tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("x\n6\n7\n")
    (tmp_path / "c.yaml").write_text(f"sources: [{{file: [{files}]}}]\ncuts: x > 5\nchunk_rows: 2\ncolumns: {{x: }}")
    seen: list[int | None] = []
    report = convert_events(read_conversion(tmp_path / "c.yaml"), tmp_path / "e.h5", progress=recorder(seen))
    assert seen == [total, 2, 2, 1, 2]
    assert (report.n_read, report.file.n_events) == (7, 2)
