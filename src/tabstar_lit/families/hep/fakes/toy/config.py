"""What a toy of fakes is made of. Light: read by the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import ConfigError

TOY_VERSION = 1
"""Raise with every change of what is generated: files of another version are made again."""

WeightKind = Literal["lognormal", "normal", "cauchy", "uniform", "unity"]
Variables = Literal["pt", "pt_eta"]
WEIGHT_KINDS: tuple[str, ...] = get_args(WeightKind)
TOYS: tuple[str, ...] = get_args(Variables)
PARAMETERS: Mapping[str, tuple[float, ...]] = {
    "signal": (2.0, 10.0, 3.0, 0.01),
    "background": (1.2, 0.2, 0.005),
    "resonance": (500.0, 30.0),
    "qcd": (1.0, 5.0, 6.0, 0.0),
}
"""Default parameters of the shapes: ``a (x + b)^-c e^(-d x)``, ``a x^-b e^(-c x)``, mean and width in GeV, and
``a (1 - u)^b / u^(c + d log u)`` with ``u = x / 13 TeV``."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A falling spectrum or a peak in pt.

    Attributes
    ----------
    name : str
        One of :data:`PARAMETERS`.
    parameters : tuple of float
        Those of its formula.
    tail_boost : bool
        Twice as many events in the outer tenth of the range.
    """

    name: str
    parameters: tuple[float, ...]
    tail_boost: bool = False

    def __str__(self) -> str:
        """Return the text that :meth:`parse` reads."""
        return f"{self.name}:{','.join(f'{value:g}' for value in self.parameters)}{'+tail' if self.tail_boost else ''}"

    @classmethod
    def parse(cls, text: str) -> Shape:
        """Read ``NAME``, ``NAME:number,number,…``, and either with ``+tail`` at its end.

        Raises
        ------
        ConfigError
            No such shape, or not as many numbers as it has parameters.
        """
        text, boosted = text.removesuffix("+tail"), text.endswith("+tail")
        name, _, numbers = text.partition(":")
        if name not in PARAMETERS:
            raise ConfigError(f"no toy shape '{name}'.{suggestion(name, PARAMETERS)}")
        try:
            parameters = tuple(map(float, numbers.split(","))) if numbers else PARAMETERS[name]
        except ValueError as error:
            raise ConfigError(f"toy shape '{text}': '{numbers}' are no numbers separated by commas.") from error
        if len(parameters) != len(PARAMETERS[name]) or not all(map(math.isfinite, parameters)):
            raise ConfigError(f"toy shape '{text}': '{name}' takes {len(PARAMETERS[name])} finite parameters.")
        return cls(name, parameters, boosted)


@dataclass(frozen=True, slots=True)
class FakesToy:
    """A toy of fakes: real leptons that simulation describes, over fakes that it does not.

    Attributes
    ----------
    variables : str
        ``pt``: the shapes below from 20 to 1000 GeV. ``pt_eta``: from 20 to 300 GeV, fakes in which pt and abs(eta)
        are correlated, otherwise among loose than among tight ones; of the shapes only ``prompt`` is read.
    n_events : int
        In all four classes together.
    seed : int
        Equal toys have equal events.
    prompt, tight, loose : str
        Shapes of real leptons, of tight fakes and of loose fakes; see :meth:`Shape.parse`. Empty: a default.
    mc_weights, data_weights : str
        How weights scatter.
    poisson : bool
        Events of each class, and so sums of weights, vary from seed to seed as in independent experiments; otherwise
        they are the expected ones.
    """

    variables: Variables = "pt"
    n_events: int = 200_000
    seed: int = 0
    prompt: str = ""
    tight: str = ""
    loose: str = ""
    mc_weights: WeightKind = "lognormal"
    data_weights: WeightKind = "unity"
    poisson: bool = False

    def __post_init__(self) -> None:
        """Refuse what cannot be generated.

        Raises
        ------
        ConfigError
            Fewer than 100 events, or an unknown kind of weights, variables or shape.
        """
        if self.n_events < 100:
            raise ConfigError(f"{self.n_events} toy events are too few: ask for at least 100.")
        _known(self.variables, TOYS, "toy")
        for kind in (self.mc_weights, self.data_weights):
            _known(kind, WEIGHT_KINDS, "kind of weights")
        for text in filter(None, (self.prompt, self.tight, self.loose)):
            Shape.parse(text)

    def to_plain(self) -> dict[str, Any]:
        """Return what the event file keeps."""
        plain = asdict(self) if self.poisson else {name: own for name, own in asdict(self).items() if name != "poisson"}
        return {"file": "fakes-toy", "version": TOY_VERSION, **plain}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> FakesToy:
        """Return the toy that an event file kept."""
        return cls(**{field.name: plain[field.name] for field in fields(cls) if field.name in plain})


def _known(name: str, names: tuple[str, ...], what: str) -> None:
    if name not in names:
        raise ConfigError(f"no {what} '{name}'. There are: {', '.join(names)}.")
