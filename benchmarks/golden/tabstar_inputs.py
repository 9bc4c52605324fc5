"""What the package ``tabstar`` has been asked, for the tests to ask the same, and sketches of long answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

N = 400
"""Rows of the table of all kinds of columns."""

CLASSES = ("no", "perhaps", "yes")
TARGET_CLASSES: tuple[list[str], ...] = ([], ["no", "yes\n"], ["1.0", "2.0", "10.0"])
TEMPLATES = (
    "Predictive Feature: age\nFeature Value: {0} to {1} (Quantile 10 - 20%)",
    "Free text {0} {1} " * 9,
)
OFFICIAL_ADAPTERS = [
    "query", "key", "value", "out_proj", "linear1", "linear2", "cls_head.layers.0", "reg_head.layers.0",
]  # fmt: skip
"""What the package adapts, besides in the lower layers of its text encoder."""

REGRESSION_TARGETS = (-14.0, -2.4, -0.05, 0.0, 0.3, 1.7, 9.96, 25.0)
BINS = 200
LIMIT = 10.0


def digest(texts: Iterable[object]) -> str:
    """Return a short hash of texts and their order."""
    return hashlib.sha256("\0".join(map(str, texts)).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def sketch(values: Any) -> list[float]:
    """Return the norm of numbers of any shape, and their product with a fixed random direction."""
    flat = np.asarray(values, dtype=np.float64).ravel()
    direction = np.random.default_rng(flat.size).normal(size=flat.size)
    return [float(np.linalg.norm(flat)), float(flat @ direction)]


def cells_sketch(texts: NDArray[Any], numbers: NDArray[np.floating[Any]]) -> dict[str, list[Any]]:
    """Return a digest and a sketch of each column of texts and numbers ``[N, M]``."""
    return {"texts": [digest(column) for column in texts.T], "numbers": [sketch(column) for column in numbers.T]}


def columns() -> pd.DataFrame:
    """Return every kind of column that the package survives."""
    rng = np.random.default_rng(0)
    gaps = np.where(rng.random(N) < 0.2, np.nan, 1.0)
    times = pd.Series(pd.date_range("1999-12-31 22:15", periods=N, freq="37h"))
    texts = rng.choice(["red", "two\nlines", "tab\there", "ünï 漢字", 'quo"te', "", "\x7fcontrol"], N)
    kinds: dict[str, Any] = {
        "zeta": rng.normal(size=N),
        "Alpha col-umn.x:y": rng.lognormal(5, 2, N),
        "snake_case": rng.integers(5, 101, N),
        "few ints": rng.integers(0, 3, N),
        "flag": rng.random(N) < 0.3,
        "gappy": rng.normal(1e6, 1e-3, N) * gaps,
        "tiny": rng.normal(0, 1e-7, N),
        "huge": rng.normal(0, 1e12, N),
        "two\tparts\u00a0here": texts,
        "text_with_gaps": pd.Series(texts, dtype=object).where(rng.random(N) < 0.7),
        "digits": pd.Series(rng.integers(0, 200, N)).astype(str),
        "digits and one mark": pd.Series(rng.integers(0, 200, N)).astype(str).where(rng.random(N) < 0.9, "?"),
        "few digits": pd.Series(rng.integers(0, 30, N)).astype(str),
        "decimals": pd.Series(rng.normal(size=N)).map("{:.2f}".format),
        "constant": 7.5,
        "constant text": "same",
        "constant with gaps": gaps,
        "all missing": np.nan,
        "when": times,
        "when, with gaps": times.where(rng.random(N) < 0.8),
        "day": times.dt.normalize(),
        "zoned": times.dt.tz_localize("Asia/Tokyo"),
        "category": pd.Categorical(rng.choice(["u", "v"], N)),
        "maybe": pd.Series(rng.choice([True, False], N), dtype=object).where(rng.random(N) < 0.5),
        "nullable": pd.array(rng.integers(0, 9, N)).astype("Int64"),
    }
    return pd.DataFrame(kinds)


def training_rows() -> NDArray[np.bool_]:
    """Return which rows of :func:`columns` are learned from."""
    return np.random.default_rng(1).random(N) < 0.8


def texts(count: int = 150) -> list[str]:
    """Return words, white space, marks and letters of any script."""
    rng = np.random.default_rng(2)
    parts = ["age", "Blood_pressure", "a-b", "x.y", ":", "%", " ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\x00"]
    made = ["", " ", "\n", "ﬁ", "İ", "ß", "e\u0301", "\U0001f600"]
    while len(made) < count:
        letters = [chr(code) for code in rng.integers(1, 0x2FFFF, 3) if not 0xD800 <= code < 0xE000]
        made.append("".join(rng.choice([*parts, *letters], rng.integers(1, 6))))
    return made


def boundaries(count: int = 30) -> NDArray[np.float64]:
    """Return sorted edges of bins ``[count, 11]``, from tiny to huge, some of them equal."""
    rng = np.random.default_rng(3)
    drawn = rng.normal(size=(count, 11)) * 10.0 ** rng.integers(-7, 10, (count, 1))
    drawn[::5] = drawn[::5].round()
    return np.sort(drawn, axis=1)


def network_inputs(n_rows: int, n_targets: int, n_features: int) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    """Return texts and numbers of rows, ``[n_rows, n_targets + n_features]`` each."""
    rng = np.random.default_rng(n_targets)
    values = rng.integers(0, 10 ** rng.integers(1, 5, (n_rows, n_features)))
    cells = np.array([[TEMPLATES[j % 2].format(v, v + 1) for j, v in enumerate(row)] for row in values])
    targets = np.array([[f"Target Feature: y\nFeature Value: {i}" for i in range(n_targets)]] * n_rows)
    numbers = rng.normal(size=(n_rows, n_targets + n_features)).astype(np.float32)
    numbers[:, : n_targets + 1] = 0
    return np.concatenate([targets, cells], axis=1), numbers


def rows(count: int, seed: int) -> tuple[pd.DataFrame, pd.Series]:
    """Return rows with words, gaps and numbers, and classes."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"colour": rng.choice(["red", "green and blue", None], count)})
    frame["note"] = [f"n {number % 7}" for number in range(count)]
    frame["size"] = rng.normal(20, 5, count).round(2)
    frame["Age in years"] = rng.integers(1, 90, count).astype(float)
    frame.loc[::9, "size"] = np.nan
    return frame, pd.Series(rng.choice(CLASSES, count), name="answer")


def skewed_rows() -> pd.DataFrame:
    """Return 400 rows with gaps, ties and far values, and the target ``y``."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "price": np.exp(rng.normal(0, 2, 400)).round(6),  # processors differ in the last digits of exp
            "size": rng.integers(0, 6, 400).astype(float),
            "colour": rng.choice(["red", "blue"], 400),
            "y": rng.normal(size=400),
        }
    )
    frame.loc[::7, "price"] = np.nan
    return frame


def head_outputs() -> NDArray[np.float32]:
    """Return what both heads of v1.1 could say of :data:`REGRESSION_TARGETS`, ``[8, 1 + BINS]``."""
    drawn = 3 * np.random.default_rng(6).normal(size=(len(REGRESSION_TARGETS), 1 + BINS))
    return drawn.astype(np.float32)
