"""What ``tabstar_lit predict | calibrate | export`` do with a signal classifier. Light: imports wait until they run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from tabstar_lit.data.progress import progress_bar


def predict(
    checkpoint: Path, data: Path, output: Path, *, split: str | None, spectators: bool, batch_size: int, device: str
) -> None:
    """Write the scores of the events in ``data`` as Parquet."""
    from tabstar_lit.families.hep.deployment.prediction import predict_events
    from tabstar_lit.families.hep.deployment.restore import restore

    n_events = predict_events(
        restore(checkpoint),
        data,
        output,
        split=split,
        spectators=spectators,
        batch_size=batch_size,
        device=device,
        progress=progress_bar("predicting"),
    )
    click.echo(f"wrote {output}: scores of {n_events} events")


def calibrate(
    checkpoint: Path,
    output: Path | None,
    *,
    method: Literal["temperature", "vector", "matrix"],
    data: Path | None,
    split: str,
    device: str,
) -> None:
    """Fit a calibration, print what it changes, and write the calibrated checkpoint."""
    from tabstar_lit.families.hep.deployment.calibration import calibrate_checkpoint

    output = output or checkpoint.with_name(f"{checkpoint.stem}_calibrated.ckpt")
    progress = progress_bar("calibrating")
    report = calibrate_checkpoint(
        checkpoint, output, method=method, data=data, split=split, device=device, progress=progress
    )
    click.echo(f"{report}\nwrote {output}")


def export(checkpoint: Path, output: Path, *, form: str, raw: bool) -> None:
    """Write the network as a file that needs no Python of ours."""
    from tabstar_lit.families.hep.deployment.export import export_onnx, export_safetensors
    from tabstar_lit.families.hep.deployment.restore import restore

    classifier = restore(checkpoint)
    if form == "onnx":
        difference = export_onnx(classifier, output, raw=raw)
        click.echo(f"wrote {output}: onnxruntime and torch agree to {difference:.1e} in the probabilities")
    else:
        click.echo(f"wrote {output}: {export_safetensors(classifier, output)} tensors")
