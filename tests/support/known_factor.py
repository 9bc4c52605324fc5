"""A model that knows the fake factor of a toy in closed form, as a checkpoint would be restored."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from fakes_bench import open_events
from torch import Tensor, nn

from tabstar_lit.families.hep.batch import Features
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.factor.restore import Restored
from tabstar_lit.families.hep.fakes.network import FakesNetwork
from tabstar_lit.families.hep.fakes.toy.closed_form import ClosedForm, closed_form
from tabstar_lit.losses.density_ratio import ratio_loss

FEATURES = {"feature_scaling": {"numer_scaler_type": None}}


class Known(nn.Module):
    """The true log-factor, moved by a constant in each head."""

    def __init__(self, form: ClosedForm, shifts: tuple[float, ...]) -> None:
        super().__init__()
        self.form, self.shifts = form, torch.tensor(shifts)

    def forward(self, features: Features) -> Tensor:
        """Return ``[B, C]``; the toys are not scaled."""
        factor = self.form.factor(features.numerical.double().numpy())
        return torch.from_numpy(np.log(factor)).float()[:, None] + self.shifts


def known_model(file: Path, shifts: tuple[float, ...] = (0.0,), role: Any = "ratio", **keys: Any) -> Restored:
    """Return the model of a toy; ``keys`` are of ``dataset_config``."""
    data = open_events(file, role, **FEATURES, **keys)
    config = {
        "family": "fakes",
        "role": role,
        "architecture_config": {"ensemble": None},
        "preprocessing": data.payload(),
        "dataset_config": data.fakes.model_dump(mode="json", exclude={"dataloader_kwargs"}),
    }
    network = cast(FakesNetwork, Known(closed_form(EventFile.open(file)), shifts))
    return Restored(Path("ratio.ckpt"), network, config, data.preprocessor, ratio_loss("bce"))
