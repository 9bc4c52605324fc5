"""From columns to vectors: builds the embeddings a configuration asks for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.architecture.flat import MLPKeys, ResNetArchitecture
from tabstar_lit.families.hep.architecture.sections import Embeddings, PiecewiseLinear, PostEmbeddings
from tabstar_lit.families.hep.batch import Columns, Features
from tabstar_lit.nn.embeddings import (
    CategoricalEmbedding,
    FeatureEmbedding,
    LinearStart,
    NumericalEmbedding,
    PiecewiseLinearEncoding,
    post_embedding,
)


class OneHotFeatures(nn.Module):
    """Numbers as they are, then a one-hot vector for each category: ``[..., F]``, ``[..., C]`` to ``[..., D]``."""

    def __init__(self, n_numerical: int, cardinalities: Sequence[int]) -> None:
        super().__init__()
        self.cardinalities = tuple(cardinalities)
        sizes = torch.tensor(self.cardinalities, dtype=torch.long)
        feature = torch.repeat_interleave(torch.arange(len(sizes)), sizes)
        code = torch.arange(len(feature)) - (sizes.cumsum(0) - sizes)[feature]
        self.register_buffer("feature", feature, persistent=False)
        self.register_buffer("code", code, persistent=False)
        self.n_out = n_numerical + len(feature)

    def forward(self, numerical: Tensor, categorical: Tensor) -> Tensor:
        """Put them side by side."""
        if not self.cardinalities:
            return numerical
        codes = categorical.index_select(-1, self.get_buffer("feature"))
        return torch.cat([numerical, (codes == self.get_buffer("code")).to(numerical.dtype)], dim=-1)


def build_embedding(
    embeddings: Embeddings, post: PostEmbeddings, columns: Columns, width: int, *, reduction: str | None = None
) -> FeatureEmbedding:
    """Build the embedding of one block of features, for event features as for objects.

    Parameters
    ----------
    embeddings, post
        How.
    columns : Columns
        The features.
    width : int
        Length ``E`` of a vector.
    reduction : str or None
        Instead of what `embeddings` says, for networks that can only do with one.

    Raises
    ------
    ConfigError
        When there are no features, or piecewise-linear encoding is asked for without bins.
    """
    _refuse_nothing(columns)
    numerical = None
    if columns.numerical:
        numerical = _numerical(embeddings, columns, width)
    categorical = None
    if columns.cardinalities:
        categorical = CategoricalEmbedding(columns.cardinalities, width, start=_start(embeddings))
    after = post_embedding(
        width, act=post.act, layernorm=post.layernorm, batchnorm=post.batchnorm, dropout=post.dropout
    )
    return FeatureEmbedding(
        numerical, categorical, width=width, reduction=reduction or embeddings.reduction, post=after
    )


def _refuse_nothing(columns: Columns) -> None:
    if not columns.numerical and not columns.cardinalities:
        raise ConfigError(
            "dataset_config.features has no feature for this part of the network to read; "
            "add one, or choose a network that does without."
        )


def _numerical(embeddings: Embeddings, columns: Columns, width: int) -> NumericalEmbedding:
    options = embeddings.piecewise
    if options is None:
        shared = embeddings.numer_shared_linear
        return NumericalEmbedding(len(columns.numerical), width, start=_start(embeddings), shared=shared)
    if not columns.bin_edges:
        raise ConfigError(
            "ple in architecture_config needs bins, and dataset_config.ple_bins is null; set it, 16 to 64 are usual."
        )
    return NumericalEmbedding(
        len(columns.numerical),
        width,
        encoding=PiecewiseLinearEncoding(columns.bin_edges, uniform=options.uniform_bins, learned=options.learn_bins),
        start=_start(embeddings),
        activation=_after_bins(options, width),
    )


def _start(embeddings: Embeddings) -> LinearStart:
    """Binned numbers start large: most of their bins are empty or full, so that few of their weights act."""
    return "uniform" if embeddings.numer_feature_wise_linear or embeddings.ple else "normal"


def _after_bins(options: PiecewiseLinear, width: int) -> nn.Module | None:
    return post_embedding(width, act=options.act, layernorm=options.layernorm, dropout=options.dropout)


class FlatInput(nn.Module):
    """The event features as one vector, embedded or as they are: what MLP and ResNet read.

    Parameters
    ----------
    config : MLPKeys or ResNetArchitecture
        Says which.
    columns : Columns
        The event features.
    width : int
        Length ``E`` of a feature's vector.

    Attributes
    ----------
    n_out : int
        Length ``D`` of the result: ``E``, or ``(F + C) E`` where vectors are not reduced.
    """

    def __init__(self, config: MLPKeys | ResNetArchitecture, columns: Columns, width: int) -> None:
        super().__init__()
        self.embed: OneHotFeatures | FeatureEmbedding
        if config.disable_embeddings:
            _refuse_nothing(columns)
            self.embed = OneHotFeatures(len(columns.numerical), columns.cardinalities)
            self.n_out = self.embed.n_out
        else:
            self.embed = build_embedding(config.embeddings, config.post_embeddings, columns, width)
            self.n_out = width * (self.embed.n_tokens if config.embeddings.reduction == "none" else 1)

    def forward(self, features: Features) -> Tensor:
        """Return ``[B, D]``."""
        embedded: Tensor = self.embed(features.numerical, features.categorical)
        return embedded.flatten(1)
