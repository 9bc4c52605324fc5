"""Figures and texts of a run: written below one folder, handed to the loggers, and never the end of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from tabstar_lit.data.outputs import whole_file
from tabstar_lit.plots.style import STYLE, in_style, save_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    Made = Iterable[tuple[str, Figure | str]]

MARKDOWN = ".md"


@dataclass(frozen=True)
class Look:
    """How the figures of a stage look, and what their small print says of all of them.

    Attributes
    ----------
    run, data : str
        ``<experiment>/<run>``, with the stage where there are several, and the name of the data.
    formats : sequence of str
        ``png``, ``pdf``, or both.
    settings : Mapping
        Of matplotlib, see :func:`~tabstar_lit.plots.style.style_of`.
    """

    run: str
    data: str = ""
    formats: Sequence[str] = ("png",)
    settings: Mapping[Any, Any] = field(default_factory=lambda: STYLE)

    def note(self, shown: str) -> str:
        """Return the small print below a figure of the rows that are ``shown``."""
        return ", ".join(part for part in (self.run, self.data and f"data {self.data}", shown) if part)


class Gallery:
    """Write and upload what a tracker makes. What cannot be made is told once for each reason, and stops nothing.

    Parameters
    ----------
    folder : Path
        Where everything goes; a name with slashes goes into sub-folders.
    owner : str
        Who makes it, for the message.

    Attributes
    ----------
    look : Look
        The engine puts that of the run here.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        self.folder = folder
        self.owner = owner
        self.look = Look(run="/".join(folder.parts[-2:]))
        self._broken: set[str] = set()
        self._hung: dict[str, None] = {}
        self._summaries: dict[str, None] = {}

    @property
    def figures(self) -> list[str]:
        """Names of the figures there are, those over all epochs first, in the order they were made."""
        return list({**self._summaries, **self._hung})

    def hang(
        self, make: Callable[[], Made], loggers: Sequence[Logger], when: str | None = None, *, shown: str = ""
    ) -> None:
        """Write and upload what ``make`` yields until it is exhausted or breaks.

        Parameters
        ----------
        make : callable
            Yields names with figures, or texts, written as ``.txt``, or ``.md`` where the name says so.
        loggers : sequence of Logger
            Those that can have figures are given them.
        when : str or None
            File name below the folder of the name, one for each time; None replaces what is there.
        shown : str
            Which rows the figures show; stands below them, after names of run and data.
        """
        try:
            with in_style(self.look.settings):
                for name, made in make():
                    for path in self._write(name, made, when, self.look.note(shown)):
                        self._upload(path, loggers)
        except Exception as error:  # whatever a plot does wrong, the training goes on
            self._complain(error)

    def _write(self, name: str, made: Figure | str, when: str | None, note: str) -> list[Path]:
        text = isinstance(made, str)
        place = name.removesuffix(MARKDOWN) if text else name
        suffixes = [f".{kind}" for kind in self.look.formats] if not text else [".txt" if place == name else MARKDOWN]
        stem = self.folder / (place if when is None else f"{place}/{when}")
        paths = [stem.with_name(stem.name + suffix) for suffix in suffixes]
        if isinstance(made, str):
            with whole_file(paths[0]) as part:
                part.write_text(made, encoding="utf-8")
        else:
            save_figure(made, paths[0], note=note, also=suffixes[1:])
            (self._summaries if when is None else self._hung)[name] = None
        return paths

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
