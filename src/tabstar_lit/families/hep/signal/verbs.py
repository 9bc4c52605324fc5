"""What ``tabstar_lit`` does with a signal classifier. Light: the work is imported when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from tabstar_lit.data.progress import progress_bar
from tabstar_lit.engine.options import batch_size_option, checkpoint_argument, device_option, examples, output_option
from tabstar_lit.families.hep.deployment.options import export_options, refuse_raw_weights

METHODS = ("temperature", "vector", "matrix")


@click.command(
    epilog=examples(
        ("tabstar_lit predict model.ckpt new.h5 -o scores.parquet", "new events"),
        ("tabstar_lit predict model.ckpt new.h5 -o scores.root --root", "for ROOT"),
    )
)
@checkpoint_argument
@click.argument("data", type=click.Path(path_type=Path))
@output_option("The Parquet file, or with --root the ROOT file.")
@click.option("--split", help="Only what training put on this side: train, val, test or calib.")
@click.option("--spectators", is_flag=True, help="Carry along the spectators of the training that DATA has.")
@click.option("--root", is_flag=True, help="Write a ROOT file instead, with the tree 'scores'.")
@batch_size_option(1024)
@device_option
def predict(
    *,
    checkpoint: Path,
    data: Path,
    output: Path,
    split: str | None,
    spectators: bool,
    root: bool,
    batch_size: int,
    device: str,
) -> None:
    """Write the scores of DATA, an event file as `tabstar_lit convert` makes it, by the model in CHECKPOINT.

    The checkpoint is enough: it holds the network, its features and how they are scaled. Tables and ROOT files are
    converted first, with the configuration of the training data, where labels and weights may be left out.
    """
    from tabstar_lit.families.hep.deployment.prediction import predict_events
    from tabstar_lit.families.hep.deployment.restore import restore

    n_events = predict_events(
        restore(checkpoint),
        data,
        output,
        split=split,
        spectators=spectators,
        root=root,
        batch_size=batch_size,
        device=device,
        progress=progress_bar("predicting"),
    )
    click.echo(f"wrote {output}: scores of {n_events} events")


@click.command(
    epilog=examples(
        ("tabstar_lit calibrate model.ckpt", "on what was kept for it"),
        ("tabstar_lit calibrate model.ckpt --data more.h5 --split all", "on other events"),
    )
)
@checkpoint_argument
@click.option(
    "-m", "--method", type=click.Choice(METHODS), default=METHODS[0], show_default=True, help="What is fitted."
)
@output_option("The calibrated checkpoint; default: beside CHECKPOINT, with _calibrated in its name.", required=False)
@click.option("--data", type=click.Path(path_type=Path), help="File with the events; default: that of the training.")
@click.option(
    "--split",
    default="calib",
    show_default=True,
    help="Side of the training's split to fit on; all: every event of --data, which the training has not seen.",
)
@device_option
def calibrate(
    *,
    checkpoint: Path,
    method: Literal["temperature", "vector", "matrix"],
    output: Path | None,
    data: Path | None,
    split: str,
    device: str,
) -> None:
    """Fit temperature z / T, vector w z + b or matrix W z + b scaling of the logits z of the model in CHECKPOINT.

    It needs events kept for this (dataset_config.split.calib). Prints cross-entropy and calibration error before and
    after, and writes another checkpoint, which is used like the original.
    """
    from tabstar_lit.families.hep.deployment.calibration import calibrate_checkpoint

    output = output or checkpoint.with_name(f"{checkpoint.stem}_calibrated.ckpt")
    progress = progress_bar("calibrating")
    report = calibrate_checkpoint(
        checkpoint, output, method=method, data=data, split=split, device=device, progress=progress
    )
    click.echo(f"{report}\nwrote {output}")


@click.command(
    epilog=examples(
        ("tabstar_lit export model.ckpt -o model.onnx --raw", "for onnxruntime"),
        ("tabstar_lit export model.ckpt --safetensors -o model.safetensors", "weights"),
    )
)
@export_options
def export(checkpoint: Path, form: str, output: Path, raw: bool) -> None:
    """Write the model in CHECKPOINT for programs that do without Python.

    Features in their order, classes and scalers stand in the file's metadata. A graph is written only once it has
    computed the same as the model.
    """
    refuse_raw_weights(form, raw=raw)
    from tabstar_lit.engine.reports.card import CARD_FILE, write_card
    from tabstar_lit.families.hep.deployment.export import export_onnx, export_safetensors
    from tabstar_lit.families.hep.deployment.restore import restore
    from tabstar_lit.families.hep.signal.card import card_text

    classifier = restore(checkpoint)
    if form == "onnx":
        difference = export_onnx(classifier, output, raw=raw)
        click.echo(f"wrote {output}: onnxruntime and torch agree to {difference:.1e} in the probabilities")
    else:
        click.echo(f"wrote {output}: {export_safetensors(classifier, output)} tensors")
    text, path = card_text(classifier.config), output.with_name(f"{output.stem}.{CARD_FILE}")
    click.echo(f"wrote {write_card(text, path, checkpoint.name, family=classifier.family)}")
