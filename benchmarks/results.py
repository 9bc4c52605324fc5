"""Run quality experiments, print their figures and write ``docs/results.md``.

``python -m benchmarks.results [experiment ...]`` prints one line per figure, ``RESULT name=value``. Without names all
experiments run. Every family adds its own to :data:`EXPERIMENTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click

from benchmarks import (
    antibody_pairs,
    antibody_results,
    coverage,
    experts_results,
    fakes_results,
    microbes_labels,
    microbes_results,
    signal_results,
    tabstar_heads,
    tabstar_leftout,
    tabstar_official,
    tabstar_results,
)
from benchmarks.experiment import limited
from benchmarks.page import Section, print_results, write_section
from tabstar_lit.commands.errors import reported_errors

PAGE = Path(__file__).resolve().parents[1] / "docs" / "results.md"

EXPERIMENTS: dict[str, Callable[[], Section]] = {
    "builtin": tabstar_results.builtin,
    "real_tables": tabstar_results.real_tables,
    "tabstar_leftout": tabstar_leftout.leftout,
    "tabstar_heads": tabstar_heads.heads,
    "tabstar_official": tabstar_official.official,
    "higgsml": signal_results.higgsml,
    "higgs_uci": signal_results.higgs_uci,
    "jets": signal_results.jets,
    "fakes_toys": coverage.toys,
    "fakes_losses": fakes_results.losses,
    "fakes_prompt_rich": coverage.prompt_rich,
    "fakes_toy2d": fakes_results.toy_2d,
    "fakes_coverage": coverage.toys_2d,
    "fakes_zee": fakes_results.zee,
    "experts_shakespeare": experts_results.shakespeare,
    "experts_equal_budget": experts_results.equal_budget,
    "antibody_toy": antibody_results.toy,
    "antibody_complexes": antibody_results.complexes,
    "antibody_her2": antibody_results.her2,
    **{f"microbes_{own.name}": partial(microbes_results.cross_validated, own) for own in microbes_results.QUESTIONS},
    **{f"microbes_{own.name}_labels": partial(microbes_labels.by_labels, own) for own in microbes_labels.QUESTIONS},
}
"""In the order of the page."""

NEEDS: dict[str, Callable[[], object]] = {
    **dict.fromkeys(("real_tables", "tabstar_leftout", "tabstar_heads"), tabstar_results.find_manifest),
    **dict.fromkeys(("experts_shakespeare", "experts_equal_budget"), experts_results.find_texts),
    **dict.fromkeys(("antibody_complexes", "antibody_her2"), antibody_pairs.find_antibodies),
    **dict.fromkeys((f"microbes_{own.name}" for own in microbes_results.QUESTIONS), microbes_results.find_microbiome),
    **dict.fromkeys(
        (f"microbes_{own.name}_labels" for own in microbes_labels.QUESTIONS), microbes_results.find_microbiome
    ),
    **dict.fromkeys(("higgsml", "higgs_uci", "jets", "fakes_zee"), signal_results.find_events),
}
"""What an experiment must find before anything is trained."""


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(EXPERIMENTS)), metavar="[EXPERIMENT]...")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="Where to train.")
@click.option("--max-time", help="DD:HH:MM:SS that a stage of a training may take, at most.")
def main(names: Sequence[str], device: str, max_time: str | None) -> None:
    """Run EXPERIMENTs, all of them when none is named."""
    with limited(device, max_time), reported_errors():
        chosen = [name for name in EXPERIMENTS if not names or name in names]
        for name in chosen:
            NEEDS.get(name, lambda: None)()
        for name in chosen:
            section = EXPERIMENTS[name]()
            write_section(PAGE, name, section, list(EXPERIMENTS))
            print_results(section)
    click.echo(f"wrote {PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE}", err=True)


if __name__ == "__main__":
    main()
