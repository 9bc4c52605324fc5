"""Experts of earlier stages, put into the networks that are built on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from tabstar_lit.engine.trained import read_stored, stored_architecture
from tabstar_lit.engine.weights.loading import load_strict
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.experts.architecture import EXPERTS, ExpertsArchitecture, Role
from tabstar_lit.families.experts.networks.diffusion_model import DiffusionModel
from tabstar_lit.families.experts.networks.mixture import Mixture


class Borrower(NamedTuple):
    """What an expert of an earlier stage must agree with.

    Attributes
    ----------
    architecture : ExpertsArchitecture
        Resolved.
    vocabulary : int
        Number of tokens.
    tokenizer : Any
        What the checkpoint keeps of it.
    """

    architecture: ExpertsArchitecture
    vocabulary: int
    tokenizer: Any

    def weights(self, path: Path, role: Role) -> dict[str, Tensor]:
        """Return the weights of the expert in a checkpoint.

        Raises
        ------
        CheckpointError
            It cannot be read, or is of another role, vocabulary, tokenizer or architecture.
        """
        stored, weights = read_stored(
            path, family="experts", needed=("role", "vocabulary", "architecture_config", "tokenizer")
        )
        if stored["role"] != role:
            raise CheckpointError(f"{path} is of the role {stored['role']}, and a {role} is needed here.")
        if stored["vocabulary"] != self.vocabulary or stored["tokenizer"] != self.tokenizer:
            raise CheckpointError(
                f"{path} was trained with another tokenizer ({stored['vocabulary']:,} tokens; here there are "
                f"{self.vocabulary:,}). Use the corpus and tokenizer that it was trained with, or train it again."
            )
        self._require_same(stored_architecture(ExpertsArchitecture, stored["architecture_config"], path), path, role)
        return weights

    def _require_same(self, theirs: ExpertsArchitecture, path: Path, role: Role) -> None:
        keys = ("width", "heads", "rope_base", role)
        own, other = (one.model_dump(mode="json", include=set(keys)) for one in (self.architecture, theirs))
        differing = [f"{key}: {other[key]} there, {own[key]} here" for key in keys if own[key] != other[key]]
        if differing:
            raise CheckpointError(
                f"{path} has another architecture_config than this stage. " + "; ".join(differing) + ". Give both the "
                "same."
            )


def borrow(network: nn.Module, role: Role, read: Mapping[str, str | None], borrower: Borrower) -> list[str]:
    """Put what a role builds on into its network, and freeze it.

    Parameters
    ----------
    network : nn.Module
        Of :func:`tabstar_lit.families.experts.networks.build.build`.
    role : str
        What it is.
    read : Mapping of str to str
        Key of ``model_config`` to the path of a checkpoint, see
        :meth:`~tabstar_lit.families.experts.architecture.ExpertsModel.reads`.
    borrower : Borrower
        What they must agree with.

    Returns
    -------
    list of str
        A line for the log about each.

    Raises
    ------
    CheckpointError
        One does not fit.
    """
    paths = {key.removesuffix("_checkpoint"): Path(path) for key, path in read.items() if path is not None}
    if not paths:
        return []
    found = {expert: borrower.weights(path, cast(Role, expert)) for expert, path in paths.items()}
    model: Any = network
    _load(model.embedding, found["transformer"], "embedding", paths["transformer"])
    if role == "mixture":
        _fill(model, found, paths)
    else:
        model.embedding.requires_grad_(False)
        if isinstance(network, DiffusionModel):
            _load(network.encoder, found["transformer"], "expert", paths["transformer"])
    return [f"{expert}: from {path}, frozen" for expert, path in paths.items()]


def _fill(mixture: Mixture, found: Mapping[str, dict[str, Tensor]], paths: Mapping[str, Path]) -> None:
    """Put the experts into a mixture.

    They are compared in its own precision: what was borrowed for a training in double precision had been rounded to it.

    Raises
    ------
    CheckpointError
        They do not read and write the states of one transformer.
    """
    first, kind = found["transformer"], mixture.embedding.weight.dtype
    for expert in EXPERTS:
        shared = [("embedding.", "embedding."), ("encoder.", "expert.")]
        for own, theirs in shared:
            for name, tensor in found[expert].items():
                if not name.startswith(own):
                    continue
                if not torch.equal(tensor.to(kind), first[theirs + name.removeprefix(own)].to(kind)):
                    raise CheckpointError(
                        f"{paths[expert]} was trained with another transformer than {paths['transformer']}: "
                        f"'{name}' differs. A mixture joins experts of one embedding: train the {expert} with "
                        "model_config.transformer_checkpoint, as the stages of one run do."
                    )
        _load(mixture.experts[expert], found[expert], "expert", paths[expert])


def _load(module: nn.Module, weights: Mapping[str, Tensor], prefix: str, path: Path) -> None:
    own = {name.removeprefix(f"{prefix}."): x for name, x in weights.items() if name.startswith(f"{prefix}.")}
    load_strict(module, own, strict=True, source=f"'{prefix}' in {path}")
