"""From padded objects of several types to one set of vectors and its mask: the input of every network of objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import ConfigError
from tabstar_lit.families.hep.architecture.jagged import ObjectsArchitecture, ObjectTransformerKeys
from tabstar_lit.families.hep.architecture.sections import Embeddings, PostEmbeddings
from tabstar_lit.families.hep.batch import Columns, Features, Inputs, Objects
from tabstar_lit.families.hep.networks.features import OneHotFeatures, build_embedding
from tabstar_lit.nn.attention import MultiHeadAttention
from tabstar_lit.nn.embeddings import post_embedding
from tabstar_lit.nn.fusion import EmbeddingFusion
from tabstar_lit.nn.norms import MaskedBatchNorm


class ObjectSet(NamedTuple):
    """The objects of all types, one type after the other, ``P`` slots in total.

    Attributes
    ----------
    vectors : Tensor
        ``[B, P, E]``, 0 where padded.
    mask : Tensor
        ``[B, P]`` bool, True where there is an object of a valid type value.
    """

    vectors: Tensor
    mask: Tensor


class TypeMask(nn.Module):
    """Says which objects of one type count: those that are there and whose categories are listed.

    Parameters
    ----------
    columns : Columns
        Of the type.
    valid : sequence of str, or dict of str to sequence of str
        Categorical feature -> the categories to keep, ``#3`` being that of code 3; features not named keep all. Without
        features, of the one whose name ends in ``type``.
    name : str
        The type of object, for messages.

    Raises
    ------
    ConfigError
        When the type has no such categorical feature, or the feature no such category.
    """

    def __init__(self, columns: Columns, valid: Sequence[str] | Mapping[str, Sequence[str]], name: str) -> None:
        super().__init__()
        if not isinstance(valid, Mapping):
            valid = {_type_feature(columns, name): valid} if valid else {}
        refuse_unknown(f"valid_type_values.{name}", valid, columns.categorical, f"categorical feature of {name}")
        self.places = tuple(columns.categorical.index(feature) for feature in valid)
        for place, categories in zip(self.places, valid.values(), strict=True):
            keep = torch.zeros(columns.cardinalities[place], dtype=torch.bool)
            keep[[_code(category, columns, place, name) for category in categories]] = True
            self.register_buffer(f"keep_{place}", keep, persistent=False)

    def forward(self, objects: Objects) -> Tensor:
        """Return the mask ``[B, P]``."""
        mask = objects.mask
        for place in self.places:
            mask = mask & self.get_buffer(f"keep_{place}")[objects.categorical[..., place]]
        return mask


class TypeEmbedding(nn.Module):
    """Embeds the features of one type of object, each as configured, and reduces them to one vector.

    Parameters
    ----------
    embeddings : Embeddings
        How.
    post : PostEmbeddings
        What is done to the vector of a feature; its batch norm sees valid objects only.
    columns : Columns
        The features.
    width : int
        Length ``E`` of a vector.
    """

    def __init__(self, embeddings: Embeddings, post: PostEmbeddings, columns: Columns, width: int) -> None:
        super().__init__()
        before = PostEmbeddings() if post.batchnorm else post
        self.embed = build_embedding(embeddings, before, columns, width)
        self.norm = MaskedBatchNorm(width) if post.batchnorm else None
        self.after = post_embedding(width, act=post.act, dropout=post.dropout) or nn.Identity()

    def forward(self, objects: Objects, mask: Tensor) -> Tensor:
        """Return ``[B, P, E]``, of arbitrary content where padded."""
        vectors: Tensor
        if self.norm is None:
            vectors = self.embed(objects.numerical, objects.categorical)
            return vectors
        tokens = self.embed.tokens(objects.numerical, objects.categorical)
        tokens = self.norm(tokens, mask[..., None].expand(tokens.shape[:-1]))
        vectors = self.embed.reduction(self.after(tokens))
        return vectors


class ProjectedType(nn.Module):
    """All features of an object of one type in one linear layer, between two batch norms, then ReLU.

    A convolution over the objects of kernel size 1. The batch norms see valid objects only.

    Parameters
    ----------
    embeddings, post, columns, width
        As for :class:`TypeEmbedding`; of ``embeddings`` nothing else has an effect.
    """

    def __init__(self, embeddings: Embeddings, post: PostEmbeddings, columns: Columns, width: int) -> None:
        super().__init__()
        self.features = OneHotFeatures(len(columns.numerical), columns.cardinalities)
        self.norm, self.project = MaskedBatchNorm(self.features.n_out), nn.Linear(self.features.n_out, width)
        self.norm_out = MaskedBatchNorm(width)
        self.post_norm = MaskedBatchNorm(width) if post.batchnorm else None
        self.after = post_embedding(width, act=post.act, layernorm=post.layernorm, dropout=post.dropout)

    def forward(self, objects: Objects, mask: Tensor) -> Tensor:
        """Return ``[B, P, E]``, of arbitrary content where padded."""
        features = self.features(objects.numerical, objects.categorical)
        vectors = self.norm_out(self.project(self.norm(features, mask)), mask).relu()
        if self.post_norm is not None:
            vectors = self.post_norm(vectors, mask)
        embedded: Tensor = vectors if self.after is None else self.after(vectors)
        return embedded


class EventEmbedding(nn.Module):
    """Embeds the features of the event and fuses them with its objects.

    Parameters
    ----------
    config : ObjectsArchitecture
        Says how; without ``flat_embeddings``, as for objects.
    columns : Columns
        The features of the event.
    width : int
        Length ``E`` of an object's vector.
    """

    def __init__(self, config: ObjectsArchitecture, columns: Columns, width: int) -> None:
        super().__init__()
        given = config.flat_embeddings
        own_width = width if given is None or given.embedding_dim is None else given.embedding_dim
        self.embed = build_embedding(given or config.embeddings, config.post_flat_embeddings, columns, own_width)
        self.project = nn.Identity() if own_width == width else nn.Linear(own_width, width)
        fuse = config.flat_embeddings_fuse
        self.fuse = EmbeddingFusion(fuse.mode, width, fuse.fuse_kwargs)

    def forward(self, features: Features, vectors: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the objects ``[B, P, E]`` with what the event adds to them, and their mask; mode cat adds a slot."""
        event = self.project(self.embed(features.numerical, features.categorical))
        fused: tuple[Tensor, Tensor] = self.fuse(event, vectors, mask)
        return fused


