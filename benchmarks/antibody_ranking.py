"""How well likelihood, and simple baselines, rank antibodies by measured affinity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from rapidfuzz.distance import Levenshtein
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.antibody_pairs import ASSAYS, parent_text
from tabstar_lit.config.paths import roots
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.pairs.data import AntibodyData
from tabstar_lit.families.antibody.pairs.file import Pairs, read_pairs
from tabstar_lit.families.antibody.pairs.tokens import chains_of
from tabstar_lit.families.antibody.restore import AntibodyGenerator

Array = np.ndarray[Any, np.dtype[Any]]

RESAMPLES = 1000
LEAST_RANKED = 8
"""Measured antibodies that a cluster of antigens must have to be ranked by itself."""
ASKED = 9.0
"""pKd that is asked for where likelihoods are taken with an affinity."""


class Ranked(NamedTuple):
    """How well something ranks antibodies.

    Attributes
    ----------
    rho, low, high : float
        Spearman's correlation and its interval.
    """

    rho: float
    low: float
    high: float


def rank_assays(generator: AntibodyGenerator, data: AntibodyData) -> dict[str, Ranked]:
    """Rank the held-out HER2 binders of each assay by likelihood and by the baselines."""
    pairs, held_out = data.pairs, {data.pairs.antibodies[row] for row in data.split["test"]}
    training = measured(pairs, data.split["train"])
    ridge = fitted_ridge([pairs.antibodies[row] for row in training], pairs.pkd[training])
    found = {}
    for assay, name in ASSAYS.items():
        own = read_pairs(roots().data / f"{name}.h5")
        rows = measured(own, np.array([row for row, text in enumerate(own.antibodies) if text in held_out]))
        texts = [own.antibodies[row] for row in rows]
        scores = {
            **likelihoods(generator, own, rows),
            "parent": -np.array([Levenshtein.distance(text, parent_text()) for text in texts], dtype=np.float64),
            "ridge": ridge.predict(texts),
        }
        found |= {f"{assay}_{ranker}": correlation(by, own.pkd[rows]) for ranker, by in scores.items()}
    return found


def measured(pairs: Pairs, rows: Array) -> Array:
    """Return those of the rows whose affinity was measured and is no bound."""
    return np.asarray(rows[np.isfinite(pairs.pkd[rows]) & (pairs.censored[rows] == 0)])


def rank_by_cluster(generator: AntibodyGenerator, data: AntibodyData) -> tuple[dict[str, Ranked], int]:
    """Return the mean correlation within held-out clusters of antigens, and how many there are.

    Raises
    ------
    DataError
        No cluster has enough measured antibodies.
    """
    pairs, rows = data.pairs, data.split["test"]
    rows, training = measured(pairs, rows), measured(pairs, data.split["train"])
    known = [pairs.antibodies[row] for row in training]
    ridge = fitted_ridge(known, pairs.pkd[training])
    scores = likelihoods(generator, pairs, rows) | {"ridge": ridge.predict([pairs.antibodies[row] for row in rows])}
    clusters = pairs.clusters[pairs.antigen[rows]]
    each = (np.flatnonzero(clusters == number) for number in np.unique(clusters))
    groups = [own for own in each if enough(pairs.pkd[rows[own]])]
    if not groups:
        raise DataError(f"no held-out cluster of antigens has {LEAST_RANKED} measured antibodies that could be ranked.")
    return {name: mean_within(own, pairs.pkd[rows], groups) for name, own in scores.items()}, len(groups)


def mean_within(scores: Array, pkd: Array, groups: Sequence[Array]) -> Ranked:
    """Return the mean correlation within groups of rows, with an interval over antibodies resampled in each."""
    rng = np.random.default_rng(0)
    chosen = [rng.choice(own, (RESAMPLES, len(own))) for own in groups]
    means = [np.mean([_rho(scores[own], pkd[own]) for own in drawn]) for drawn in zip(*chosen, strict=True)]
    low, high = np.quantile(means, [0.025, 0.975])
    return Ranked(float(np.mean([_rho(scores[own], pkd[own]) for own in groups])), float(low), float(high))


def enough(pkd: Array) -> bool:
    """Tell whether there are enough different affinities to rank."""
    return len(pkd) >= LEAST_RANKED and len(set(pkd.tolist())) > 1


def likelihoods(generator: AntibodyGenerator, pairs: Pairs, rows: Array) -> dict[str, Array]:
    """Return the mean log-likelihood of a token of each antibody, with and without an affinity asked for."""
    chains = [chains_of(pairs.antibodies[row]) for row in rows]
    frame = pd.DataFrame(
        {
            "antigen": [pairs.antigens[pairs.antigen[row]] for row in rows],
            "heavy": [heavy for heavy, _ in chains],
            "light": [light for _, light in chains],
        }
    )
    asked = {"likelihood": None, "likelihood_pkd": ASKED}
    return {name: generator.predict(frame, pkd=pkd)["per_token"].to_numpy() for name, pkd in asked.items()}


def fitted_ridge(texts: Sequence[str], pkd: Array) -> Pipeline:
    """Return a ridge over k-mers that predicts the affinities of antibodies."""
    counts = CountVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False)
    return make_pipeline(counts, StandardScaler(with_mean=False), RidgeCV(np.logspace(0, 6, 13))).fit(texts, pkd)


def correlation(scores: Array, pkd: Array) -> Ranked:
    """Return Spearman's correlation with an interval over resampled antibodies; 0 where all scores are equal."""
    rng = np.random.default_rng(0)
    values = [_rho(scores[rows], pkd[rows]) for rows in rng.integers(0, len(pkd), (RESAMPLES, len(pkd)))]
    low, high = np.quantile(values, [0.025, 0.975])
    return Ranked(_rho(scores, pkd), float(low), float(high))


def _rho(scores: Array, pkd: Array) -> float:
    if len(set(scores.tolist())) < 2 or len(set(pkd.tolist())) < 2:
        return 0.0
    return float(spearmanr(scores, pkd).statistic)


def ranking_sentence(ranked: Mapping[str, Ranked]) -> str:
    """Say in a sentence whether likelihood ranks."""
    told = "; ".join(_verdict(name, own) for name, own in ranked.items() if "likelihood" in name)
    return f"Does likelihood rank by affinity? {told}."


def _verdict(name: str, own: Ranked) -> str:
    verdict = "it does" if own.low > 0 else "it ranks the wrong way" if own.high < 0 else "not shown"
    return f"{name} {own.rho:+.2f}, {verdict}"


def ranked_table(ranked: Mapping[str, Ranked]) -> list[str]:
    """Return a table of correlations."""
    rows = [(name, f"{own.rho:+.3f}", f"{own.low:+.3f} to {own.high:+.3f}") for name, own in ranked.items()]
    return table(("ranked by", "Spearman", "95 % interval"), rows)
