"""The study file: what is written is read, and damage is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from tabstar_lit.commands.cli import main
from tabstar_lit.errors import DataError
from tabstar_lit.families.microbes.study import generated
from tabstar_lit.families.microbes.study.generated import ensure_generated, generate
from tabstar_lit.families.microbes.study.show import describe
from tabstar_lit.families.microbes.study.study import Classes, read_fingerprint, read_study, write_study
from tabstar_lit.metrics.scores import roc_auc


def test_what_is_written_is_read(tmp_path: Path) -> None:
    study = generate(n_subjects=5)
    odd = replace(
        study,
        numbers={"pH / 25.0 °C": np.linspace(0, 1, len(study))},
        classes={**study.classes, "a.b": Classes(np.zeros(len(study), dtype=np.int32), ("x",))},
        asv_taxa=np.zeros(len(study.asv_ids), dtype=np.int32),
        taxa=("k__Bacteria",),
        sequences=(),
    )
    for own in (study, odd):
        write_study(tmp_path / "s.h5", own, fingerprint="made of this")
        read = read_study(tmp_path / "s.h5")
        assert read.checksum == own.checksum
        assert read.columns == own.columns
        assert read.groups() == own.groups()
        assert read.sequences == own.sequences
        assert read.taxa == own.taxa
        assert dict(read.made_from) == own.made_from
    assert read_fingerprint(tmp_path / "s.h5") == "made of this"


def test_damage_and_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    write_study(path, generate(n_subjects=5))
    with h5py.File(path, "r+") as file:
        file["faith_pd"][0] += 1
    with pytest.raises(DataError, match=r"differs from its checksum"):
        read_study(path)
    with h5py.File(path, "w") as file:
        file["a"] = 1
    with pytest.raises(DataError, match=r"not a tabstar_lit.study file"):
        read_study(path)


def test_the_generated_study_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ensure_generated(tmp_path / "g.h5")
    first = path.stat().st_mtime_ns
    assert ensure_generated(path).stat().st_mtime_ns == first
    monkeypatch.setattr(generated, "VERSION", generated.VERSION + 1)
    ensure_generated(path)
    assert path.stat().st_mtime_ns > first
    write_study(path, generate(n_subjects=5), fingerprint="of my files")
    with pytest.raises(DataError, match=r"holds another study"):
        ensure_generated(path)


def test_the_generated_study_is_as_it_says() -> None:
    study = generate()
    assert len(study) == 240
    assert len(set(study.groups())) == 60
    assert study.members.lengths.min() > 20
    assert study.checksum == generate().checksum != generate(seed=1).checksum
    assert study.distances is not None
    pairs = study.distances[np.triu_indices(len(study), 1)]
    same = np.array(study.groups())
    within = (same[:, None] == same)[np.triu_indices(len(study), 1)]
    assert pairs[within].mean() < pairs[~within].mean() - 0.05  # samples of a subject are alike
    import torch

    status = torch.from_numpy(study.classes["status"].codes.astype(np.int64))
    scores = torch.from_numpy(study.numbers["phenotype"])
    assert roc_auc(torch.stack([-scores, scores], dim=1), status) > 0.9


@pytest.mark.parametrize("seed", range(8))
def test_any_seed_gives_a_study(seed: int) -> None:
    study = generate(seed, n_subjects=4)
    assert len(study.sequences) == len(study.asv_ids)
    assert set("".join(study.sequences)) == set("ACGT")


def test_a_study_is_shown(tmp_path: Path) -> None:
    write_study(tmp_path / "s.h5", generate(n_subjects=5))
    command = ["data", "show", str(tmp_path / "s.h5"), "-o", str(tmp_path / "figures")]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for words in ("20 samples, 200 ASVs, 5 groups (subject)", "reads a sample: 1000 to 1000", "status: classes"):
        assert words in done.output
    assert "100 to 100 bases" in done.output
    assert len(list((tmp_path / "figures").glob("*.png"))) == 3
    bare = replace(generate(n_subjects=5), sequences=(), distances=None, group=None)
    assert "no network can be trained" in describe(bare)
    assert "distances: none" in describe(bare)
