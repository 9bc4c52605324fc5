"""Low-rank adapters (LoRA, arXiv 2106.09685) through ``peft``, where the package ``tabstar`` has them.

These are: queries, keys and values of the upper text layers; in fusion and interaction the projection behind attention
and the feed-forward layers; the first layer of both heads. Only adapters are trained.
"""

from __future__ import annotations

from collections.abc import Iterator

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.tabstar.config import LoraConfig
from tabstar_lit.families.tabstar.heads import BothHeads
from tabstar_lit.families.tabstar.network import TabStarNetwork
from tabstar_lit.nn.tabstar import NumericalFusion


def add_adapters(network: TabStarNetwork, lora: LoraConfig) -> None:
    """Put adapters into a network and freeze everything else; they change nothing before they are trained.

    Raises
    ------
    ConfigError
        The package ``peft`` is not installed.
    """
    try:
        import peft
    except ModuleNotFoundError as error:
        raise ConfigError(
            "model_config.lora needs the package peft: pip install 'tabstar_lit[finetune]'. Or train the weights "
            "themselves: model_config=tabstar/finetune_full."
        ) from error
    own = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(adapted_layers(network)),
    )
    peft.inject_adapter_in_model(own, network)
    network.text_encoder.recount()


def adapted_layers(network: TabStarNetwork) -> Iterator[str]:
    """Yield the names of the linear layers that get an adapter."""
    for number, layer in enumerate(network.text_encoder.encoder.layer):
        if any(parameter.requires_grad for parameter in layer.parameters()):
            attention = f"text_encoder.encoder.layer.{number}.attention.self"
            yield from (f"{attention}.{own}" for own in ("query", "key", "value"))
    layers = [f"tabular_encoder.encoder.layers.{number}" for number in range(len(network.tabular_encoder.layers))]
    if isinstance(network.numerical_fusion, NumericalFusion):
        layers.append("numerical_fusion.fusion_block")
    for layer in layers:
        yield from (f"{layer}.{own}" for own in ("self_attn.out_proj", "linear1", "linear2"))
    heads = ("reg_head.scalar_head", "reg_head.dist_head") if isinstance(network.reg_head, BothHeads) else ("reg_head",)
    yield from (f"{head}.layers.0" for head in ("cls_head", *heads))
