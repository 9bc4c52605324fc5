"""What all sections of a configuration have in common, and the number types they are made of."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from tabstar_lit.config.tree import Problem

Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]
PositiveNumber = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegativeNumber = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Fraction = Annotated[float, Field(ge=0, le=1)]
OTHER_SPELLINGS = "x-also-spelled"
Name = Annotated[str, Field(min_length=1)]


class AlsoSpelled:
    """Marks a field as also accepting other names in YAML and on the command line."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __get_pydantic_json_schema__(self, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tell the JSON Schema of files about the other names."""
        return {**handler(core_schema), OTHER_SPELLINGS: list(self.names)}


class Section(BaseModel):
    """A part of the schema: unknown keys are refused, types are strict, and nothing changes after loading.

    Spellings other systems use are accepted with ``Annotated[type, AlsoSpelled("other")]``; they are turned
    into the field's own name before files are merged.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, protected_namespaces=())

    def problems(self) -> Iterable[Problem]:
        """Give the mistakes that concern several keys; paths are relative to here, in YAML names."""
        return ()


class Choice(Section):
    """A part that chooses something by name and gives it parameters; the name alone chooses it without any.

    A name that stands in its place is made a mapping before files are merged.

    Attributes
    ----------
    name_key : str
        Key of the name.
    """

    name_key: ClassVar[str]

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tell the JSON Schema of files about the name alone."""
        return {**handler(core_schema), "type": ["object", "string"]}
