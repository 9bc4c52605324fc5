"""Print the speed of every family, or of those named: ``python -m benchmarks.bench [family ...]``."""

from __future__ import annotations

from collections.abc import Sequence

import click

from benchmarks import (
    antibody_generation,
    checkpoints,
    events,
    experts,
    experts_networks,
    fakes,
    many_tables,
    microbes,
    official_speed,
    signal,
    startup,
    tabstar,
)

FIGURES = {
    "startup": startup.figures,
    "checkpoints": checkpoints.figures,
    "tabstar": tabstar.figures,
    "many_tables": many_tables.figures,
    "tabstar_official": official_speed.figures,
    "signal": signal.figures,
    "events": events.figures,
    "fakes": fakes.figures,
    "experts": experts.figures,
    "experts_networks": experts_networks.figures,
    "microbes": microbes.figures,
    "antibody": antibody_generation.figures,
}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(FIGURES)), metavar="[NAME]...")
def main(names: Sequence[str]) -> None:
    """Print ``BENCH name=value`` for each figure, one after the other: they share the machine."""
    for name in names or FIGURES:
        for figure, value in FIGURES[name]().items():
            print(f"BENCH {figure}={value:.4g}", flush=True)


if __name__ == "__main__":
    main()
