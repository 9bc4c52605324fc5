"""Substructure of jets from the momenta of their constituents, computed by FastJet (arXiv 1111.6097)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tabstar_lit.errors import DataError

Array = npt.NDArray[Any]

AXES = "OnePass_WTA_KT_Axes"
"""Winner-take-all axes (arXiv 1401.2158) of kT jets, moved once to the nearest minimum."""


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
        fastjet, awkward = _fastjet()
        pt, eta, phi = (particles[key].astype(np.float64) for key in ("pt", "eta", "phi"))
        momenta = {"px": pt * np.cos(phi), "py": pt * np.sin(phi), "pz": pt * np.sinh(eta)}
        momenta["E"] = particles.get("energy", pt * np.cosh(eta)).astype(np.float64)
        self.radius = radius
        self._awkward = awkward
        self._clustered = fastjet.ClusterSequence(
            awkward.zip(
                {key: awkward.unflatten(values, counts) for key, values in momenta.items()}, with_name="Momentum4D"
            ),
            fastjet.JetDefinition(fastjet.kt_algorithm, radius),
        )

    def nsubjettiness(self, axes: int, power: float) -> npt.NDArray[np.float64]:
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
        taus = self._clustered.njettiness(
            measure_definition="NormalizedMeasure",
            axes_definition=AXES,
            njets=list(range(1, axes + 1)),
            beta=power,
            R0=self.radius,
        )
        return np.asarray(self._awkward.to_numpy(taus), dtype=np.float64).reshape(-1, axes)


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
