"""Figures and texts of a run: written below one folder, handed to the loggers, and never the end of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from tabstar_lit.data.outputs import whole_file
from tabstar_lit.plots.style import save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Made = Iterable[tuple[str, Figure | str]]

MARKDOWN = ".md"


class Gallery:
    """Write and upload what a tracker makes. What cannot be made is told once for each reason, and stops nothing.

    Parameters
    ----------
    folder : Path
        Where everything goes; a name with slashes goes into sub-folders.
    owner : str
        Who makes it, for the message.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self.folder = folder
        self.owner = owner
        self._broken: set[str] = set()

    def hang(
        self, make: Callable[[], Made], loggers: Sequence[Logger], when: str | None = None, *, shown: str = ""
    ) -> None:
        """Write and upload what ``make`` yields until it is exhausted or breaks.

        Parameters
        ----------
        make : callable
            Yields names with figures, written as PNG, or texts, written as ``.txt``, or ``.md`` where the name says so.
        loggers : sequence of Logger
            Those that can have figures are given them.
        when : str or None
            File name below the folder of the name, one for each time; None replaces what is there.
        shown : str
            Which rows the figures show; stands below them, after the run's name.
        """
        run = "/".join(self.folder.parts[-2:])
        note = f"{run}: {shown}" if shown else run
        try:
            for name, made in make():
                self._upload(self._write(name, made, when, note), loggers)
        except Exception as error:  # whatever a plot does wrong, the training goes on
            self._complain(error)

    def _write(self, name: str, made: Figure | str, when: str | None, note: str) -> Path:
        place = name.removesuffix(MARKDOWN) if isinstance(made, str) else name
        suffix = ".png" if not isinstance(made, str) else ".txt" if place == name else MARKDOWN
        path = self.folder / (f"{place}{suffix}" if when is None else f"{place}/{when}{suffix}")
        if isinstance(made, str):
            with whole_file(path) as part:
                part.write_text(made, encoding="utf-8")
        else:
            save_figure(made, path, note=note)
        return path

    def _upload(self, path: Path, loggers: Sequence[Logger]) -> None:
        name = path.relative_to(self.folder).as_posix()
        for logger in loggers:
            if path.suffix == ".png" and hasattr(logger, "log_figure"):
                logger.log_figure(path, name)
            elif path.suffix != ".png" and hasattr(logger, "log_file"):
                logger.log_file(path, f"figures/{name}")

    def _complain(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        if reason not in self._broken:
            self._broken.add(reason)
            rank_zero_warn(f"{self.owner} could not draw a figure or a sample; training goes on. {reason}")
