"""Affinities in pKd: formulas, bounds, and what is refused."""

from __future__ import annotations

import math

import pytest

from tabstar_lit.families.antibody.conversion.affinity import Measured, parse_affinity
from tabstar_lit.families.antibody.conversion.config import Affinity, NonBinders
from tabstar_lit.families.antibody.conversion.merging import joint_affinity

KD_NM = Affinity(column="kd", kind="kd", unit="nM")
DELTA_G = Affinity(column="dg", kind="delta_g", unit="kcal/mol")


@pytest.mark.parametrize(
    ("unit", "text"), [("M", "1e-9"), ("mM", "1e-6"), ("uM", "0.001"), ("nM", "1"), ("pM", "1000")]
)
def test_a_nanomole_is_nine_in_every_unit(unit: str, text: str) -> None:
    affinity = Affinity.model_validate({"kind": "kd", "unit": unit})
    assert parse_affinity(text, affinity).pkd == pytest.approx(9.0)


def test_logarithms_of_nanomoles_are_taken_from_nine() -> None:
    affinity = Affinity(kind="log10_kd", unit="nM")
    assert parse_affinity("2.5", affinity) == Measured(pytest.approx(6.5), 0)


def test_an_energy_is_a_concentration_at_its_temperature() -> None:
    """ΔG = R T ln K_D: -10.9 kcal/mol at 298.15 K are about 10.2 nmol/l."""
    pkd = parse_affinity("-10.9", DELTA_G).pkd
    assert pkd == pytest.approx(10.9 / 1.364, abs=2e-3)
    assert math.exp(-10.9 / (1.987204e-3 * 298.15)) == pytest.approx(10**-pkd)
    warmer = Affinity(kind="delta_g", unit="kcal/mol", temperature=310.15)
    assert parse_affinity("-10.9", warmer).pkd == pytest.approx(pkd * 298.15 / 310.15)


def test_kilojoules_are_kilocalories() -> None:
    joules = Affinity(kind="delta_g", unit="kJ/mol")
    assert parse_affinity("-41.84", joules).pkd == pytest.approx(parse_affinity("-10", DELTA_G).pkd, rel=1e-5)


def test_a_positive_difference_makes_binding_weaker() -> None:
    affinity = Affinity(kind="delta_delta_g", unit="kcal/mol", reference=9.0)
    assert parse_affinity("1.364", affinity, 9.0).pkd == pytest.approx(8.0, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "affinity", "censored"),
    [(">1000", KD_NM, -1), ("<0.1", KD_NM, 1), ("> 1000", KD_NM, -1), ("~5", KD_NM, 0), (">9", Affinity(), 1)],
)
def test_bounds_are_kept_as_bounds(text: str, affinity: Affinity, censored: int) -> None:
    assert parse_affinity(text, affinity).censored == censored


@pytest.mark.parametrize("text", ["", "  ", "nan", "NA", "n.d."])
def test_nothing_is_missing_and_no_number(text: str) -> None:
    assert math.isnan(parse_affinity(text, KD_NM).pkd)


def test_a_non_binder_has_the_limit_of_the_assay() -> None:
    limit = NonBinders(column="Binder", value="False", pkd_below=6.0)
    affinity = KD_NM.model_copy(update={"non_binders": limit})
    assert parse_affinity("", affinity, binds=False) == Measured(6.0, -1)
    assert math.isnan(parse_affinity("", affinity, binds=True).pkd)
    assert parse_affinity("1", affinity, binds=False) == Measured(pytest.approx(9.0), 0)


@pytest.mark.parametrize(
    ("text", "affinity", "why"),
    [
        ("0", KD_NM, "not above 0"),
        ("-3", KD_NM, "not above 0"),
        ("strong", KD_NM, "is no number"),
        ("inf", KD_NM, "not finite"),
        ("1e-9", Affinity(kind="kd", unit="pM"), "kind and unit do not fit"),
        ("-50", DELTA_G, "kind and unit do not fit"),
    ],
)
def test_what_is_no_affinity_is_refused(text: str, affinity: Affinity, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_affinity(text, affinity)


@pytest.mark.parametrize(
    ("affinities", "joint"),
    [
        ([Measured(8.0), Measured(9.0)], Measured(8.5)),
        ([Measured(8.0), Measured(5.0, -1)], Measured(8.0)),
        ([Measured(5.0, -1), Measured(6.0, -1)], Measured(5.5, -1)),
        ([Measured(math.nan), Measured(7.0)], Measured(7.0)),
    ],
)
def test_measurements_of_one_pair_are_averaged_and_beat_bounds(affinities: list[Measured], joint: Measured) -> None:
    assert joint_affinity(affinities) == joint
