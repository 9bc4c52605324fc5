"""Which tests run which line of the source, and what each costs: found by running them once, under coverage."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import coverage
import pytest


class LineTests(NamedTuple):
    """What running the tests once has shown.

    Attributes
    ----------
    lines : dict
        The tests that ran a line, by the file's path below the source and the line's number.
    seconds : dict
        Processor time of each test.
    """

    lines: dict[str, dict[str, list[str]]]
    seconds: dict[str, float]

    def of(self, module: Path, lines: Iterable[int], budget: float) -> list[str]:
        """Return tests that run one of the lines, those named after the module first, then the cheapest.

        Parameters
        ----------
        module : Path
            Below the source.
        lines : iterable of int
            Numbers of lines.
        budget : float
            Processor seconds that the tests may take together; the first is taken whatever it costs.
        """
        known = self.lines.get(str(module), {})
        found = sorted(
            {test for line in lines for test in known.get(str(line), ())},
            key=lambda test: (module.stem not in Path(test.partition("::")[0]).stem, self.seconds[test]),
        )
        chosen, spent = found[:1], 0.0
        for test in found[1:]:
            spent += self.seconds[test]
            if spent > budget:
                break
            chosen.append(test)
        return chosen


class Watch:
    """A plug-in of pytest that notes the lines of each test, and its processor time."""

    def __init__(self, source: Path, found: Path) -> None:
        self._source, self._found = source, found
        self._lines = coverage.Coverage(data_file=None, source=[str(source)], config_file=False)
        self._seconds: dict[str, float] = {}
        self._lines.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Name the test that the lines are of; those of importing a module are nobody's."""
        self._lines.switch_context(item.nodeid)
        began = time.process_time()
        result = yield
        self._seconds[item.nodeid] = time.process_time() - began
        self._lines.switch_context("")
        return result

    def pytest_unconfigure(self) -> None:
        """Write what was found, as JSON."""
        self._lines.stop()
        data = self._lines.get_data()
        lines = {
            str(Path(file).relative_to(self._source)): {
                str(line): tests
                for line, contexts in sorted(data.contexts_by_lineno(file).items())
                if (tests := sorted(filter(None, contexts)))
            }
            for file in sorted(data.measured_files())
        }
        self._found.write_text(json.dumps([lines, self._seconds]), encoding="utf-8")


def read(found: Path) -> LineTests:
    """Return what a watched run of tests wrote."""
    return LineTests(*json.loads(found.read_text(encoding="utf-8")))
