"""The benchmark of event files runs on few events, and its figures are what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks import events


def test_conversions_are_compared_with_copies_of_the_same_columns(tmp_path: Path) -> None:
    ratios = events.conversion_vs_copy(tmp_path, 500)
    assert set(ratios) == {"events.parquet_conversion_vs_copy", "events.root_conversion_vs_copy"}
    assert all(ratio > 0 for ratio in ratios.values())
    assert (tmp_path / "root_2.h5").is_file()


def test_every_event_is_predicted(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    assert events.events_predicted_per_cpu_s(tmp_path, 600) > 0
    assert pq.read_metadata(tmp_path / "scores.parquet").num_rows == 600


@pytest.mark.parametrize("cache", ["memory", "stream"])
def test_an_epoch_of_jets_is_read(cache: str, tmp_path: Path) -> None:
    read = events.jets_streamed(str(events.jet_file(tmp_path / "jets.h5", 900)), cache, batch_size=64)
    assert min(read.per_cpu_s, read.per_s) > 0
    assert 0.05 < read.peak_gb < 20


def test_workers_read_an_epoch_of_jets(tmp_path: Path) -> None:
    data = str(events.jet_file(tmp_path / "jets.h5", 900))
    assert events.jets_streamed(data, "stream", batch_size=64, workers=2).per_s > 0
