"""The network that a training starts from: a new one, or a trained one with its own architecture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tabstar_lit.engine.trained import stored_architecture
from tabstar_lit.engine.weights.loading import load_strict
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.tabstar.config import TabstarArchitecture, TabstarModel
from tabstar_lit.families.tabstar.deployment.stored import about_base, stored_config, stored_model
from tabstar_lit.families.tabstar.finetuning.adapters import add_adapters
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.nn.text_sources import encoder_payload, from_payload, load_text_encoder, load_tokenizer

CHOSEN = ("dropout", "text_encoder.dropout", "text_encoder.max_tokens", "text_encoder.unfreeze_layers")
"""Keys of ``architecture_config`` that the experiment decides, not the base: no weight has another shape by them."""


class Start(NamedTuple):
    """What a training starts from.

    Attributes
    ----------
    model : TabstarModel
        What the experiment says of it.
    architecture : TabstarArchitecture
        Of the network.
    config : Mapping or None
        What the base keeps beside its weights; None: there is none, and the network is new.
    """

    model: TabstarModel
    architecture: TabstarArchitecture
    config: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, model: TabstarModel) -> Start:
        """Look at the base, where there is one.

        Raises
        ------
        ConfigError
            The experiment asks for another architecture.
        CheckpointError
            It cannot be read, or is no TabSTAR.
        """
        if model.base is None:
            return cls(model, model.architecture_config)
        path = Path(model.base)
        config = stored_config(path)
        own = stored_architecture(TabstarArchitecture, config["architecture_config"], path)
        return cls(model, _adjusted(own, model.architecture_config, path), config)

    @property
    def tokenizer(self) -> str:
        """The ``tokenizer.json`` of its text encoder."""
        if self.config is None:
            return load_tokenizer(self.architecture.text_encoder)
        return str(self.config["encoder"]["tokenizer"])

    @property
    def tables(self) -> Mapping[str, Any]:
        """The schemas of the tables that the base was trained on, by name."""
        return {} if self.config is None else dict(self.config["tables"])

    def build(self) -> tuple[TabStarNetwork, dict[str, Any]]:
        """Return the network, with weights and adapters, and what a checkpoint keeps of it for prediction.

        Raises
        ------
        CheckpointError
            The weights of the base cannot be had, or do not fit.
        """
        wanted, lora = self.architecture.text_encoder, self.model.lora
        encoder = load_text_encoder(wanted) if self.config is None else from_payload(self.config["encoder"], wanted)
        network = TabStarNetwork(self.architecture, encoder)
        kept: dict[str, Any] = {
            "architecture_config": self.architecture.model_dump(mode="json"),
            "encoder": encoder_payload(encoder),
        }
        if self.model.base is not None:
            path = Path(self.model.base)
            weights = stored_model(path).weights
            load_strict(network, weights, strict=self.model.strict, source=str(path))
            if lora is not None:
                kept |= {"lora": lora.model_dump(), "base": about_base(path, weights)}
        if lora is not None:
            add_adapters(network, lora)
        return network, kept


def _adjusted(base: TabstarArchitecture, asked: TabstarArchitecture, path: Path) -> TabstarArchitecture:
    """Return the architecture of the base with what the experiment decides."""
    own, wanted, usual = (dict(_leaves(one.model_dump())) for one in (base, asked, TabstarArchitecture()))
    for key, value in wanted.items():
        if key not in CHOSEN and value not in (own[key], usual[key]):
            raise ConfigError(
                f"architecture_config.{key}: {value!r} is asked for, and the base {path} has {own[key]!r}. Leave it "
                f"out: of this section a fine-tuning decides {', '.join(CHOSEN)} only."
            )
    encoder = {key: wanted[f"text_encoder.{key}"] for key in ("dropout", "max_tokens", "unfreeze_layers")}
    return base.model_copy(
        update={"dropout": asked.dropout, "text_encoder": base.text_encoder.model_copy(update=encoder)}
    )


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
