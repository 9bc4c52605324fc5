"""Every network ``architecture_config.model`` can name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tabstar_lit.families.hep.architecture.flat import (
    EventTransformerArchitecture,
    MLPArchitecture,
    ResNetArchitecture,
)
from tabstar_lit.families.hep.architecture.jagged import (
    DeepSetsArchitecture,
    ParticleTransformerArchitecture,
    SetTransformerArchitecture,
)
from tabstar_lit.families.hep.architecture.tabstar import TabSTARArchitecture

SignalArchitecture = Annotated[
    MLPArchitecture
    | ResNetArchitecture
    | EventTransformerArchitecture
    | TabSTARArchitecture
    | DeepSetsArchitecture
    | SetTransformerArchitecture
    | ParticleTransformerArchitecture,
    Field(discriminator="model"),
]
