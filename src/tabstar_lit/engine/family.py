"""What a family of models hands to the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from tabstar_lit.config import Experiment, Problem

if TYPE_CHECKING:
    from tabstar_lit.engine.data import DataModule
    from tabstar_lit.engine.module import TrainingModule
    from tabstar_lit.engine.tracker import Tracker

E = TypeVar("E", bound=Experiment)


class Family(ABC, Generic[E]):
    """One family: its schema, and the four parts it builds from an experiment of that schema.

    Importing a family must stay light (no torch): the heavy imports happen inside the methods, so that ``--help`` and a
    misspelt key answer at once.

    Attributes
    ----------
    name : str
        Folder of the family below ``families/``, ``model_config/`` and ``dataset_config/``.
    command : str
        The console command that trains it.
    summary : str
        What the command does when it is typed without arguments, in a sentence or two.
    schema : type of Experiment
        The pydantic model a composed configuration is checked against.
    """

    name: ClassVar[str]
    command: ClassVar[str]
    summary: ClassVar[str]
    schema: ClassVar[type[Experiment]]

    @abstractmethod
    def check(self, experiment: E) -> Sequence[Problem]:
        """Return what the schema alone cannot see: names to look up, values that contradict each other."""

    @abstractmethod
    def data(self, experiment: E, seed: int, scratch: Path | None = None) -> DataModule:
        """Open the data and return the module that serves batches.

        Embedded data of the defaults are made first where they are missing; in the folder ``scratch`` if one is given,
        so that ``--check`` leaves nothing behind. ``seed`` is the run's.
        """

    @abstractmethod
    def module(self, experiment: E, data: DataModule) -> TrainingModule:
        """Build the network with its loss; ``data`` gives sizes and vocabularies."""

    @abstractmethod
    def tracker(self, experiment: E, data: DataModule, figures: Path) -> Tracker:
        """Return the callback that computes metrics and draws figures into ``figures``."""

    @abstractmethod
    def models(self) -> Mapping[str, str]:
        """Return the models of the family and a line about each."""

    @abstractmethod
    def losses(self) -> Mapping[str, str]:
        """Return the losses of the family and a line about each."""


AnyFamily = Family[Any]
