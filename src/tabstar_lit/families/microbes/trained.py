"""A trained encoder or predictor out of a checkpoint alone, for the samples of any table with sequences."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from tabstar_lit.arrays import Int64
from tabstar_lit.data.plans import RowBatch, cut
from tabstar_lit.engine.trained import Trained, find_device, read_stored, stored_architecture
from tabstar_lit.engine.weights.loading import load_strict
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families.microbes.architecture import MicrobesArchitecture
from tabstar_lit.families.microbes.build import restore_network
from tabstar_lit.families.microbes.facts import StudyFacts
from tabstar_lit.families.microbes.networks.sequence_encoder import EncoderNetwork
from tabstar_lit.families.microbes.networks.sequence_predictor import SequencePredictor
from tabstar_lit.families.microbes.study.batch import SampleBatch
from tabstar_lit.families.microbes.study.reading import Settings, read_samples
from tabstar_lit.families.microbes.study.samples import Labels, SampleBatches
from tabstar_lit.families.microbes.study.study import Study
from tabstar_lit.families.microbes.targets import TargetTransform

NEEDED = ("role", "architecture_config", "facts", "scales", "study")
BATCH_SIZE = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedMicrobes(Trained):
    """A trained network, and how the study it was trained on was read.

    Attributes
    ----------
    facts : StudyFacts
        Sizes and vocabularies of the training.
    scales : mapping of str to TargetTransform
        From the network's scale to the target's own.
    """

    network: EncoderNetwork | SequencePredictor
    facts: StudyFacts
    scales: Mapping[str, TargetTransform]

    @property
    def role(self) -> str:
        """``encoder`` or ``predictor``."""
        return str(self.config["role"])

    @property
    def settings(self) -> Settings:
        """How tables are read, as that of the training was."""
        made_from = self.config["study"]["made_from"]
        return Settings(made_from.get("rarefy"), made_from.get("other_letters", "refuse"))

    def read(self, table: Study | str | Path, *, sequences: Path | None = None, metadata: Path | None = None) -> Study:
        """Return the samples of a table, read as those of the training were; a study is taken as it is.

        Parameters
        ----------
        table : Study, str or Path
            A count table (``.biom``, ``.tsv``, ``.csv``, ``.qza``), or a study file (``.h5``).
        sequences : Path, optional
            FASTA file, where the ids of the table are not the sequences.
        metadata : Path, optional
            With the categories that the network reads.

        Raises
        ------
        DataError
            A file cannot be read.
        """
        if isinstance(table, Study):
            return table
        return read_samples(Path(table), self.settings, sequences=sequences, metadata=metadata)

    def predict(
        self,
        table: Study | str | Path,
        *,
        sequences: Path | None = None,
        metadata: Path | None = None,
        batch_size: int = BATCH_SIZE,
        device: str = "auto",
    ) -> pd.DataFrame:
        """Return the predictions for samples. Their ASVs need not have been seen: they are sequences.

        Parameters
        ----------
        table, sequences, metadata
            As for :meth:`read`.
        batch_size : int
            Samples in a batch.
        device : str
            Where the network runs, and stays; ``auto`` is a GPU if there is one.

        Returns
        -------
        DataFrame
            Under the sample ids: ``prediction`` and ``p_<class>``; or a column for each target in its own unit, and
            ``<target>_q<quantile>`` where quantiles were learned.

        Raises
        ------
        CheckpointError
            The checkpoint is of an encoder, which predicts no target.
        DataError
            A file cannot be read.
        """
        if not isinstance(self.network, SequencePredictor):
            raise CheckpointError(
                f"{self.path} is an encoder, which predicts no target. Use embed, or train a predictor on it: "
                f"train_microbes stages=[predictor] stage_config.predictor.model_config.load_modules.base='{self.path}'"
            )
        study = self.read(table, sequences=sequences, metadata=metadata)
        return self._frame(self.outputs(study, batch_size=batch_size, device=device), study)

    def outputs(self, study: Study, *, batch_size: int = BATCH_SIZE, device: str = "auto") -> Tensor:
        """Return class probabilities, or values on the target's own scale, of all samples: ``[N, K]``."""
        with torch.inference_mode():
            return torch.cat([self.values(batch) for batch in self._batches(study, batch_size, device)])

    def values(self, batch: SampleBatch) -> Tensor:
        """Return the same of the samples of a batch, on the CPU."""
        target = self.network(batch).target.float()
        if "target" not in self.scales:
            return torch.as_tensor(target.softmax(dim=-1).cpu())
        column = self.config["scaled_by"]
        codes = None if column is None else batch.categories[:, column]
        return self.scales["target"].to(target.device).invert(target, codes).cpu()

    def embed(
        self,
        table: Study | str | Path,
        of: Literal["samples", "asvs"] = "samples",
        *,
        sequences: Path | None = None,
        metadata: Path | None = None,
        batch_size: int = BATCH_SIZE,
        device: str = "auto",
    ) -> pd.DataFrame:
        """Return the vectors ``e0 ... e<D-1>`` of samples, whose distances tell of UniFrac, or those of ASVs.

        Parameters
        ----------
        table, sequences, metadata, batch_size, device
            As for :meth:`predict`.
        of : str
            ``samples`` or ``asvs``.

        Returns
        -------
        DataFrame
            Under the ids of samples or ASVs.
        """
        study = self.read(table, sequences=sequences, metadata=metadata)
        with torch.inference_mode():
            if of == "asvs":
                vectors, ids = torch.cat(list(self._asv_vectors(study, batch_size, device))), study.asv_ids
            else:
                parts = [self.network.base(batch).embedding for batch in self._batches(study, batch_size, device)]
                vectors, ids = torch.cat(parts), study.sample_ids
        names = [f"e{number}" for number in range(vectors.shape[1])]
        index = pd.Index(ids, name="asv" if of == "asvs" else "sample")
        return pd.DataFrame(vectors.float().cpu().numpy(), index=index, columns=names)

    def _dataset(self, study: Study) -> SampleBatches:
        nothing = np.zeros((len(study), 0), dtype=np.float32)
        labels = Labels(nothing, self.categories(study), np.zeros(len(study), dtype=np.int64))
        return SampleBatches(study, labels, max_asvs=self.config["study"]["max_asvs"], max_bases=self.facts.max_bases)

    def categories(self, study: Study) -> Int64:
        """Return the numbers ``[N, C]`` that categories had in training; 0 where a sample has none of these."""
        known: Mapping[str, list[str]] = self.config["study"]["categories"]
        codes = np.zeros((len(study), len(known)), dtype=np.int64)
        for column, (name, labels) in enumerate(known.items()):
            if name not in study.classes:
                log.warning("The samples have no '%s', which the network reads: it is taken as missing.", name)
                continue
            own = study.classes[name]
            numbers = np.array([labels.index(label) + 1 if label in labels else 0 for label in own.labels] + [0])
            codes[:, column] = numbers[own.codes]
            if unseen := int(((codes[:, column] == 0) & (own.codes >= 0)).sum()):
                log.warning("%d samples have a '%s' that no training sample had: it is taken as missing.", unseen, name)
        return codes

    def _batches(self, study: Study, batch_size: int, device: str) -> Iterator[SampleBatch]:
        place, dataset = find_device(device), self._dataset(study)
        self.network.to(place)
        for rows in cut(np.arange(len(study)), batch_size):
            yield dataset[RowBatch(0, rows)].to(place)

    def _asv_vectors(self, study: Study, batch_size: int, device: str) -> Iterator[Tensor]:
        place, tokens = find_device(device), self._dataset(study).tokens
        self.network.to(place)
        for rows in cut(np.arange(len(study.asv_ids)), 16 * batch_size):
            sequences, _ = tokens.padded(rows)
            yield self.network.base.asv_encoder(torch.from_numpy(sequences.astype(np.int64)).to(place)).vectors

    def _frame(self, values: Tensor, study: Study) -> pd.DataFrame:
        index = pd.Index(study.sample_ids, name="sample")
        own = values.double().numpy()
        if self.facts.kind == "classification":
            names = np.array(self.facts.classes, dtype=object)
            columns = {f"p_{name}": own[:, number] for number, name in enumerate(names)}
            return pd.DataFrame({"prediction": names[own.argmax(axis=1)], **columns}, index=index)
        if own.ndim == 2:
            return pd.DataFrame(dict(zip(self.facts.targets, own.T, strict=True)), index=index)
        quantiles = self.config["architecture_config"]["predictor"]["quantiles"]
        return pd.DataFrame(
            {
                f"{name}_q{quantile:g}": own[:, column, place]
                for column, name in enumerate(self.facts.targets)
                for place, quantile in enumerate(quantiles)
            },
            index=index,
        )


def restore(path: Path) -> TrainedMicrobes:
    """Rebuild a network with what it knows of its training.

    Parameters
    ----------
    path : Path
        A checkpoint of ``train_microbes``.

    Raises
    ------
    CheckpointError
        The file cannot be read, is of another family or release, or its weights do not fit.
    """
    config, weights = read_stored(path, family="microbes", needed=NEEDED)
    architecture: Any = stored_architecture(MicrobesArchitecture, config["architecture_config"], path)
    network, facts = restore_network(config, architecture)
    load_strict(network, weights, strict=True, source=str(path))
    scales = {name: TargetTransform.from_plain(own) for name, own in config["scales"].items()}
    return TrainedMicrobes(path, network.eval(), config, facts, scales)  # type: ignore[arg-type]  # Trained wants any module
