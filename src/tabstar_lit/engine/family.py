"""What a family of models hands to the engine and to the commands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from tabstar_lit.engine.reports.card_text import CardText
from tabstar_lit.errors import CheckpointError

if TYPE_CHECKING:
    import click

    from tabstar_lit.config import Problem
    from tabstar_lit.config.schema import Experiment
    from tabstar_lit.engine.data import DataModule
    from tabstar_lit.engine.module import TrainingModule
    from tabstar_lit.engine.tracker import Tracker
    from tabstar_lit.engine.trained import Trained

E = TypeVar("E", bound="Experiment")
D = TypeVar("D", bound="DataModule")

Viewer = Callable[[Path, Path | None], None]
"""Prints what is in a file; draws histograms into a folder where one is given."""


class Family(ABC, Generic[E, D]):
    """One family: its schema, the parts it builds from an experiment of that schema, and the commands it adds.

    Everything the rest of the program knows of a family hangs on its one object. Importing it must stay light: even the
    schema is imported inside a method, and what an added command needs inside that command, so that ``--help`` answers
    at once.

    Attributes
    ----------
    name : str
        Folder of the family below ``model_config/`` and ``dataset_config/``, and what its checkpoints say they are of.
    command : str
        The console command that trains it: an identifier, such as ``train_waves``.
    summary : str
        What the command does when it is typed without arguments, in a sentence or two.
    """

    name: ClassVar[str]
    command: ClassVar[str]
    summary: ClassVar[str]

    # -- what every family has ----------------------------------------------------------------------------------------

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
        """Build the network with its loss; ``data`` gives sizes and vocabularies.

        What the module keeps in its checkpoints has the family's name under ``"family"``.
        """

    @abstractmethod
    def tracker(self, experiment: E, data: D, figures: Path) -> Tracker:
        """Return the callback that computes metrics and draws figures into ``figures``."""

    @abstractmethod
    def models(self) -> Mapping[str, str]:
        """Return the models of the family and a line about each."""

    @abstractmethod
    def losses(self) -> Mapping[str, str]:
        """Return the losses of the family and a line about each."""

    # -- what it may offer beside training ----------------------------------------------------------------------------

    def configurations(self) -> Path | None:
        """Return the folder of the family's own YAML files, where they do not come with this program."""
        return None

    def converters(self) -> Sequence[click.Command]:
        """Return subcommands of ``tabstar_lit convert``, which make the files the family trains on."""
        return ()

    def conversions(self) -> Mapping[str, Any]:
        """Return what the configuration file of a converter says: a section, or a list of one, by the converter's name.

        Editors complete and check such files by it.
        """
        return {}

    def viewers(self) -> Mapping[str, Viewer]:
        """Return what ``tabstar_lit data show`` does, by the kind that an HDF5 file says it is of."""
        return {}

    def verbs(self) -> Mapping[str, click.Command]:
        """Return what ``tabstar_lit`` does with a checkpoint of the family, by verb: ``predict``, ``export`` and so on.

        The first argument of each is the checkpoint, see :func:`tabstar_lit.engine.options.checkpoint_argument`. Other
        families may have the same verb with options of their own.
        """
        return {}

    def usage(self, checkpoint: str) -> str:
        """Return the command that predicts new data with a checkpoint; nothing where the family has no such verb."""
        verb = self.verbs().get("predict")
        if verb is None:
            return ""
        words = [word for parameter in verb.params if parameter.name != "checkpoint" for word in _words(parameter)]
        return " ".join(["tabstar_lit predict", checkpoint, *words])

    def groups(self) -> Sequence[click.Command]:
        """Return commands of ``tabstar_lit`` that only this family has."""
        return ()

    def card(self, config: Mapping[str, Any]) -> CardText:
        """Return what the card of a model says of it; ``config`` is what its checkpoint keeps beside the weights."""
        return CardText(self.summary)

    def restore(self, checkpoint: Path) -> Trained:
        """Return a trained model out of a checkpoint alone, ready to predict.

        Raises
        ------
        CheckpointError
            It is no checkpoint of the family, or of a release that kept less in it; or the family restores none.
        """
        raise CheckpointError(f"{checkpoint} is of the family {self.name}, which restores no models for prediction.")


def _words(parameter: click.Parameter) -> Sequence[str]:
    """Return how an argument, or an option that must be given, stands in a command."""
    name = (parameter.name or "").upper()
    if parameter.param_type_name == "argument":
        return (name,)
    value = "predictions.parquet" if name == "OUTPUT" else name
    return (parameter.opts[0], value) if parameter.required else ()


AnyFamily = Family[Any, Any]
