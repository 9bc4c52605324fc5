"""The texts of a corpus as training and validation batches."""

from __future__ import annotations

import hashlib
import json
import logging

import numpy as np

from tabstar_lit.arrays import Bool, Int64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data.mixing import MixedBatch, MixedPlan
from tabstar_lit.data.plans import BatchPlan, RowBatch, SequentialPlan
from tabstar_lit.data.splits import Split
from tabstar_lit.engine.data import DataModule
from tabstar_lit.errors import DataError
from tabstar_lit.families.experts.text.corpus import Domain, TextCorpus
from tabstar_lit.families.experts.text.dataset_config import TextDataset
from tabstar_lit.families.experts.text.datasets import Side, TokenBatches
from tabstar_lit.families.experts.text.plans import ShiftedPlan
from tabstar_lit.families.experts.text.rows import WindowRows

log = logging.getLogger(__name__)


class TextData(DataModule):
    """Rows of tokens, drawn from all domains for every batch.

    Parameters
    ----------
    config : TextDataset
        Which documents, how they are split and laid out.
    corpus : TextCorpus
        Where they are.
    batch_size : int
        Rows in a batch.
    seed : int
        Seed of the experiment: fixes the order.

    Attributes
    ----------
    names : tuple of str
        Domains in use, by number.
    context_length : int
        Tokens in a row.
    tokenizer : dict
        Payload of what made the tokens.
    vocabulary_size : int
        Number of token ids.
    training_tokens : int
        Targets of all training rows.

    Raises
    ------
    DataError
        A domain that is named is not there, a domain has no document to train on, or none has one to validate on.
    """

    def __init__(self, config: TextDataset, corpus: TextCorpus, *, batch_size: int, seed: int) -> None:
        super().__init__(config.dataloader_kwargs.model_dump())
        self.config, self.context_length = config, config.context_length
        self.tokenizer = corpus.payload
        self.vocabulary_size = corpus.tokenizer.vocabulary_size
        self.names = _select(corpus, config)
        self._train, self._val = _sides([corpus.load(name) for name in self.names], config)
        self._val_plan = SequentialPlan([side.rows.numbers for side in self._val], batch_size)
        self._train_plan = self._plan(batch_size, seed)
        self.training_tokens = sum(len(side.tokens.flat) - len(side.tokens) for side in self._train)
        kept = config.model_dump(mode="json", exclude={"name", "corpus", "tokenizer", "dataloader_kwargs"})
        self._fingerprint = hashlib.sha256(json.dumps([corpus.fingerprint, kept]).encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """Hash of the corpus and of what of it is used."""
        return self._fingerprint

    def train_plan(self) -> BatchPlan[MixedBatch]:
        """Return the plan of the training batches, each of which holds rows of all domains."""
        return self._train_plan

    def val_plan(self) -> BatchPlan[RowBatch]:
        """Return the plan of the validation batches, each of which holds rows of one domain."""
        return self._val_plan

    def train_dataset(self) -> TokenBatches:
        """Return the dataset that serves training batches."""
        return TokenBatches(self._train, self._width)

    def val_dataset(self) -> TokenBatches:
        """Return the dataset that serves validation batches."""
        return TokenBatches(self._val, self._width)

    def beginnings(self, n_tokens: int) -> dict[str, list[int]]:
        """Return the first tokens of the first held-out document of each domain that has one."""
        return {side.domain: side.tokens[0][:n_tokens].tolist() for side in self._val if len(side.tokens)}

    def summary(self) -> str:
        """Return a line for each domain."""
        lines = []
        for train, val in zip(self._train, self._val, strict=True):
            bytes_of = [int(side.n_bytes.sum()) for side in (train, val)]
            lines.append(
                f"domain {train.domain}: {len(train.tokens)} documents train ({bytes_of[0]} bytes), {len(val.tokens)} "
                f"validate ({bytes_of[1]} bytes)"
            )
        return "\n".join(lines)

    @property
    def _width(self) -> int | None:
        return None if self.config.documents == "padded" else self.context_length

    def _plan(self, batch_size: int, seed: int) -> BatchPlan[MixedBatch]:
        config = self.config
        rows = [self._training_rows(side) for side in self._train]
        total = config.rows_per_epoch or sum(map(len, rows))
        repeat = config.strategy != "proportional" or config.rows_per_epoch is not None
        plan = MixedPlan(
            self.names, rows, batch_size, rows_per_epoch=total, seed=seed, alpha=config.alpha, repeat=repeat
        )
        return ShiftedPlan(plan, self.context_length, seed) if config.documents == "joined" else plan

    def _training_rows(self, side: Side) -> Int64:
        """Return the rows that epochs draw from: of an endless text those that can be moved by less than a row."""
        if not isinstance(side.rows, WindowRows):
            return side.rows.numbers
        last = side.rows.length - 2 * self.context_length
        if last < 0:
            raise DataError(
                f"domain '{side.domain}' has {side.rows.length} training tokens, less than two rows of "
                f"{self.context_length}: lower dataset_config.context_length, or leave the domain out."
            )
        return np.arange(0, last + 1, self.context_length)


def _select(corpus: TextCorpus, config: TextDataset) -> tuple[str, ...]:
    """Return the domains in use, in the order of the corpus."""
    wanted = corpus.domains if config.domains is None else config.domains
    for name in wanted:
        if name not in corpus.domains:
            hint = suggestion(name, corpus.domains, listed="It has")
            raise DataError(f"dataset_config.domains: {corpus.path} has no domain '{name}'.{hint}")
    return tuple(name for name in corpus.domains if name in wanted)


def _sides(domains: list[Domain], config: TextDataset) -> tuple[list[Side], list[Side]]:
    """Return what trains and what validates of each domain."""
    sides: tuple[list[Side], list[Side]] = ([], [])
    for domain in domains:
        chosen = _sample(domain, config.max_samples)
        validates = _validates(domain, chosen, config)
        if validates.all():
            raise DataError(
                f"domain '{domain.name}' has {len(chosen)} documents, and the split leaves none to train on: add "
                "documents, or lower dataset_config.val_split."
            )
        if not validates.any():
            log.warning(
                "Domain '%s': none of its %d documents validates, so it is trained on and not measured.",
                domain.name,
                len(chosen),
            )
        for side, rows in zip(sides, (chosen[~validates], chosen[validates]), strict=True):
            side.append(_side(domain, rows, config))
    if not any(len(side.tokens) for side in sides[1]):
        raise DataError("no document of any domain validates: add documents, or raise dataset_config.val_split.")
    return sides


def _side(domain: Domain, rows: Int64, config: TextDataset) -> Side:
    tokens, n_bytes = domain.tokens.take(rows), domain.n_bytes[rows]
    return Side.of(domain.name, tokens, n_bytes, context_length=config.context_length, layout=config.documents)


def _sample(domain: Domain, at_most: int | None) -> Int64:
    """Return the documents in use, in their order: those with the smallest hashes, which are as good as drawn."""
    every = np.arange(len(domain))
    return every if at_most is None else np.sort(np.argsort(domain.ids, kind="stable")[:at_most])


def _validates(domain: Domain, chosen: Int64, config: TextDataset) -> Bool:
    """Tell which of the chosen documents validate."""
    if config.split == "hash":
        split = Split(config.split_seed, {"val": config.val_split})
        return np.asarray(split.sides(domain.ids[chosen]) == 1)
    ends = np.cumsum(domain.tokens.lengths[chosen])
    return np.asarray(ends - domain.tokens.lengths[chosen] >= (1 - config.val_split) * ends[-1])
