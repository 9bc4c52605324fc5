"""A trained generator out of a checkpoint alone: it writes antibodies, and says how likely given ones are."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from tabstar_lit.arrays import Float32, Int64
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.engine.trained import Trained, find_device, read_stored, stored_architecture
from tabstar_lit.engine.weights.loading import load_strict
from tabstar_lit.errors import ConfigError, DataError
from tabstar_lit.families.antibody.architecture import AntibodyArchitecture
from tabstar_lit.families.antibody.generating.antibodies import Written, numbered, write_antibodies
from tabstar_lit.families.antibody.generating.decoding import Decoding, Guidance
from tabstar_lit.families.antibody.generating.identity import nearest
from tabstar_lit.families.antibody.generating.scoring import Question, score
from tabstar_lit.families.antibody.networks.build import build_network
from tabstar_lit.families.antibody.networks.source import Writer
from tabstar_lit.families.antibody.numbering.texts import hidden_regions, number_texts
from tabstar_lit.families.antibody.pairs.letters import cleaned
from tabstar_lit.families.antibody.pairs.scale import PkdScale
from tabstar_lit.families.antibody.pairs.tokens import TOKENIZER, UNKNOWN, antibody_text, chains_of

NEEDED = ("architecture_config", "pkd", "max_antigen", "max_antibody", "germlines", "training", "trained_for")
BATCH_SIZE = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AntibodyGenerator(Trained):
    """A trained generator of antibodies.

    Attributes
    ----------
    network : Writer
        In evaluation mode.
    """

    network: Writer

    @cached_property
    def known(self) -> list[str]:
        """Antibodies of the training that the checkpoint keeps, as text."""
        kept = self.config["training"]
        rows = Ragged(kept["flat"].numpy(), kept["offsets"].numpy())
        return [TOKENIZER.decode(rows[row].tolist()) for row in range(len(rows))]

    @property
    def guidance(self) -> Guidance:
        """What guidance may leave out."""
        trained_for = self.config["trained_for"]
        return Guidance(pkd=trained_for["pkd_guidance"], antigen=trained_for["antigen_guidance"])

    # -- likelihood ---------------------------------------------------------------------------------------------------

    def predict(
        self,
        data: pd.DataFrame | str | Path,
        *,
        pkd: float | None = None,
        batch_size: int = BATCH_SIZE,
        device: str = "auto",
        progress: Progress = no_progress,
    ) -> pd.DataFrame:
        """Return how likely given antibodies are for their antigens.

        Parameters
        ----------
        data : DataFrame, str or Path
            Columns ``antigen``, ``heavy`` and, for those that have one, ``light``; or a CSV or Parquet file of them.
        pkd : float or None
            The affinity that is asked for, the same for all; None: none is.
        batch_size, device, progress
            As everywhere.

        Returns
        -------
        DataFrame
            Under the index of the rows: ``log_likelihood`` in nats, ``tokens`` it is a sum over, ``per_token``, its
            mean, and ``rank`` among the antibodies of the same antigen by the mean, 1 for the likeliest.

        Raises
        ------
        DataError
            A column is missing, or a sequence cannot be read.
        """
        frame = data if isinstance(data, pd.DataFrame) else _read(Path(data))
        antigens, antibodies = _sequences(frame, "antigen"), _antibodies(frame)
        unique = sorted(set(antigens))
        places = {text: place for place, text in enumerate(unique)}
        question = self._question(unique, np.array([places[text] for text in antigens], dtype=np.int64), pkd)
        tokens = TOKENIZER.encode(antibodies)
        _tell_of_long(int((tokens.lengths > self.config["max_antibody"]).sum()), "antibodies", self.longest_antibody)
        scores = score(
            self._on(device), question, tokens, batch_size=batch_size, device=find_device(device), progress=progress
        )
        found = pd.DataFrame({"log_likelihood": scores.log_likelihood, "tokens": scores.tokens}, index=frame.index)
        found["per_token"] = (found["log_likelihood"] / found["tokens"]).astype(np.float32)
        ranks = found["per_token"].groupby(np.array(antigens, dtype=object)).rank(ascending=False, method="min")
        return found.assign(rank=ranks.astype(np.int64))

    # -- new antibodies -----------------------------------------------------------------------------------------------

    def generate(
        self,
        antigens: Sequence[str],
        *,
        count: int = 1,
        pkd: float | None = None,
        decoding: Decoding | None = None,
        names: Sequence[str] | None = None,
        template: str | None = None,
        fill: Sequence[str] = (),
        batch_size: int = BATCH_SIZE,
        device: str = "auto",
        progress: Progress = no_progress,
    ) -> pd.DataFrame:
        """Write antibodies for antigens.

        Parameters
        ----------
        antigens : sequence of str
            Their sequences; chains of one with ``|`` between them.
        count : int
            Antibodies for each.
        pkd : float or None
            The affinity asked for; None: none is.
        decoding : Decoding or None
            How they are written; None: sampled as they are.
        names : sequence of str or None
            Of the antigens; None: ``antigen_1``, ...
        template : str or None
            An antibody, its chains with ``|`` between them, in which X is filled in and all else stays as it is.
        fill : sequence of str
            Regions of the template that are filled in as well, such as ``h_cdr3``, at the length they have.
        batch_size, device, progress
            As everywhere.

        Returns
        -------
        DataFrame
            A row for each antibody: ``name``, ``antigen_name``, ``heavy``, ``light`` (empty: none), ``pkd`` asked for,
            ``log_likelihood`` in nats under the network itself, whatever it was sampled by, ``tokens``, ``per_token``,
            ``ended``, ``valid`` and its ``flaws``, see :data:`..numbering.texts.FLAWS`, the ``nearest`` antibody of
            the training and its ``identity``.

        Raises
        ------
        ConfigError
            The decoding cannot give that many different antibodies, or the network was not trained for it.
        DataError
            An antigen cannot be read.
        """
        decoding = decoding or Decoding(max_tokens=self.longest_antibody)
        each = _rows_for(count, decoding)
        targets = _sequences(pd.DataFrame({"antigen": list(antigens)}), "antigen")
        labels = [f"antigen_{number}" for number in range(1, len(targets) + 1)] if names is None else list(names)
        question = self._question(targets, np.repeat(np.arange(len(targets)), each), pkd)
        network, place = self._on(device), find_device(device)
        written = write_antibodies(
            network,
            question,
            decoding,
            self.guidance,
            batch_size=batch_size,
            device=place,
            template=self._template(template, fill),
            progress=progress,
        )
        frame = self._described(written, question, labels, batch_size, place)
        frame = frame[frame.groupby("antigen_name", sort=False).cumcount() < count].reset_index(drop=True)
        return frame.assign(**self._nearest(frame))

    def _described(
        self, written: Written, question: Question, labels: Sequence[str], batch_size: int, device: torch.device
    ) -> pd.DataFrame:
        """Return a row for each antibody that was written, with its likelihood and flaws."""
        own = Question(question.antigens, question.antigen[written.question], question.pkd[written.question])
        scores = score(self.network, own, written.tokens, batch_size=batch_size, device=device)
        texts = [TOKENIZER.decode(written.tokens[row].tolist()) for row in range(len(written.tokens))]
        flaws = [each.flaws for each in number_texts(texts, self.config["germlines"], ended=written.ended.tolist())]
        return pd.DataFrame(
            {
                "name": numbered(labels, own.antigen),
                "antigen_name": [labels[number] for number in own.antigen],
                **_chains(texts),
                "pkd": own.pkd,
                "log_likelihood": scores.log_likelihood,
                "tokens": scores.tokens,
                "per_token": scores.log_likelihood / scores.tokens,
                "ended": written.ended,
                "valid": [not found for found in flaws],
                "flaws": ["; ".join(found) for found in flaws],
            }
        )

    def _template(self, template: str | None, fill: Sequence[str]) -> Int64 | None:
        """Return the tokens of a template, UNKNOWN where it is filled in."""
        if template is None:
            if fill:
                raise ConfigError("regions to fill in are those of a template, and none is given.")
            return None
        if not self.config["trained_for"]["infilling"]:
            raise ConfigError(
                f"{self.path} was not trained to fill in templates. Train with training_config.infilling above 0, such "
                "as 0.3."
            )
        if fill:
            template = hidden_regions(template, fill, self.config["germlines"])
        tokens = TOKENIZER.encode([template])[0].astype(np.int64)
        if len(tokens) > self.longest_antibody:
            raise DataError(
                f"the template has {len(tokens)} tokens; the network writes {self.longest_antibody} at most."
            )
        if not (tokens == UNKNOWN).any():
            raise DataError(
                "the template has no X, so there is nothing to fill in. Write X for each residue that is, or name "
                "regions."
            )
        return tokens

    def _nearest(self, frame: pd.DataFrame) -> dict[str, Any]:
        """Return the most similar antibodies of the training."""
        total = self.config["training"]["total"]
        if total > len(self.known):
            log.warning("Nearest antibodies are sought among %d of %d of the training.", len(self.known), total)
        texts = [antibody_text(heavy, light) for heavy, light in zip(frame["heavy"], frame["light"], strict=True)]
        if not self.known:
            log.warning("%s keeps no antibody of its training, so none is the nearest.", self.path)
            return {"nearest": "", "identity": np.float32(np.nan)}
        found = nearest(texts, self.known)
        return {"nearest": [self.known[row] for row in found.rows], "identity": found.identity}

    # -- both ---------------------------------------------------------------------------------------------------------

    @property
    def longest_antibody(self) -> int:
        """Tokens of the longest antibody it was trained on, START and END counted."""
        return int(self.config["max_antibody"])

    def _question(self, antigens: Sequence[str], rows: Int64, pkd: float | None) -> Question:
        limit = int(self.config["max_antigen"])
        tokens = replace(TOKENIZER, max_tokens=limit).encode(list(antigens))
        _tell_of_long(sum(len(text) + 2 > limit for text in antigens), "antigens", limit)
        wanted: Float32 = np.full(len(rows), np.nan if pkd is None else pkd, dtype=np.float32)
        return Question(tokens, rows, wanted)

    def _on(self, device: str) -> Writer:
        network: Writer = self.network.to(find_device(device))
        return network


def restore(path: Path) -> AntibodyGenerator:
    """Rebuild a generator.

    Raises
    ------
    CheckpointError
        The file cannot be read, is of another family or release, or its weights do not fit.
    """
    config, weights = read_stored(path, family="antibody", needed=NEEDED)
    architecture = stored_architecture(AntibodyArchitecture, config["architecture_config"], path)
    network = build_network(architecture, PkdScale(**config["pkd"]), config.get("protein"))
    load_strict(network, weights, strict=True, source=str(path))
    return AntibodyGenerator(path, network.eval(), config)


def _rows_for(count: int, decoding: Decoding) -> int:
    """Return how many rows are asked for each antigen, so that ``count`` antibodies come of it."""
    if count < 1:
        raise ConfigError(f"{count} antibodies were asked for; ask for at least 1.")
    if decoding.beams is not None:
        if count > decoding.beams.beams:
            raise ConfigError(
                f"a search with {decoding.beams.beams} beams finds that many antibodies, and {count} were asked for. "
                "Ask for fewer, or set --beams higher."
            )
        return 1
    if count > 1 and decoding.sampling.temperature == 0:
        raise ConfigError(
            f"at temperature 0 all {count} antibodies would be the same. Ask for 1, set --temperature, or search with "
            "--beams."
        )
    return count


def _chains(texts: Sequence[str]) -> dict[str, list[str]]:
    return {"heavy": [chains_of(text)[0] for text in texts], "light": [chains_of(text)[1] for text in texts]}


def _read(path: Path) -> pd.DataFrame:
    """Read a table of pairs."""
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read as a table ({error}). Give a CSV or Parquet file.") from error


def _sequences(frame: pd.DataFrame, column: str, *, optional: bool = False) -> list[str]:
    """Return the cleaned sequences of a column; with ``optional`` it may be missing, and its rows empty.

    Raises
    ------
    DataError
        It is missing, or one of its rows is no sequence.
    """
    if column not in frame:
        if optional:
            return [""] * len(frame)
        raise DataError(f"there is no column '{column}'; there are {', '.join(map(str, frame.columns)) or 'none'}.")
    texts = []
    for row, value in enumerate(frame[column].fillna("").astype(str), 1):
        try:
            empty = optional and not value.strip()
            texts.append("" if empty else cleaned(value, chains=column == "antigen").text)
        except ValueError as error:
            raise DataError(f"row {row}, column '{column}': {error}. Correct it, or take the row out.") from error
    return texts


def _antibodies(frame: pd.DataFrame) -> list[str]:
    """Return the antibodies as text; one of both chains may be empty."""
    heavy = _sequences(frame, "heavy", optional="light" in frame)
    light = _sequences(frame, "light", optional=True)
    for row, chains in enumerate(zip(heavy, light, strict=True), 1):
        if not any(chains):
            raise DataError(f"row {row}: there is neither a heavy nor a light chain. Correct it, or take the row out.")
    return [antibody_text(*chains) for chains in zip(heavy, light, strict=True)]


def _tell_of_long(count: int, what: str, limit: int) -> None:
    if count:
        log.warning("%d %s are longer than the %d tokens of the training.", count, what, limit)
