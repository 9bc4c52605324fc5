"""A checkpoint alone predicts and embeds new samples: unseen sequences, other files, other batches, other order."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from bench import Bench
from checks import assert_refused, message_of_refusal
from click.testing import CliRunner
from exported import loaded_from_weights
from hand_made_tables_of_microbes import SAMPLES, SEQUENCES, write_biom

import tabstar_lit
from tabstar_lit.commands.cli import main
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.families.microbes.family import family
from tabstar_lit.families.microbes.reports.robustness import subset
from tabstar_lit.families.microbes.study.generated import generate
from tabstar_lit.families.microbes.study.study import Study, write_study
from tabstar_lit.families.microbes.trained import TrainedMicrobes, restore

TINY = (
    "model_config.architecture_config.embedding_dim=16",
    "model_config.architecture_config.heads=2",
    "model_config.training_config.max_epochs=1",
    "dataset_config.baseline=none",
    "dataset_config.categories=[site]",
    "model_config.architecture_config.predictor.fusion=add",
)


def train(folder: Path, study: Study, *overrides: str) -> RunDirectory:
    """Train both stages on a study for an epoch."""
    write_study(folder / "study.h5", study)
    bench = Bench(folder, family)
    return bench.train(f"dataset_config.study={folder / 'study.h5'}", *TINY, *overrides)


def best(directory: RunDirectory, stage: str) -> Path:
    return directory.checkpoints / str(directory.record()["stages"][stage]["best_checkpoint"])


@pytest.fixture(scope="module")
def study() -> Study:
    return generate(n_subjects=10)


@pytest.fixture(scope="module")
def classifier(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDirectory]:
    return train(tmp_path_factory.mktemp("classes"), study, "dataset_config.target=status")


@pytest.fixture(scope="module")
def regressor(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunDirectory]:
    quantiles = (
        "dataset_config.target=phenotype",
        "model_config.training_config.loss=pinball",
        "model_config.architecture_config.predictor.quantiles=[0.1, 0.5, 0.9]",
    )
    return train(tmp_path_factory.mktemp("numbers"), study, *quantiles)


def test_predictions_of_training_samples_are_those_of_the_network(classifier: RunDirectory, study: Study) -> None:
    trained = tabstar_lit.load(best(classifier, "predictor"))
    assert isinstance(trained, TrainedMicrobes)
    predicted = trained.predict(study)
    assert list(predicted.columns) == ["prediction", "p_control", "p_case"]
    assert predicted[["p_control", "p_case"]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-6)
    assert (predicted["prediction"] == np.where(predicted["p_case"] > 0.5, "case", "control")).all()
    assert tuple(predicted.index) == study.sample_ids


def test_exported_weights_load_back_to_the_same_outputs(classifier: RunDirectory, study: Study, tmp_path: Path) -> None:
    again = loaded_from_weights(best(classifier, "predictor"), tmp_path)
    assert torch.equal(again.outputs(study), restore(best(classifier, "predictor")).outputs(study))
    encoder = loaded_from_weights(best(classifier, "encoder"), tmp_path)
    pd.testing.assert_frame_equal(encoder.embed(study), restore(best(classifier, "encoder")).embed(study))


def test_a_prediction_that_fails_leaves_gradients_as_they_were(classifier: RunDirectory, study: Study) -> None:
    with pytest.raises(AttributeError) as failed:  # whose traceback, as in a notebook, holds on to what was under way
        restore(best(classifier, "encoder")).outputs(study)
    assert torch.is_grad_enabled(), failed
    assert not torch.is_inference_mode_enabled()


def test_batches_and_order_change_nothing(classifier: RunDirectory, study: Study) -> None:
    trained = restore(best(classifier, "predictor"))
    whole = trained.outputs(study)
    assert torch.allclose(trained.outputs(study, batch_size=3), whole, atol=1e-6)
    order = np.random.default_rng(0).permutation(len(study))
    assert torch.allclose(trained.outputs(subset(study, order)), whole[order], atol=1e-6)


def test_tables_are_predicted_by_their_sequences_alone(
    classifier: RunDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = restore(best(classifier, "predictor"))
    table = write_biom(tmp_path / "new.biom")
    with caplog.at_level(logging.WARNING):
        predicted = trained.predict(table)
    assert tuple(predicted.index) == SAMPLES
    assert "have no 'site', which the network reads" in caplog.text
    hashes = [f"{number:032x}" for number in range(4)]
    hashed = write_biom(tmp_path / "hashed.biom", ids=hashes)
    fasta = tmp_path / "seqs.fasta"
    fasta.write_text("".join(f">{name}\n{own}\n" for name, own in zip(hashes, SEQUENCES, strict=True)))
    pd.testing.assert_frame_equal(trained.predict(hashed, sequences=fasta), predicted)
    assert "with --sequences" in message_of_refusal(trained.predict, hashed)


def test_known_categories_keep_their_numbers(
    classifier: RunDirectory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = restore(best(classifier, "predictor"))
    table, metadata = write_biom(tmp_path / "new.biom"), tmp_path / "m.tsv"
    metadata.write_text("id\tsite\n" + "".join(f"{own}\t{site}\n" for own, site in zip(SAMPLES, "abcde", strict=True)))
    with caplog.at_level(logging.WARNING):
        codes = trained.categories(trained.read(table, metadata=metadata))
    assert codes.tolist() == [[0]] * 5
    assert "5 samples have a 'site' that no training sample had" in caplog.text
    metadata.write_text("id\tsite\n" + "".join(f"{own}\tgut\n" for own in SAMPLES))
    known = trained.config["study"]["categories"]["site"]
    codes = trained.categories(trained.read(table, metadata=metadata))
    assert codes.tolist() == [[known.index("gut") + 1]] * 5


def test_quantiles_are_on_the_targets_own_scale(regressor: RunDirectory, study: Study) -> None:
    predicted = restore(best(regressor, "predictor")).predict(study)
    assert list(predicted.columns) == ["phenotype_q0.1", "phenotype_q0.5", "phenotype_q0.9"]
    low, high = study.numbers["phenotype"].min(), study.numbers["phenotype"].max()
    assert ((predicted > low - 3 * (high - low)) & (predicted < high + 3 * (high - low))).all().all()


def test_both_roles_embed_samples_and_sequences(classifier: RunDirectory, study: Study) -> None:
    encoder, predictor = (restore(best(classifier, stage)) for stage in ("encoder", "predictor"))
    samples = encoder.embed(study)
    assert samples.shape == (len(study), 256)  # lineages
    assert tuple(samples.index) == study.sample_ids
    np.testing.assert_allclose(predictor.embed(study), samples, atol=1e-6)  # the base was frozen
    asvs = encoder.embed(study, "asvs")
    assert asvs.shape == (len(study.asv_ids), 16)
    assert tuple(asvs.index) == study.asv_ids
    assert "is an encoder, which predicts no target" in message_of_refusal(encoder.predict, study)


def test_the_commands_write_parquet(classifier: RunDirectory, tmp_path: Path) -> None:
    table = write_biom(tmp_path / "new.biom")
    checkpoint = best(classifier, "predictor")
    for verb, words in (("predict", "predictions for 5 samples"), ("embed", "256 numbers for each of 5 samples")):
        output = tmp_path / f"{verb}.parquet"
        done = CliRunner().invoke(main, [verb, str(checkpoint), str(table), "-o", str(output)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        assert words in done.output
        assert tuple(pd.read_parquet(output).index) == SAMPLES
    done = CliRunner().invoke(main, ["predict", str(checkpoint), str(tmp_path / "no.biom"), "-o", str(tmp_path / "x")])
    assert_refused(done, "no.biom: cannot be read")


def test_samples_are_drawn_as_in_training(
    study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture, classifier: RunDirectory
) -> None:
    from dataclasses import replace

    trained = restore(best(classifier, "predictor"))
    config = {**trained.config, "study": {**trained.config["study"], "made_from": {"rarefy": {"depth": 9, "seed": 0}}}}
    with caplog.at_level(logging.WARNING):
        own = replace(trained, config=config).read(write_biom(tmp_path / "new.biom"))
    sums = np.add.reduceat(own.counts, own.members.offsets[:-1])
    assert sums.tolist() == [9, 8, 9, 9, 8]
    assert "2 of 5 samples have fewer than the 9 reads" in caplog.text
