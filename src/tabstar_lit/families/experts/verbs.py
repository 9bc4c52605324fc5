"""What ``tabstar_lit`` does with a trained expert or mixture. Light: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.data.progress import progress_bar
from tabstar_lit.engine.options import batch_size_option, checkpoint_argument, device_option, examples, output_option


@click.command(epilog=examples(("tabstar_lit predict model.ckpt new.jsonl -o likelihoods.parquet", "of each document")))
@checkpoint_argument
@click.argument("data", type=click.Path(path_type=Path))
@output_option("The Parquet file.")
@batch_size_option(16)
@device_option
def predict(*, checkpoint: Path, data: Path, output: Path, batch_size: int, device: str) -> None:
    """Write how likely each document of DATA is to the model in CHECKPOINT.

    DATA is a file of JSON lines with the key "text", or a folder of domains, ROOT/<domain>/*.jsonl. Written are domain,
    file and line of each document, its nats, tokens and bytes, the loss per token, and bits per byte.
    """
    from tabstar_lit.families.experts.prediction import predict_texts

    totals = predict_texts(
        checkpoint,
        data,
        output,
        batch_size=batch_size,
        device=device,
        progress=progress_bar("predicting", "documents"),
    )
    click.echo(f"wrote {output}: {totals}")


@click.command(
    epilog=examples(
        ("tabstar_lit generate model.ckpt 'Once upon a time'", "go on with it"),
        ("tabstar_lit generate model.ckpt -n 3 --temperature 0.5", "three from nothing"),
    )
)
@checkpoint_argument
@click.argument("prompts", nargs=-1, metavar="[PROMPT]...")
@click.option("-n", "--number", type=click.IntRange(min=1), default=1, show_default=True, help="Texts for each PROMPT.")
@click.option(
    "--max-new-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Tokens written, at most."
)
@click.option(
    "--temperature", type=float, default=0.8, show_default=True, help="0: always the likeliest token; 1: as learned."
)
@click.option("--top-k", type=int, help="Choose among so many of the likeliest tokens.")
@click.option("--top-p", type=float, help="Choose among the fewest tokens that have this probability together.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed, the same texts.")
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    help="Masked diffusers: fill in so many tokens of a block at once, the surest first. Fewer passes, a worse text.",
)
@device_option
def generate(
    *,
    checkpoint: Path,
    prompts: tuple[str, ...],
    number: int,
    max_new_tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    at_once: int | None,
    device: str,
) -> None:
    """Print what the model in CHECKPOINT writes after each PROMPT; without one, from the beginning of a text.

    A text ends where the model ends it, or after --max-new-tokens.
    """
    from tabstar_lit.nn.sampling import Sampling

    sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    from tabstar_lit.families.experts.trained import restore

    trained = restore(checkpoint)
    begun = [prompt for prompt in prompts or ("",) for _ in range(number)]
    longest = max(len(trained.framing.prompt(prompt)) for prompt in begun) + max_new_tokens
    if longest > trained.context_length:
        click.echo(
            f"note: texts of up to {longest} tokens are longer than the rows of {trained.context_length} that the "
            "model was trained on",
            err=True,
        )
    texts = trained.generate(begun, max_new_tokens=max_new_tokens, sampling=sampling, at_once=at_once, device=device)
    for position, (prompt, text) in enumerate(zip(begun, texts, strict=True)):
        click.echo(f"{'---' + chr(10) if position else ''}{prompt}{text}")
