"""Which columns a prediction looks at: attention from the target elements to the features.

Attention says where a network looks, not why, and not what would happen if a cell were another: of two columns that say
the same it may look at either. Read it as a hint that a permutation of the column can test.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabstar_lit.arrays import Float64
from tabstar_lit.data import verbalize
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.deployment.serving import TableServer
from tabstar_lit.nn.tabstar import InteractionEncoder
from tabstar_lit.plots.bars import MOST_BARS, draw_bars
from tabstar_lit.plots.style import new_figure, save_figure

Method = Literal["rollout", "mean", "last"]
"""How layers become one: attention rollout (arXiv 2005.00928, the residual stream counted as half of each layer), the
mean over layers, or the last layer alone."""

METHODS: tuple[Method, ...] = get_args(Method)


class Importance(NamedTuple):
    """Shares of attention.

    Attributes
    ----------
    columns : DataFrame
        ``column``, ``importance`` (mean over rows; all together 1) and ``spread`` (standard deviation over rows), most
        important first. Columns that the training left out have 0.
    rows : DataFrame
        A row for each row, a column for each column; every row adds up to 1.
    """

    columns: pd.DataFrame
    rows: pd.DataFrame


def explain(
    server: TableServer, chunks: Iterable[pd.DataFrame], *, method: Method = "rollout", batch_size: int = 256
) -> Importance:
    """Return how much of a prediction's attention goes to each column.

    The parts of a date are added up. Attention is the mean over heads and over target elements.

    Parameters
    ----------
    server : TableServer
        Of the table.
    chunks : iterable of DataFrame
        Its rows.
    method : str
        See :data:`Method`.
    batch_size : int
        Rows in a batch; attention needs ``S²`` numbers for each row and layer.

    Raises
    ------
    DataError
        There are no rows.
    """
    names, places = _columns(server)
    parts = []
    for chunk in chunks:
        shares = _added(_shares(server, chunk, method, batch_size), places, len(names))
        parts.append(pd.DataFrame(shares, columns=names, index=chunk.index))
    if not parts:
        raise DataError(f"table '{server.name}': there are no rows.")
    rows = pd.concat(parts)
    table = pd.DataFrame({"column": names, "importance": rows.mean().to_numpy(), "spread": rows.std(ddof=0).to_numpy()})
    return Importance(table.sort_values("importance", ascending=False, kind="stable", ignore_index=True), rows)


def draw_importance(importance: Importance, path: Path, *, note: str) -> Path:
    """Draw the most important columns as bars, with the spread over rows."""
    table = importance.columns
    values = dict(zip(table["column"], zip(table["importance"], table["spread"], strict=True), strict=True))
    figure, (axes,) = new_figure(height=1.2 + 0.24 * min(len(values), MOST_BARS))
    draw_bars(axes, values, xlabel="share of attention")
    axes.set_xlim(0, None)
    return save_figure(figure, path, note=note)


def _columns(server: TableServer) -> tuple[list[str], list[int]]:
    """Return the columns of the table, and which of them each feature belongs to."""
    schema: Mapping[str, Any] = server.schema
    parts = {
        verbalize.column_text(f"{name}_{part}"): verbalize.column_text(name)
        for name, own in schema["dates"].items()
        for part in own
    }
    owners = [parts.get(name, name) for name in server.features]
    names = list(dict.fromkeys([*owners, *(parts.get(name, name) for name in schema["dropped"])]))
    return names, [names.index(name) for name in owners]


def _added(shares: Float64, places: list[int], count: int) -> Float64:
    """Add the features ``[n, M]`` of each column up: ``[n, count]``."""
    sums = np.zeros((len(shares), count))
    for feature, place in enumerate(places):
        sums[:, place] += shares[:, feature]
    return sums


def _shares(server: TableServer, frame: pd.DataFrame, method: Method, batch_size: int) -> Float64:
    """Return the features' shares of the target elements' attention, ``[n, M]``; each row adds up to 1."""
    count, network = server.n_targets, server.network
    with server.served(frame, batch_size) as batches:
        maps = (_joined(attention_maps(network.tabular_encoder, network.elements(batch)), method) for batch in batches)
        own = torch.cat([joined[:, :count, count:].double().mean(dim=1).cpu() for joined in maps])
    shares: Float64 = (own / own.sum(dim=1, keepdim=True)).numpy()
    return shares


def attention_maps(encoder: InteractionEncoder, elements: Tensor) -> Tensor:
    """Return the attention of every layer, mean over heads: ``[L, B, S, S]``, from asking to asked element."""
    maps = []
    for layer in encoder.layers:
        normed = layer.norm1(elements)
        attended, weights = layer.self_attn(normed, normed, normed, need_weights=True)
        elements = elements + attended
        hidden = layer.activation(layer.linear1(layer.norm2(elements)))
        elements = elements + layer.linear2(hidden)
        maps.append(weights)
    return torch.stack(maps)


def _joined(maps: Tensor, method: Method) -> Tensor:
    """Make one map ``[B, S, S]`` of those of the layers."""
    if method == "last":
        return maps[-1]
    if method == "mean":
        return maps.mean(dim=0)
    own = torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)
    flow = own.expand_as(maps[0])
    for layer in maps:
        flow = (0.5 * layer + 0.5 * own) @ flow
    return flow
