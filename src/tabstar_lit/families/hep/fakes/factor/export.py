"""A learned fake factor as an ONNX graph, for analyses that know nothing of ours."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from tabstar_lit.families.hep.batch import Features
from tabstar_lit.families.hep.deployment.export import describe_inputs, write_graph
from tabstar_lit.families.hep.deployment.export_graph import ExportedEvents
from tabstar_lit.families.hep.fakes.ensemble import displaced, over_heads
from tabstar_lit.families.hep.fakes.factor.model import RatioModel


class ExportedRatio(ExportedEvents):
    """The logarithm of the ratio by each head ``[B, C]``, and of all heads the ratio and its uncertainty ``[B]``.

    Of the stage ``ratio`` that is the fake factor, as ``tabstar_lit predict`` writes it.
    """

    output_names = ("log_ratios", "error", "factor")

    def __init__(self, model: RatioModel, *, raw: bool) -> None:
        super().__init__(model, raw=raw)
        self.log_ratio, self.ensemble = model.loss.log_ratio, model.ensemble

    def answer(self, features: Features) -> tuple[Tensor, Tensor, Tensor]:
        """Return log-ratios, uncertainty and factor."""
        log_ratios = self.log_ratio(self.network(features).float())
        moved = displaced(features.numerical, self.ensemble.radius)
        around = [self.log_ratio(self.network(features._replace(numerical=own)).float()).double() for own in moved]
        known = over_heads(log_ratios.double(), self.ensemble, around)
        return log_ratios, known.ratio_error().float(), known.ratio().float()


def export_onnx(model: RatioModel, output: Path, *, raw: bool = False) -> float:
    """Write the ratio as a graph, see :func:`~tabstar_lit.families.hep.deployment.export.write_graph`.

    Returns
    -------
    float
        The largest difference of a factor between onnxruntime and torch.
    """
    description = describe_inputs(model, raw=raw) | {"role": model.role}
    return write_graph(ExportedRatio(model, raw=raw), model, output, description, raw=raw)
