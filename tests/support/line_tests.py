"""Which tests run which line of the source, and what each costs: found by running them once, under coverage."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import coverage
import pytest


@dataclass(frozen=True)
class LineTests:
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

    @cached_property
    def sizes(self) -> Counter[str]:
        """How many lines each test runs."""
        return Counter(test for lines in self.lines.values() for names in lines.values() for test in names)

    def running(self, module: Path, lines: Iterable[int]) -> set[str]:
        """Return the tests that ran one of the lines of a module, whose path is below the source."""
        known = self.lines.get(str(module), {})
        return {test for line in lines for test in known.get(str(line), ())}

    def of_files(self, files: Iterable[str]) -> set[str]:
        """Return the tests of files, whose paths are as pytest names them."""
        wanted = set(files)
        return {test for test in self.seconds if test.partition("::")[0] in wanted}

    def chosen(self, tests: Iterable[str], name: str, budget: float) -> list[str]:
        """Return tests that come first: of files called after a module, then those that run the fewest lines.

        A test that runs few lines looks closely at these; one that trains runs most lines, and looks at what comes out.

        Parameters
        ----------
        tests : iterable of str
            What to choose of.
        name : str
            That of the module.
        budget : float
            Processor seconds that the tests may take together; the first is taken whatever it costs.
        """
        found = sorted(tests, key=lambda test: (name not in Path(test.partition("::")[0]).stem, self.sizes[test], test))
        chosen, spent = found[:1], 0.0
        for test in found[1:]:
            if spent + self.seconds[test] <= budget:
                spent += self.seconds[test]
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


def joined(parts: Iterable[LineTests]) -> LineTests:
    """Return as one what runs of other tests have shown."""
    lines: dict[str, dict[str, list[str]]] = {}
    seconds: dict[str, float] = {}
    for part in parts:
        seconds |= part.seconds
        for module, tests in part.lines.items():
            own = lines.setdefault(module, {})
            for line, names in tests.items():
                own[line] = own.get(line, []) + names
    return LineTests(lines, seconds)
