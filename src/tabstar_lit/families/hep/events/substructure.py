"""Substructure of jets from the momenta of their constituents, computed by FastJet (arXiv 1111.6097)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tabstar_lit.arrays import Array, Float64
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.conversion_config import SubstructureSpec
from tabstar_lit.families.hep.events.source_events import SourceEvents

AXES = "OnePass_WTA_KT_Axes"
"""Winner-take-all axes (arXiv 1401.2158) of kT jets, moved once to the nearest minimum."""


def substructure_columns(events: SourceEvents, spec: SubstructureSpec) -> dict[str, Array]:
    """Compute what a conversion asks for, by the names it can be used with.

    Parameters
    ----------
    events : SourceEvents
        One jet each.
    spec : SubstructureSpec
        Where the momenta of constituents are, and what is asked for.

    Returns
    -------
    dict of str to ndarray [n]
        As many columns as ``spec.names()``, in that order.

    Raises
    ------
    DataError
        If a momentum is no number of each constituent, or not finite.
    """
    momenta = {key: events.objects(text, f"substructure.{key}") for key, text in spec.particles().items()}
    counts = momenta["pt"].counts
    for key, value in momenta.items():
        events.require(np.isfinite(value.values), f"substructure.{key}", "not finite", value.counts)
        if not np.array_equal(value.counts, counts):
            raise DataError(f"substructure: pt and {key} differ in length within an event")
    jets = Jets({key: value.values for key, value in momenta.items()}, counts, spec.radius)
    columns: dict[str, Array] = {}
    for name, asked in spec.nsubjettiness.items():
        taus = jets.nsubjettiness(asked.axes, asked.power)
        columns |= {f"{name}_{n}": taus[:, n - 1] for n in range(1, asked.axes + 1)}
    for name, trimming in spec.trimming.items():
        columns |= {f"{name}_{what}": own for what, own in jets.trimmed(trimming.radius, trimming.fraction).items()}
    return columns


class Jets:
    """One jet an event, given by its constituents.

    Parameters
    ----------
    particles : mapping of str to ndarray [m]
        ``pt``, ``eta``, ``phi`` in radians and, unless the constituents have no mass, ``energy`` in the unit of ``pt``.
    counts : ndarray of int [n]
        Constituents of each jet; they sum to m.
    radius : float
        The jets' radius R.

    Raises
    ------
    DataError
        If FastJet is not installed.
    """

    def __init__(self, particles: Mapping[str, Array], counts: Array, radius: float) -> None:
        self._fastjet, self._awkward = _fastjet()
        pt, eta, phi = (particles[key].astype(np.float64) for key in ("pt", "eta", "phi"))
        momenta = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
        momenta["E"] = particles.get("energy", pt * np.cosh(eta)).astype(np.float64)
        self.radius = radius
        jagged = {key: self._awkward.unflatten(values, counts) for key, values in momenta.items()}
        self._particles = self._awkward.zip(jagged, with_name="Momentum4D")

    def _clustered(self, radius: float) -> Any:
        """Cluster with the kT algorithm."""
        return self._fastjet.ClusterSequence(
            self._particles, self._fastjet.JetDefinition(self._fastjet.kt_algorithm, radius)
        )

    def nsubjettiness(self, axes: int, power: float) -> Float64:
        """Return tau_1 to tau_N: how far the momentum of a jet lies from 1 to N axes.

        tau_N = sum_i pt_i min_k (dR_ik)^power / sum_i pt_i R^power (arXiv 1011.2268), with axes that make it small. It
        is 0 where a jet has no more than N constituents.

        Parameters
        ----------
        axes : int
            The most axes, N.
        power : float
            Power of the distance dR in rapidity and azimuth.

        Returns
        -------
        ndarray [n, N]
            Without unit.
        """
        taus = self._clustered(self.radius).njettiness(
            measure_definition="NormalizedMeasure",
            axes_definition=AXES,
            njets=list(range(1, axes + 1)),
            beta=power,
            R0=self.radius,
        )
        return np.asarray(self._awkward.to_numpy(taus), dtype=np.float64).reshape(-1, axes)

    def trimmed(self, radius: float, fraction: float) -> dict[str, Float64]:
        """Return what is left of each jet without its soft subjets (arXiv 0912.1342).

        Parameters
        ----------
        radius : float
            Radius of the kT subjets.
        fraction : float
            Subjets with less than this share of the jet's transverse momentum are taken away.

        Returns
        -------
        dict of str to ndarray [n]
            ``pt`` and ``mass`` in the unit of the constituents, and ``n``, the number of subjets left.
        """
        ak, subjets = self._awkward, self._clustered(radius).inclusive_jets()
        hard = _transverse(subjets) >= fraction * _transverse(_summed(ak, self._particles))
        total = _summed(ak, subjets[hard])
        squared = total["E"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2
        n = ak.to_numpy(ak.sum(hard, axis=1)).astype(np.float64)
        return {"pt": _transverse(total), "mass": np.sqrt(np.maximum(squared, 0.0)), "n": n}


def _summed(awkward: Any, momenta: Any) -> dict[str, Float64]:
    """Add the four-momenta of each event."""
    return {key: awkward.to_numpy(awkward.sum(momenta[key], axis=1)) for key in ("px", "py", "pz", "E")}


def _transverse(momenta: Any) -> Any:
    return np.hypot(momenta["px"], momenta["py"])


def _fastjet() -> tuple[Any, Any]:
    """Import FastJet, which need not be installed, and awkward, which comes with it."""
    try:
        import awkward
        import fastjet
        import vector
    except ImportError as error:
        raise DataError("substructure needs FastJet: pip install 'tabstar_lit[jets]'") from error
    vector.register_awkward()
    return fastjet, awkward
