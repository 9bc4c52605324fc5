"""Arguments of scalers as YAML and the command line give them: used by the right step, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import PowerTransformer, StandardScaler

from tabstar_lit.data.scalers import ColumnScaler
from tabstar_lit.errors import ConfigError

VALUES = np.random.default_rng(0).lognormal(3.0, 1.0, 400)


@pytest.mark.parametrize("eps", ["tiny", None, [1e-6], 0.0, 0.5, -1e-3, float("nan")])
@pytest.mark.parametrize("kind", ["logit", "standard_logit"])
def test_a_distance_that_no_logit_can_keep_is_refused(kind: str, eps: Any) -> None:
    with pytest.raises(ConfigError, match=r"scaler_params: eps is .*between 0 and 0\.5 such as 1e-06"):
        ColumnScaler(kind, {"eps": eps})


def test_a_distance_may_be_text_because_yaml_reads_1e_6_as_such() -> None:
    text, number = (ColumnScaler("logit", {"eps": eps}).fit(VALUES).transform(VALUES) for eps in ("1e-3", 1e-3))
    np.testing.assert_array_equal(text, number)
    assert text.max() == pytest.approx(np.log(0.999 / 0.001))


@pytest.mark.parametrize("n_quantiles", ["many", None, [10], 0])
def test_a_number_of_quantiles_that_is_none_is_refused(n_quantiles: Any) -> None:
    with pytest.raises(ConfigError, match="scaler 'quantile' refuses"):
        ColumnScaler("quantile", {"n_quantiles": n_quantiles}).fit(VALUES)


@pytest.mark.parametrize("kind", ["minmax", "standard", "power", "quantile"])
def test_only_the_logits_have_a_distance(kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"scaler '{kind}' has no argument 'eps'"):
        ColumnScaler(kind, {"eps": 1e-3})


def test_more_quantiles_than_values_are_as_many_as_values(recwarn: pytest.WarningsRecorder) -> None:
    few = VALUES[:7]
    scaled = ColumnScaler("quantile", {"n_quantiles": 1000}).fit(np.append(few, np.nan)).transform(np.sort(few))
    np.testing.assert_allclose(scaled, np.linspace(0, 1, 7), atol=1e-12)
    assert not [warning for warning in recwarn if issubclass(warning.category, UserWarning)]


@pytest.mark.parametrize("standardize", [True, False])
def test_power_is_standardised_unless_asked_not_to(standardize: bool) -> None:
    own = ColumnScaler("power", {"standardize": standardize}).fit(VALUES)
    theirs = PowerTransformer(standardize=standardize).fit_transform(VALUES.reshape(-1, 1)).ravel()
    np.testing.assert_allclose(own.transform(VALUES), theirs, atol=1e-6)
    assert len(own.to_plain()["learned"]) == 1 + standardize
    np.testing.assert_array_equal(ColumnScaler.from_plain(own.to_plain()).transform(VALUES), own.transform(VALUES))


def test_weights_reach_the_standardising_last_step_only() -> None:
    weights = np.random.default_rng(1).exponential(1.0, len(VALUES))
    plain = ColumnScaler("logit", {"eps": 1e-3}).fit(VALUES, weights).transform(VALUES)
    np.testing.assert_array_equal(plain, ColumnScaler("logit", {"eps": 1e-3}).fit(VALUES).transform(VALUES))
    expected = StandardScaler().fit(plain.reshape(-1, 1), sample_weight=weights).transform(plain.reshape(-1, 1))
    own = ColumnScaler("standard_logit", {"eps": 1e-3}).fit(VALUES, weights).transform(VALUES)
    np.testing.assert_allclose(own, expected.ravel(), rtol=1e-9)


def test_the_weights_of_missing_values_do_not_count() -> None:
    gappy = np.append(VALUES, [np.nan, np.nan])
    weights = np.append(np.linspace(0.1, 2.0, len(VALUES)), [1e9, 1e9])
    own = ColumnScaler("standard").fit(gappy, weights).transform(VALUES)
    np.testing.assert_array_equal(own, ColumnScaler("standard").fit(VALUES, weights[:-2]).transform(VALUES))


def test_no_values_are_scaled_to_none() -> None:
    assert ColumnScaler("standard").fit(VALUES).transform(np.empty(0)).shape == (0,)


def test_arguments_of_another_scaler_are_refused_with_what_to_type() -> None:
    with pytest.raises(ConfigError, match=r"'output_distribution'.*feature_scaling\.scaler_params=null$"):
        ColumnScaler("standard", {"output_distribution": "normal"})
    assert ColumnScaler("standard", None).params == {}
