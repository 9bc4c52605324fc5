"""Print the figures of every family, or of those named: ``python -m benchmarks.run [family ...]``."""

from __future__ import annotations

import sys

from benchmarks import tabstar

FAMILIES = {"tabstar": tabstar.figures}


def main(names: list[str]) -> None:
    for name in names or FAMILIES:
        for figure, value in FAMILIES[name]().items():
            print(f"BENCH {figure}={value:.4g}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
