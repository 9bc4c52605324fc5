"""Every network ``architecture_config.model`` can name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tabstar_lit.families.hep.flat_architecture import (
    EventTransformerArchitecture,
    FlatDeepSetsArchitecture,
    MLPArchitecture,
    ResNetArchitecture,
)

SignalArchitecture = Annotated[
    MLPArchitecture | ResNetArchitecture | FlatDeepSetsArchitecture | EventTransformerArchitecture,
    Field(discriminator="model"),
]
