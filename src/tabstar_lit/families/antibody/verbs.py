"""What ``tabstar_lit`` does with a trained generator of antibodies. Light: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from tabstar_lit.data.progress import progress_bar
from tabstar_lit.engine.options import batch_size_option, checkpoint_argument, device_option, examples, output_option


@click.command(
    epilog=examples(("tabstar_lit predict model.ckpt pairs.csv -o ranked.parquet --pkd 9", "for strong binding"))
)
@checkpoint_argument
@click.argument("data", type=click.Path(path_type=Path))
@output_option("The Parquet file.")
@click.option("--pkd", type=float, help="Affinity that is asked for, the same for all; left out: none is asked for.")
@batch_size_option(64, "Antibodies")
@device_option
def predict(*, checkpoint: Path, data: Path, output: Path, pkd: float | None, batch_size: int, device: str) -> None:
    """Write how likely the antibodies of DATA are for their antigens by the model in CHECKPOINT, and rank them.

    DATA is a CSV or Parquet file with the columns antigen, heavy and, where there are light chains, light. Likelihood
    is a ranking by a model of sequences, and no measured affinity.
    """
    from tabstar_lit.data.outputs import whole_file
    from tabstar_lit.families.antibody.restore import restore

    scored = restore(checkpoint).predict(
        data, pkd=pkd, batch_size=batch_size, device=device, progress=progress_bar("scoring", "antibodies")
    )
    with whole_file(output) as part:
        scored.to_parquet(part, index=False)
    click.echo(f"wrote {output}: likelihoods of {len(scored)} antibodies")


@click.command(
    epilog=examples(
        ("tabstar_lit generate model.ckpt --antigen antigens.fasta --pkd 9", "ten for each"),
        ("tabstar_lit generate model.ckpt --antigen a.fasta --beams 5 -n 5", "the likeliest"),
    )
)
@checkpoint_argument
@click.option("--antigen", "antigens", type=click.Path(path_type=Path), required=True, help="FASTA file of antigens.")
@click.option("--pkd", type=float, help="Affinity asked for, -log10 of K_D in mol/l; left out: none is asked for.")
@click.option("-n", "--number", type=click.IntRange(min=1), default=10, show_default=True, help="For each antigen.")
@output_option("Parquet file; a FASTA file is written beside it.  [default: antibodies.parquet]", required=False)
@click.option("--temperature", type=float, default=1.0, show_default=True, help="0: the likeliest residue, always.")
@click.option("--top-k", type=int, help="Draw from this many likeliest residues.")
@click.option("--top-p", type=float, help="Draw from the likeliest residues of this probability together.")
@click.option("--beams", type=int, help="Search for the likeliest antibodies with this many beams instead.")
@click.option(
    "--length-penalty", type=float, default=1.0, show_default=True, help="Of the search; 0: likelihood alone."
)
@click.option("--guidance", type=float, help="Go beyond what antigen and pKd change: 1 is as without, 2 twice as far.")
@click.option(
    "--chains",
    type=click.Choice(["any", "single", "paired"]),
    default="any",
    show_default=True,
    help="single: a heavy chain or nanobody alone; paired: heavy and light.",
)
@click.option("--template", type=click.Path(path_type=Path), help="FASTA file of an antibody whose X are filled in.")
@click.option(
    "--fill", multiple=True, help="Region of the template to fill in, such as h_cdr3; may be given more than once."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws.")
@batch_size_option(64, "Antibodies")
@device_option
def generate(
    *,
    checkpoint: Path,
    antigens: Path,
    pkd: float | None,
    number: int,
    output: Path | None,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    beams: int | None,
    length_penalty: float,
    guidance: float | None,
    chains: Literal["any", "single", "paired"],
    template: Path | None,
    fill: tuple[str, ...],
    seed: int,
    batch_size: int,
    device: str,
) -> None:
    """Write antibodies for the antigens of a FASTA file by the model in CHECKPOINT.

    Written are a FASTA file and a Parquet table: chains, log-likelihood, the pKd asked for, the nearest antibody of the
    training with its identity, and what speaks against each as an antibody. A seed gives the same antibodies in batches
    of any size.
    """
    from tabstar_lit.families.antibody.generating.decoding import Decoding
    from tabstar_lit.families.antibody.generating.files import read_antigens, read_template, write_files
    from tabstar_lit.families.antibody.restore import restore
    from tabstar_lit.nn.beam_search import Beams
    from tabstar_lit.nn.sampling import Sampling

    generator = restore(checkpoint)
    decoding = Decoding(
        Sampling(temperature, top_k, top_p, seed),
        beams=None if beams is None else Beams(beams, length_penalty),
        guidance=guidance,
        chains=chains,
        max_tokens=generator.longest_antibody,
    )
    wanted = read_antigens(antigens)
    written = generator.generate(
        list(wanted.values()),
        names=list(wanted),
        count=number,
        pkd=pkd,
        decoding=decoding,
        template=None if template is None else read_template(template),
        fill=fill,
        batch_size=batch_size,
        device=device,
        progress=progress_bar("writing", "antibodies"),
    )
    for path in write_files(written, output or Path("antibodies.parquet")):
        click.echo(f"wrote {path}: {len(written)} antibodies for {len(wanted)} antigens")