class ObjectEmbedding(nn.Module):
    """The objects of all types as one set of vectors, on request with their type and with the event's features.

    Event features are fused where ``flat_embeddings`` is configured, or where there are some and no ``flat_model``
    reads them.

    Parameters
    ----------
    config : ObjectsArchitecture
        How features are embedded, typed, masked and fused.
    inputs : Inputs
        The features.
    width : int
        Length ``E`` of a vector.

    Attributes
    ----------
    extra_slots : int
        Slots in front of the objects: 1 where fusion puts the event there, else 0.

    Raises
    ------
    ConfigError
        When the configuration names a type or a feature that there is not.
    """

    def __init__(self, config: ObjectsArchitecture, inputs: Inputs, width: int) -> None:
        super().__init__()
        types = self.types = tuple(inputs.objects)
        refuse_unknown("valid_type_values", config.valid_type_values, types, "type of object")
        valid, embeddings, post = config.valid_type_values, config.embeddings, config.post_embeddings
        columns = inputs.objects.items()
        self.masks = nn.ModuleList(TypeMask(c, valid.get(name, {}), name) for name, c in columns)
        kind = ProjectedType if embeddings.conv1d_embedding else TypeEmbedding
        self.embeddings = nn.ModuleList(kind(embeddings, post, c, width) for _, c in columns)
        self.type_vectors = nn.Parameter(torch.randn(len(types), width) * 0.02) if config.add_particle_types else None
        reads_event = bool(inputs.events.numerical or inputs.events.categorical)
        fuses = config.flat_embeddings is not None or (reads_event and config.flat_model is None)
        self.event = EventEmbedding(config, inputs.events, width) if fuses else None
        self.extra_slots = int(fuses and config.flat_embeddings_fuse.mode == "cat")

    def forward(self, features: Features) -> ObjectSet:
        """Embed, mask and join the objects of all types."""
        per_type = self._by_type(features)
        vectors = torch.cat([part.vectors for part in per_type], dim=1)
        mask = torch.cat([part.mask for part in per_type], dim=1)
        if self.event is None:
            return ObjectSet(vectors, mask)
        vectors, mask = self.event(features, vectors, mask)
        return ObjectSet(torch.where(mask[..., None], vectors, 0.0), mask)

    def _by_type(self, features: Features) -> list[ObjectSet]:
        parts = []
        for number, (name, masked, embed) in enumerate(zip(self.types, self.masks, self.embeddings, strict=True)):
            objects = features.objects[name]
            mask = masked(objects)
            vectors = embed(objects, mask)
            if self.type_vectors is not None:
                vectors = vectors + self.type_vectors[number]
            parts.append(ObjectSet(torch.where(mask[..., None], vectors, 0.0), mask))
        return parts


def _type_feature(columns: Columns, name: str) -> str:
    """Return the categorical feature of a type of object that tells its kinds apart."""
    found = [feature for feature in columns.categorical if feature.endswith("type")]
    if len(found) != 1:
        raise ConfigError(
            f"architecture_config.valid_type_values.{name} names no feature, and {len(found) or 'none'} of the "
            f"categorical features of {name} in dataset_config.features ({', '.join(columns.categorical) or 'none'}) "
            f"end in 'type': write {{{name}: {{FEATURE: [CATEGORY, ...]}}}}, and add the feature if it is not there."
        )
    return found[0]


def _code(category: str, columns: Columns, place: int, name: str) -> int:
    """Return the code of a category of the categorical feature number ``place``."""
    names = columns.categories[place] if columns.categories else ()
    if category in names:
        return names.index(category) + 1
    if category.startswith("#") and category[1:].isdigit() and int(category[1:]) < columns.cardinalities[place]:
        return int(category[1:])
    raise ConfigError(
        f"architecture_config.valid_type_values.{name}.{columns.categorical[place]} lists '{category}', which no "
        f"training event has.{suggestion(category, names, listed='It has')}"
    )


def attention_of(config: ObjectTransformerKeys) -> MultiHeadAttention:
    """Build an attention layer of a transformer over objects."""
    return MultiHeadAttention(
        config.embedding_dim,
        config.heads,
        dim_head=config.dim_head,
        dropout=config.attn_dropout,
        kernels=() if config.sdp_backend is None else config.sdp_backend.names,
    )


def refuse_unknown(where: str, names: Iterable[str], known: tuple[str, ...], kind: str) -> None:
    """Refuse names below ``architecture_config.<where>`` that are not there.

    Raises
    ------
    ConfigError
        Naming the first one, those there are, and the nearest.
    """
    for name in names:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise ConfigError(
                f"architecture_config.{where} names '{name}', which is no {kind} in dataset_config.features; "
                f"there: {allowed}.{suggestion(name, known)}"
            )
