"""``tabstar_lit convert nanothink``. Light: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.engine.options import examples, output_option


@click.command(
    epilog=examples(("tabstar_lit convert nanothink transformer_expert.pt -o expert.ckpt", "theirs to ours"))
)
@click.argument("checkpoint", type=click.Path(path_type=Path))
@output_option("The checkpoint of this program.")
@click.option("--tokenizer", default="gpt2", show_default=True, help="What it was trained with: bytes, or gpt2.")
def nanothink(*, checkpoint: Path, output: Path, tokenizer: str) -> None:
    """Read an expert that NanoThink's own scripts trained, such as checkpoints/transformer_expert.pt.

    What is written can be read by `predict` and `generate`, and be the model_config.transformer_checkpoint of a stage.
    """
    from tabstar_lit.engine.weights.files import AtomicCheckpointIO
    from tabstar_lit.families.experts.original import read_original
    from tabstar_lit.families.experts.text.tokenizing import find_tokenizer

    read = read_original(checkpoint)
    AtomicCheckpointIO().save_checkpoint(read.checkpoint(find_tokenizer(tokenizer)), output)
    click.echo(f"wrote {output}: a {read.role} of epoch {read.epoch}, step {read.step:,}")
    if read.role == "diffuser":
        click.echo("The diffuser attended to later tokens there, and does not here: train it on before you use it.")
