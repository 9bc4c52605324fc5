"""Built-in texts of four domains, generated: training needs no download, and samples can be judged at a glance.

They are small and regular on purpose. Tales keep their names and pronouns, sums come out right, code has doctests that
hold, and weather reports add up: what a model has learned of each can be read off what it writes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from tabstar_lit.data.plans import source_rng
from tabstar_lit.families.experts.text.converter import convert_text

SEED = 11
BYTES_PER_DOMAIN = 60_000
BUILTIN_CORPUS = "experts_builtin.h5"
"""Name of the corpus below the data root."""

Draw = np.random.Generator

PEOPLE = (
    ("Ada", "she", "her"),
    ("Ben", "he", "his"),
    ("Cleo", "she", "her"),
    ("Dan", "he", "his"),
    ("Ivy", "she", "her"),
)
PLACES = ("the harbour", "the old mill", "the garden", "the market", "the hill behind the house", "the river")
THINGS = ("a silver key", "a torn map", "a small brown dog", "a kite", "a heavy box", "a lantern", "a blue boat")
WEATHERS = (
    "The sun was bright",
    "Rain was falling",
    "The wind was cold",
    "Snow lay on the ground",
    "It was getting dark",
)
FEELINGS = (("glad", "smiled"), ("afraid", "ran away"), ("tired", "sat down"), ("curious", "came closer"))
ENDINGS = ("kept it for a long time", "gave it to a friend", "took it home", "put it back where it was")
TOWNS = ("Arlen", "Bryn", "Corve", "Delm", "Esk", "Fenwick")
SKIES = ("clear", "cloudy", "overcast", "foggy")
TONES = ("plus", "minus", "times")


def tale(draw: Draw) -> str:
    """Return a tale of one person and one thing."""
    name, pronoun, possessive = PEOPLE[draw.integers(len(PEOPLE))]
    place, thing, weather, ending = (_one(draw, words) for words in (PLACES, THINGS, WEATHERS, ENDINGS))
    feeling, act = FEELINGS[draw.integers(len(FEELINGS))]
    friend = _one(draw, [other for other, _, _ in PEOPLE if other != name])
    found = thing.split(" ", 1)[1]
    noun = found.split()[-1]
    return (
        f"One day {name} went to {place}. {weather}, and {name} was {feeling}. By the path {pronoun} saw {thing}. "
        f'{name} {act} and looked at it. "Whose {noun} is this?" {pronoun} asked {possessive} friend {friend}. '
        f'"It is not mine," said {friend}. So {name} took the {found} and {ending}.'
    )


def sums(draw: Draw) -> str:
    """Return some exercises with their answers."""
    lines = []
    for _ in range(int(draw.integers(6, 12))):
        a, b = (int(n) for n in draw.integers(2, 60, 2))
        tone = _one(draw, TONES)
        if tone == "times":
            a, b = a % 12 + 1, b % 12 + 1
        value = {"plus": a + b, "minus": a - b, "times": a * b}[tone]
        lines.append(f"{a} {tone} {b} is {value}.")
    return "\n".join(lines)


def report(draw: Draw) -> str:
    """Return the weather of a few days in one town, with their mean."""
    town, first = _one(draw, TOWNS), int(draw.integers(1, 25))
    days = int(draw.integers(3, 6))
    degrees = [int(n) for n in draw.integers(-5, 30, days)]
    rows = [
        f"day {first + i}: {degree} degrees, {_one(draw, SKIES)}, wind {int(draw.integers(0, 12))} m/s"
        for i, degree in enumerate(degrees)
    ]
    return "\n".join(
        [f"Weather of {town}", *rows, f"warmest: {max(degrees)} degrees", f"coldest: {min(degrees)} degrees"]
    )


def code(draw: Draw) -> str:
    """Return a short Python function whose doctest holds."""
    name, n, k = _one(draw, ("add", "scale", "shift", "square")), int(draw.integers(2, 30)), int(draw.integers(2, 10))
    body, value, words = {
        "add": (f"x + {k}", n + k, f"Return x and {k} more."),
        "scale": (f"{k} * x", k * n, f"Return {k} times x."),
        "shift": (f"x - {k}", n - k, f"Return x less {k}."),
        "square": (f"x * x + {k}", n * n + k, f"Return the square of x and {k} more."),
    }[name]
    return (
        f'def {name}_{k}(x: int) -> int:\n    """{words}\n\n    >>> {name}_{k}({n})\n    {value}\n    """\n'
        f"    return {body}\n"
    )


DOMAINS: Mapping[str, Callable[[Draw], str]] = {"code": code, "sums": sums, "tales": tale, "weather": report}
"""What writes a document of each domain."""


def builtin_texts(domain: str) -> list[str]:
    """Return the documents of a domain, the same on every machine."""
    draw = source_rng(SEED, domain)
    texts: list[str] = []
    while sum(map(len, texts)) < BYTES_PER_DOMAIN:
        texts.append(DOMAINS[domain](draw))
    return texts


def ensure_builtin(path: Path, tokenizer: str) -> Path:
    """Return ``path`` once the corpus of the built-in texts lies there.

    Parameters
    ----------
    path : Path
        Where the corpus belongs.
    tokenizer : str
        What makes its tokens.

    Raises
    ------
    DataError
        It cannot be written, ``path`` is another kind of file, or there is no such tokenizer.
    """
    with TemporaryDirectory() as folder:
        for domain in DOMAINS:
            place = Path(folder, domain)
            place.mkdir()
            lines = [json.dumps({"text": text}) for text in builtin_texts(domain)]
            (place / "builtin.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        convert_text(Path(folder), path, tokenizer=tokenizer)
    return path


def _one(draw: Draw, words: list[str] | tuple[str, ...]) -> str:
    return words[int(draw.integers(len(words)))]
