"""What the fakes family adds to ``tabstar_lit convert``. Light: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tabstar_lit.engine.options import examples, output_option
from tabstar_lit.families.hep.fakes.toy.config import TOYS, WEIGHT_KINDS, FakesToy

SHAPE = "signal, background, resonance or qcd, with parameters as in 'resonance:250,100' and '+tail' for a boosted tail"


@click.command(
    "fakes-toy",
    epilog=examples(
        ("tabstar_lit convert fakes-toy -o toy.h5", "one variable"),
        ("tabstar_lit convert fakes-toy -o toy.h5 --variables pt_eta --seed 1", "two"),
    ),
)
@output_option("The event file.")
@click.option("--variables", type=click.Choice(TOYS), default="pt", show_default=True, help="One variable, or two.")
@click.option("--events", "n_events", type=int, default=200_000, show_default=True, help="Number of events.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Equal seeds give equal events.")
@click.option("--prompt", default="", metavar="SHAPE", help=f"Spectrum of real leptons: {SHAPE}.")
@click.option("--tight", default="", metavar="SHAPE", help="Spectrum of tight fakes, with one variable.")
@click.option("--loose", default="", metavar="SHAPE", help="Spectrum of loose fakes, with one variable.")
@click.option("--mc-weights", type=click.Choice(WEIGHT_KINDS), default="lognormal", show_default=True)
@click.option("--data-weights", type=click.Choice(WEIGHT_KINDS), default="unity", show_default=True)
@click.option("--poisson", is_flag=True, help="Let the numbers of events vary with the seed, as in real samples.")
def fakes_toy(output: Path, **options: Any) -> None:
    """Make toy events of tight and loose leptons, whose fake factor is known in closed form."""
    toy = FakesToy(**options)
    from tabstar_lit.families.hep.fakes.toy.events import toy_fakes

    file = toy_fakes(output, toy)
    click.echo(f"wrote {output}: {file.n_events} events, classes {', '.join(file.classes)}")
