from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from tabstar_lit.errors import ConfigError
from tabstar_lit.plots.style import PALETTE, PlotStyle, in_style, new_figure, save_figure, style_of

# Machado, Oliveira and Fernandes (2009), doi:10.1109/TVCG.2009.113: what full deficiencies make of linear RGB.
DEFICIENCIES = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def test_a_figure_is_written_whole_and_emptied(tmp_path: Path) -> None:
    figure, (left, right) = new_figure(1, 2, width=6, height=3)
    left.plot([0, 1], [1, 0])
    right.imshow([[0, 1], [1, 0]])
    path = save_figure(figure, tmp_path / "deep" / "figure.png")
    assert imread(path).shape == (360, 720, 4)
    assert figure.axes == []
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]


def test_small_print_lies_below_the_axes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure, (axes,) = new_figure()
    axes.set_xlabel("epoch")
    places = []
    monkeypatch.setattr(Figure, "clear", lambda own: places.append([own._supxlabel, axes.xaxis.label]))
    save_figure(figure, tmp_path / "figure.png", note="run, validation, epoch 3, 20 rows")
    ((note, label),) = places
    assert note.get_text() == "run, validation, epoch 3, 20 rows"
    assert note.get_window_extent().y1 <= label.get_window_extent().y0
    assert note.get_window_extent().x1 <= figure.bbox.width


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "figure.png"
    path.write_text("old")
    figure, _ = new_figure()

    def full(self: Figure, target: Path, **_: object) -> None:
        Path(target).write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match="No space left"):
        save_figure(figure, path)
    assert [p.name for p in tmp_path.iterdir()] == ["figure.png"]
    assert path.read_text() == "old"
    assert figure.axes == []


def test_the_style_is_applied_and_nothing_global_changes() -> None:
    before = dict(mpl.rcParams)
    _, [axes] = new_figure()
    lines = [axes.plot([0, 1])[0] for _ in range(3)]
    assert [line.get_color() for line in lines] == list(PALETTE[:3])
    assert not axes.spines["top"].get_visible()
    assert dict(mpl.rcParams) == before


def test_a_figure_is_written_in_every_format_that_is_asked_for(tmp_path: Path) -> None:
    save_figure(new_figure()[0], tmp_path / "roc.v2.png", also=[".pdf"])
    assert {path.name: path.read_bytes()[:4] for path in tmp_path.iterdir()} == {
        "roc.v2.png": b"\x89PNG",
        "roc.v2.pdf": b"%PDF",
    }


@pytest.mark.parametrize("name", ["atlas", "cms"])
@pytest.mark.filterwarnings("error:Glyph")
def test_a_collaborations_style_holds_inside_its_block_alone(name: PlotStyle, tmp_path: Path) -> None:
    with in_style(style_of(name)):
        figure, (axes,) = new_figure()
        axes.set(xlabel="χ² / bin, R² → σ", ylabel="−1 ≤ Δφ")
        assert axes.spines["top"].get_visible()
        assert len(axes.xaxis.get_minorticklocs())
        assert not any(line.get_visible() for line in axes.get_xgridlines())
        assert axes.xaxis.label.get_horizontalalignment() == "right"
        assert [axes.plot([0, 1])[0].get_color() for _ in range(2)] == list(PALETTE[:2])
        save_figure(figure, tmp_path / "figure.png")
    assert not new_figure()[1][0].spines["top"].get_visible()


def test_a_style_without_its_package_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mplhep", None)
    with pytest.raises(ConfigError, match=r"plot_style: atlas needs mplhep: pip install 'tabstar_lit\[styles\]'"):
        style_of("atlas")
    assert style_of("default")["axes.spines.top"] is False


def test_pyplot_is_never_imported() -> None:
    code = "import sys, tabstar_lit.plots.style as s; s.new_figure(); sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_neighbouring_colours_differ_for_everyone(deficiency: str) -> None:
    colours = np.array([to_rgb(colour) for colour in PALETTE])
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(DEFICIENCIES[deficiency]).T, 0, 1) ** (1 / 2.2)
    distances = np.linalg.norm(seen[:, None] - seen[None], axis=-1)
    assert distances[np.triu_indices(len(PALETTE), 1)].min() > 0.12
