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
    speed, peak = events.jets_streamed(str(events.jet_file(tmp_path / "jets.h5", 900)), cache, batch_size=64)
    assert speed > 0
    assert 0.05 < peak < 20
