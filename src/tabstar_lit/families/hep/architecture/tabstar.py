"""Options of TabSTAR over collision events: the blocks' sizes, and what every network has."""

from __future__ import annotations

from typing import Literal

from tabstar_lit.families.hep.architecture.sections import NetworkArchitecture
from tabstar_lit.nn.tabstar_config import TabstarSizes


class TabSTARArchitecture(TabstarSizes, NetworkArchitecture):
    """TabSTAR (arXiv 2505.18125): features, categories and classes are known by their names."""

    model: Literal["TabSTAR"]
