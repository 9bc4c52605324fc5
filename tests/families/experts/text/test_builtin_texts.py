"""The built-in texts: small, the same everywhere, and right in what they say."""

from __future__ import annotations

import doctest
import importlib.util
import operator
from pathlib import Path

from tabstar_lit.families.experts.text.builtin import DOMAINS, builtin_texts, ensure_builtin
from tabstar_lit.families.experts.text.corpus import TextCorpus

SIGNS = {"plus": operator.add, "minus": operator.sub, "times": operator.mul}


def test_they_are_small_and_the_same_every_time(tmp_path: Path) -> None:
    texts = {name: builtin_texts(name) for name in DOMAINS}
    assert sum(len(text.encode()) for own in texts.values() for text in own) < 300_000
    assert texts == {name: builtin_texts(name) for name in DOMAINS}
    path = ensure_builtin(tmp_path / "b.h5", "bytes")
    before = path.stat().st_mtime_ns
    assert ensure_builtin(path, "bytes").stat().st_mtime_ns == before
    assert TextCorpus.open(path).domains == tuple(sorted(DOMAINS))


def test_functions_do_what_their_doctests_say(tmp_path: Path) -> None:
    path = tmp_path / "samples.py"
    path.write_text("\n\n".join(builtin_texts("code")))
    spec = importlib.util.spec_from_file_location("samples", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    failed, attempted = doctest.testmod(module)
    assert (failed, attempted > 20) == (0, True)


def test_sums_come_out_right() -> None:
    for text in builtin_texts("sums"):
        for line in text.splitlines():
            a, sign, b, _, value = line.rstrip(".").split()
            assert SIGNS[sign](int(a), int(b)) == int(value)


def test_reports_name_the_warmest_and_the_coldest_day() -> None:
    for text in builtin_texts("weather"):
        _, *days, warmest, coldest = text.splitlines()
        degrees = [int(day.split(": ")[1].split()[0]) for day in days]
        assert warmest == f"warmest: {max(degrees)} degrees"
        assert coldest == f"coldest: {min(degrees)} degrees"


def test_tales_keep_their_names() -> None:
    for text in builtin_texts("tales"):
        name = text.split()[2]
        assert text.count(name) >= 4
        assert f"friend {name}" not in text
