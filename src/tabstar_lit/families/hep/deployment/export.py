"""A model of events for programs that know nothing of ours: as ONNX graph, or a classifier's weights in safetensors."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tabstar_lit.arrays import Float32
from tabstar_lit.data.outputs import whole_file
from tabstar_lit.engine.exporting import write_weights
from tabstar_lit.errors import CheckpointError, ConfigError
from tabstar_lit.families.hep.deployment.classifier import Classifier
from tabstar_lit.families.hep.deployment.event_model import EventModel
from tabstar_lit.families.hep.deployment.export_check import made_up, require_equal
from tabstar_lit.families.hep.deployment.export_graph import ExportedClassifier, ExportedEvents
from tabstar_lit.families.hep.networks.calibrated import Calibrated
from tabstar_lit.families.hep.preparation.agreement import json_text
from tabstar_lit.families.hep.preparation.recipes import BlockRecipe

METADATA_KEY = "tabstar_lit"
FORMAT_VERSION = 1
EXTRA = ("onnx", "onnxscript", "onnxruntime")


def export_onnx(classifier: Classifier, output: Path, *, raw: bool = False) -> float:
    """Write a classifier as a graph with the outputs ``logits`` ``[B, K]`` and ``probabilities`` ``[B, C]``.

    See :func:`write_graph` for everything else.
    """
    exported = ExportedClassifier(classifier, raw=raw)
    return write_graph(exported, classifier, output, describe(classifier, raw=raw), raw=raw)


def write_graph(
    exported: ExportedEvents, model: EventModel, output: Path, description: Mapping[str, Any], *, raw: bool
) -> float:
    """Write a graph for any number of events, once onnxruntime has computed the same with it as torch.

    Parameters
    ----------
    exported : ExportedEvents
        Has the names of inputs and outputs.
    model : EventModel
        What it was made of.
    output : Path
        The ONNX file.
    description : Mapping
        What a program needs to fill the inputs, which becomes JSON in the graph's metadata under ``tabstar_lit``.
    raw : bool
        Numbers are given in the units of the event file and scaled in the graph.

    Returns
    -------
    float
        The largest difference of the last output that the comparison met.

    Raises
    ------
    ConfigError
        The packages for ONNX are not installed, or ``raw`` and a scaler has no graph.
    CheckpointError
        The network has no graph, or the graph does not compute what the network does.
    """
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise ConfigError(f"exporting to ONNX needs {', '.join(missing)}: pip install 'tabstar_lit[onnx]'")
    program = _program(exported.eval(), model, raw=raw)
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # traces of the stack, with paths of this machine
    program.model.metadata_props[METADATA_KEY] = json_text(description)
    with whole_file(output) as part:
        program.save(part)
        return require_equal(_Session(part, exported.output_names), exported, model, raw=raw)


def export_safetensors(classifier: Classifier, output: Path) -> int:
    """Write the weights, named as in the network, as :func:`~tabstar_lit.engine.exporting.write_weights` does.

    What other programs need stands as JSON in the file's metadata under ``tabstar_lit``; a calibration is written as
    ``calibration.weight`` and ``calibration.bias``.

    Returns
    -------
    int
        Number of tensors.
    """
    network = classifier.network.network if isinstance(classifier.network, Calibrated) else classifier.network
    description = describe(classifier, raw=False) | {
        "architecture_config": classifier.config["architecture_config"],
        "output_dim": classifier.config["output_dim"],
    }
    return write_weights(network, classifier.config, output, {METADATA_KEY: json_text(description)})


def describe(classifier: Classifier, *, raw: bool) -> dict[str, Any]:
    """Return what a program needs to fill the inputs and to read the outputs, as plain values."""
    calibration = classifier.config.get("calibration")
    return describe_inputs(classifier, raw=raw) | {
        "classes": list(classifier.classes),
        "signal": list(classifier.preprocessor.signal),
        "calibration": None if calibration is None else calibration["method"],
    }


def describe_inputs(model: EventModel, *, raw: bool) -> dict[str, Any]:
    """Return what a program needs to fill the inputs, as plain values.

    ``inputs`` lists the columns of each input in their order; the codes of a category are 1, 2, … in the order of
    ``categories``, and 0 for any other. ``preprocessing`` holds the scalers with all they learned.
    """
    own, columns = model.preprocessor, model.preprocessor.inputs
    inputs = _columns("", own.events, columns.events.numerical, raw=raw)
    objects = {}
    for name, recipe in own.objects.items():
        inputs |= _columns(f"{name}_", recipe.features, columns.objects[name].numerical, raw=raw)
        inputs[f"{name}_mask"] = [f"true where there is one of the {name}"]
        if recipe.momentum:
            inputs[f"{name}_momenta"] = ["pt", "eta", "phi", "energy"]
        objects[name] = {"slots": recipe.slots, "order_by": recipe.order_by, "momentum": recipe.momentum}
    return {
        "format_version": FORMAT_VERSION,
        "checkpoint": model.path.name,
        "scaled_in_graph": raw,
        "inputs": inputs,
        "objects": objects,
        "preprocessing": model.config["preprocessing"],
    }


def _columns(prefix: str, recipe: BlockRecipe, scaled: tuple[str, ...], *, raw: bool) -> dict[str, list[Any]]:
    numbers = [number.name for number in recipe.numbers] if raw else list(scaled)
    codes = [{"name": own.name, "categories": list(own.categories)} for own in recipe.categories]
    named: dict[str, list[Any]] = {f"{prefix}numerical": numbers, f"{prefix}categorical": codes}
    return {name: listed for name, listed in named.items() if listed}


def _program(module: ExportedEvents, model: EventModel, *, raw: bool) -> Any:
    """Trace the graph; its axis of events is free, the slots of objects are fixed."""
    _, inputs = made_up(model, 3, np.random.default_rng(1), raw=raw)
    events = torch.export.Dim("events", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it notes the absence of packages nobody needs here
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about torch's own code, and names of axes that ONNX does not keep
            return torch.onnx.export(
                module,
                tuple(inputs[name] for name in module.input_names),
                input_names=module.input_names,
                output_names=module.output_names,
                dynamic_shapes=(tuple({0: events} for _ in module.input_names),),
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        reason = (str(_first_cause(error)).strip() or repr(error)).splitlines()[0]
        raise CheckpointError(f"{model.path}: the network cannot be exported as a graph: {reason}") from error


def _first_cause(error: BaseException) -> BaseException:
    """Return the error that all others were raised from: it names what has no graph, theirs say where they met it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


class _Session:
    """A graph that onnxruntime runs."""

    def __init__(self, path: Path, output_names: tuple[str, ...]) -> None:
        import onnxruntime

        self._names = output_names
        self._session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Float32]:
        wanted = [node.name for node in self._session.get_inputs()]
        outputs = self._session.run(self._names, {name: inputs[name].numpy() for name in wanted})
        return dict(zip(self._names, outputs, strict=True))
