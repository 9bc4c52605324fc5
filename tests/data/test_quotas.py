"""Quotas are whole, sum exactly, keep to the shares that theory gives, and never ask for rows that are not there."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.data.quotas import apportion, row_quotas
from tabstar_lit.errors import DataError

SIZES = st.lists(st.integers(0, 10**7), min_size=1, max_size=9).filter(any)
ALPHAS = st.floats(0, 1)


def test_seats_are_shared_as_in_the_textbook_of_largest_remainders() -> None:
    """Six parties and ten seats: the Hare quota is 10,000 votes."""
    votes = np.array([47_000.0, 16_000, 15_900, 12_000, 6_000, 3_100])
    assert apportion(10, votes, np.full(6, 10)).tolist() == [5, 2, 1, 1, 1, 0]


@pytest.mark.parametrize("alpha", ["1", "0.7", "0.5", "0.3", "0"])
def test_shares_are_sizes_to_the_power_of_alpha(alpha: str) -> None:
    """As in XLM-R (arXiv 1911.02116, section 3.1), in decimal arithmetic of 28 digits."""
    sizes = [900, 90, 10]
    powers = [Decimal(n) ** Decimal(alpha) for n in sizes]
    quotas = row_quotas(sizes, 10**6, alpha=float(alpha), repeat=True)
    np.testing.assert_allclose(quotas / 10**6, [float(p / sum(powers)) for p in powers], atol=1e-6)


@given(sizes=SIZES, total=st.integers(0, 10**7), alpha=ALPHAS)
def test_with_repeats_quotas_sum_to_the_total_within_one_row_of_their_shares(
    sizes: list[int], total: int, alpha: float
) -> None:
    quotas = row_quotas(sizes, total, alpha=alpha, repeat=True)
    weights = np.array([n**alpha if n else 0.0 for n in sizes])
    assert quotas.sum() == total
    assert (np.abs(quotas - total * weights / weights.sum()) < 1 + 1e-6).all()
    assert not quotas[np.array(sizes) == 0].any()


@given(sizes=SIZES, total=st.integers(0, 10**7), alpha=ALPHAS)
def test_without_repeats_no_source_gives_more_than_it_has_and_others_take_the_rest(
    sizes: list[int], total: int, alpha: float
) -> None:
    quotas = row_quotas(sizes, total, alpha=alpha)
    assert quotas.sum() == min(total, sum(sizes))
    assert (quotas <= sizes).all()
    free = [(q, n**alpha) for q, n in zip(quotas.tolist(), sizes, strict=True) if n > 0 and q < n]
    weight, left = sum(w for _, w in free), sum(q for q, _ in free)
    assert all(abs(q - left * w / weight) < 1 + 1e-6 for q, w in free), "those with rows to spare keep to their shares"


@given(sizes=SIZES, total=st.integers(0, 10**7))
def test_proportional_quotas_are_those_of_exact_fractions(sizes: list[int], total: int) -> None:
    shares = [Fraction(total * n, sum(sizes)) for n in sizes]
    whole = [int(share) for share in shares]
    for place in sorted(range(len(sizes)), key=lambda i: whole[i] - shares[i])[: total - sum(whole)]:
        whole[place] += 1
    assert row_quotas(sizes, total, alpha=1.0, repeat=True).tolist() == whole


def test_sources_of_one_size_get_the_rows_that_are_left_in_order() -> None:
    assert row_quotas([7, 7, 7], 5).tolist() == [2, 2, 1]
    assert row_quotas([5, 9, 700], 30, alpha=0.0).tolist() == [5, 9, 16]


def test_what_cannot_be_shared_is_refused() -> None:
    for alpha in (-0.1, 1.5, float("nan")):
        with pytest.raises(DataError, match=r"alpha is .* between 0 .* and 1"):
            row_quotas([3], 3, alpha=alpha)
    with pytest.raises(DataError, match=r"cannot share 5 rows among sources of \[0, 0\] rows"):
        row_quotas([0, 0], 5)
    with pytest.raises(DataError, match="cannot share -1 rows"):
        row_quotas([3], -1)
