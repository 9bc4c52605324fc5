"""``tabstar_lit fakes``: what is done with a learned fake factor. Light: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path

import click

from tabstar_lit.data.progress import progress_bar
from tabstar_lit.engine.options import CommandGroup, batch_size_option, checkpoint_argument, examples, output_option
from tabstar_lit.families.hep.deployment.options import export_options, refuse_raw_weights

SPLITS = click.Choice(["test", "val", "calib", "train", "all"])


@click.group(
    cls=CommandGroup,
    epilog=examples(
        ("tabstar_lit fakes closure model.ckpt -o closure", "on held-out events"),
        ("tabstar_lit fakes apply model.ckpt loose.h5 -o fakes.parquet", "on loose ones"),
    ),
)
def fakes() -> None:
    """Test a learned fake factor, and apply it to loose events."""


@fakes.command(
    epilog=examples(
        ("tabstar_lit fakes closure model.ckpt -o closure", "all variables"),
        ("tabstar_lit fakes closure model.ckpt --variable pt --bins 10 -o closure", "one"),
    )
)
@checkpoint_argument
@click.option("--events", type=click.Path(path_type=Path), help="An event file; that of the training by default.")
@click.option("--split", type=SPLITS, default="test", show_default=True, help="Side of the training's split.")
@click.option("--variable", "variables", multiple=True, help="Compare in this one; may be given several times.")
@click.option("--bins", type=click.IntRange(min=1), default=20, show_default=True, help="Bins of each variable.")
@click.option("--model-errors", is_flag=True, help="Count the spread of the heads (sigma_F) among the errors.")
@click.option(
    "-o", "--output", required=True, type=click.Path(file_okay=False, path_type=Path), help="Folder for table, figures."
)
def closure(
    *,
    checkpoint: Path,
    events: Path | None,
    split: str,
    variables: tuple[str, ...],
    bins: int,
    model_errors: bool,
    output: Path,
) -> None:
    """Compare tight data with what loose events predict, for events that CHECKPOINT was not trained on.

    CHECKPOINT is of the stage 'ratio': a path, or the name of a file below the folder of the models.
    """
    from tabstar_lit.families.hep.fakes.factor import closure_report
    from tabstar_lit.families.hep.fakes.factor.closure import measure_closure
    from tabstar_lit.families.hep.fakes.factor.restore import restore

    model = restore(checkpoint)
    side = None if split == "all" else split
    progress = progress_bar("predicting")
    found = measure_closure(model, events, split=side, variables=variables, bins=bins, progress=progress)
    click.echo(closure_report.summary(found, model=model_errors))
    closure_report.write_table(found, output / "closure.csv")
    count = closure_report.draw(found, output, model.dataset.pt_variable)
    click.echo(f"\nwrote closure.csv and {count} figures to {output}")


@fakes.command(epilog=examples(("tabstar_lit fakes apply model.ckpt loose.h5 -o fakes.parquet", "all loose events")))
@checkpoint_argument
@click.argument("events", type=click.Path(path_type=Path))
@click.option("--split", type=SPLITS, default="all", show_default=True, help="Only this side of the training's split.")
@batch_size_option(8192, "Events")
@output_option("The Parquet file.")
def apply(checkpoint: Path, events: Path, split: str, batch_size: int, output: Path) -> None:
    """Write the fake factor F and its uncertainty of each loose event in EVENTS, and sum up the fakes they predict.

    CHECKPOINT is of the stage 'ratio': a path, or the name of a file below the folder of the models.
    """
    from tabstar_lit.families.hep.fakes.factor.apply import apply_factor
    from tabstar_lit.families.hep.fakes.factor.restore import restore

    model = restore(checkpoint)
    side = None if split == "all" else split
    done = apply_factor(model, events, output, split=side, batch_size=batch_size, progress=progress_bar("predicting"))
    simulated = f" and {done.n_mc} simulated" if done.n_mc else ""
    click.echo(f"wrote {output}: {done.n_data} loose events of data{simulated}")
    if done.left_out:
        click.echo(f"left out: {done.left_out} events that pt_cut or crack_veto of the training exclude")
    click.echo(str(done.prediction))


@click.command(
    epilog=examples(
        ("tabstar_lit export model.ckpt -o factor.onnx", "for onnxruntime"),
        ("tabstar_lit export model.ckpt --safetensors -o factor.safetensors", "weights"),
    )
)
@export_options
def export(checkpoint: Path, form: str, output: Path, raw: bool) -> None:
    """Write the ratio in CHECKPOINT for programs that do without Python: of the stage 'ratio', the fake factor.

    A graph has the factor, its uncertainty and the logarithm by each head, and is written only once it has computed the
    same as the model. Weights load back: the file can be given wherever a CHECKPOINT is asked for.
    """
    refuse_raw_weights(form, raw=raw)
    from tabstar_lit.engine.exporting import write_card_beside, write_weights
    from tabstar_lit.families.hep.fakes.card import card_text
    from tabstar_lit.families.hep.fakes.factor.export import export_onnx
    from tabstar_lit.families.hep.fakes.factor.restore import restore

    model = restore(checkpoint)
    if form == "onnx":
        difference = export_onnx(model, output, raw=raw)
        click.echo(f"wrote {output}: onnxruntime and torch agree to {difference:.1e} in the ratio")
    else:
        click.echo(f"wrote {output}: {write_weights(model.network, model.config, output)} tensors")
    click.echo(f"wrote {write_card_beside(output, card_text(model.config), model.family)}")
