"""What a family of models hands to the engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    from tabstar_lit.config import Problem
    from tabstar_lit.config.schema import Experiment
    from tabstar_lit.engine.data import DataModule
    from tabstar_lit.engine.module import TrainingModule
    from tabstar_lit.engine.tracker import Tracker

E = TypeVar("E", bound="Experiment")
D = TypeVar("D", bound="DataModule")


class Family(ABC, Generic[E, D]):
    """One family: its schema, and the four parts it builds from an experiment of that schema.

    Importing a family must stay light: even the schema is imported inside a method, so that ``--help`` answers at once.

    Attributes
    ----------
    name : str
        Folder of the family below ``families/``, ``model_config/`` and ``dataset_config/``.
    command : str
        The console command that trains it.
    summary : str
        What the command does when it is typed without arguments, in a sentence or two.
    """

    name: ClassVar[str]
    command: ClassVar[str]
    summary: ClassVar[str]

    @abstractmethod
    def schema(self) -> type[E]:
        """Return the pydantic model that a composed configuration is checked against."""

    @abstractmethod
    def check(self, experiment: E) -> Sequence[Problem]:
        """Return what the schema alone cannot see: names to look up, values that contradict each other."""

    @abstractmethod
    def data(self, experiment: E, seed: int, scratch: Path | None = None) -> D:
        """Open the data and return the module that serves batches.

        Embedded data of the defaults are made first where they are missing; in the folder ``scratch`` if one is given,
        so that ``--check`` leaves nothing behind. ``seed`` is the run's.
        """

    @abstractmethod
    def module(self, experiment: E, data: D) -> TrainingModule:
        """Build the network with its loss; ``data`` gives sizes and vocabularies."""

    @abstractmethod
    def tracker(self, experiment: E, data: D, figures: Path) -> Tracker:
        """Return the callback that computes metrics and draws figures into ``figures``."""

    @abstractmethod
    def models(self) -> Mapping[str, str]:
        """Return the models of the family and a line about each."""

    @abstractmethod
    def losses(self) -> Mapping[str, str]:
        """Return the losses of the family and a line about each."""


AnyFamily = Family[Any, Any]
