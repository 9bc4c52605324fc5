"""The true fake factor of a toy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tabstar_lit.arrays import Float64
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.toy.config import TOY_VERSION, FakesToy, Shape
from tabstar_lit.families.hep.fakes.toy.densities import (
    CorrelatedDensity,
    Density,
    MixedDensity,
    ProductDensity,
    ShapeDensity,
)

CLASSES = ("tight_data", "loose_data", "tight_mc", "loose_mc")
COMPOSITION = {"tight_data": 0.25, "loose_data": 0.35, "tight_mc": 0.2, "loose_mc": 0.2}
"""Share of each class in the events."""
PROMPT_SHARE = {"tight": 0.3, "loose": 0.1}
"""Share of real leptons in the data of a region, which its simulation is normalised to."""
PT_GEV = {"pt": (20.0, 1000.0), "pt_eta": (20.0, 300.0)}
ETA_MAX = 2.5


class Fakes(NamedTuple):
    """Densities of the real leptons, and of the fakes of either region."""

    prompt: Density
    tight: Density
    loose: Density


@dataclass(frozen=True)
class ClosedForm:
    """The fake factor of a toy, ``F = (data - simulation) of tight over that of loose events``.

    Attributes
    ----------
    columns : tuple of str
        The variables of a point, in order.
    densities : dict of str to Density
        Of each class.
    totals : dict of str to float
        Sum of the weights of each class in the sample.
    """

    columns: tuple[str, ...]
    densities: dict[str, Density]
    totals: dict[str, float]

    def factor(self, points: Float64) -> Float64:
        """Return ``F`` at points ``[N, D]``; NaN outside the range of the toy."""
        above, below = (self.expected(f"{r}_data", points) - self.expected(f"{r}_mc", points) for r in PROMPT_SHARE)
        return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)

    def log_ratio(self, region: str, points: Float64) -> Float64:
        """Return the logarithm of data over simulation in the region ``tight`` or ``loose``."""
        return np.asarray(np.log(self.expected(f"{region}_data", points) / self.expected(f"{region}_mc", points)))

    def expected(self, name: str, points: Float64) -> Float64:
        """Return the density of a class, which integrates to its total weight."""
        return self.totals[name] * self.densities[name](points)


def closed_form(file: EventFile) -> ClosedForm:
    """Return the true fake factor of the events in a file.

    Parameters
    ----------
    file : EventFile
        Made by ``tabstar_lit convert fakes-toy``.

    Raises
    ------
    DataError
        It is no toy of fakes, or one of another release.
    """
    if not is_toy(file):
        raise DataError(
            f"{file.path}: no toy of fakes of this release, so that its fake factor is not known in closed form. "
            "Make one with: tabstar_lit convert fakes-toy -o EVENTS.h5"
        )
    return form_of(FakesToy.from_plain(file.sources[0]))


def is_toy(file: EventFile) -> bool:
    """Say whether the events are a toy of fakes, of this release."""
    source = file.sources[0] if file.sources else {}
    return source.get("file") == "fakes-toy" and source.get("version") == TOY_VERSION


def form_of(toy: FakesToy) -> ClosedForm:
    """Return the true fake factor of a toy that need not exist yet."""
    fakes, counts = fakes_of(toy), counts_of(toy.n_events)
    densities: dict[str, Density] = {}
    totals: dict[str, float] = {}
    for region, share in PROMPT_SHARE.items():
        fake = fakes.tight if region == "tight" else fakes.loose
        densities |= {f"{region}_data": MixedDensity(fakes.prompt, fake, share), f"{region}_mc": fakes.prompt}
        totals |= {f"{region}_data": counts[f"{region}_data"], f"{region}_mc": share * counts[f"{region}_data"]}
    return ClosedForm(("pt",) if toy.variables == "pt" else ("pt", "abs_eta"), densities, totals)


def fakes_of(toy: FakesToy) -> Fakes:
    """Return the densities a toy is drawn from."""
    low, high = PT_GEV[toy.variables]
    if toy.variables == "pt":
        shapes = (
            toy.prompt or "resonance:250,100",
            toy.tight or "background:1.2,0.35,0.0065",
            toy.loose or "background",
        )
        return Fakes(*(ShapeDensity(Shape.parse(text), low, high) for text in shapes))
    prompt = ShapeDensity(Shape.parse(toy.prompt or "resonance:45,15"), low, high)
    tight = CorrelatedDensity(low, high, ETA_MAX, tilt=-0.35, mean=32.0, slope=8.0)
    loose = CorrelatedDensity(low, high, ETA_MAX, tilt=0.35, mean=55.0, slope=-8.0)
    return Fakes(ProductDensity(prompt, ETA_MAX), tight, loose)


def counts_of(n_events: int) -> dict[str, int]:
    """Return how many events of each class a toy has; what does not divide is loose data."""
    counts = {name: int(n_events * COMPOSITION[name]) for name in CLASSES}
    counts["loose_data"] += n_events - sum(counts.values())
    return counts
