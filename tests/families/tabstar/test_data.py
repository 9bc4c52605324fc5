"""Batches hold what the corpus holds; epochs are functions of the seed; sampling strategies keep their promise."""

from __future__ import annotations

import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_made_tables import make_corpus, make_table
from torch.utils.data import DataLoader

from tabstar_lit.data.plans import PlanSampler, RowBatch
from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.data.tokens import StringTokens
from tabstar_lit.errors import DataError
from tabstar_lit.families.tabstar.batch import TableBatch
from tabstar_lit.families.tabstar.config import TableLoader, TabstarDataset
from tabstar_lit.families.tabstar.data import TableBatches, TabstarData, serve
from tabstar_lit.families.tabstar.numbers import z_scores
from tabstar_lit.families.tabstar.table_plan import TablePlan, table_quotas
from tabstar_lit.families.tabstar.tables.corpora import Corpora, corpus_paths
from tabstar_lit.families.tabstar.tables.corpus import Table
from tabstar_lit.nn.tabstar_config import TextEncoderConfig
from tabstar_lit.nn.text_sources import load_tokenizer

TABLES = {
    "small": make_table("small", 23, n_classes=2),
    "large": make_table("large", 300, n_classes=3, n_features=6, seed=1),
    "values": make_table("values", 95, n_classes=1, seed=2),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("data") / "corpus.h5", *TABLES.values())


@pytest.fixture(scope="module")
def tokenizer() -> str:
    return load_tokenizer(TextEncoderConfig(name="random"))


def config(corpus: Path, **changes: object) -> TabstarDataset:
    return TabstarDataset(name="test", corpus=str(corpus), **changes)


def open_data(corpus: Path, tokenizer: str, seed: int = 0, **changes: object) -> TabstarData:
    return TabstarData(config(corpus, **changes), tokenizer=tokenizer, max_tokens=64, seed=seed)


def strings_of(batch: TableBatch, tokenizer: str, table: Table) -> list[list[str]]:
    """Read the strings of a batch back from their tokens."""
    tokens = JsonTokenizer(tokenizer, 64).encode(table.vocabulary)
    by_tokens = {
        tuple(tokens.flat[i:j].tolist()): string
        for i, j, string in zip(tokens.offsets[:-1], tokens.offsets[1:], table.vocabulary, strict=True)
    }
    unique = [by_tokens[tuple(row.tolist())] for row in batch.token_ids.split(batch.lengths)]
    return [[unique[i] for i in row] for row in batch.index.tolist()]


# -- batches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(TABLES))
def test_a_batch_holds_the_strings_numbers_and_targets_of_its_rows(corpus: Path, tokenizer: str, name: str) -> None:
    data, table = open_data(corpus, tokenizer), TABLES[name]
    rows = np.array([17, 3, 5])
    batch = data.train_dataset()[RowBatch(data.names.index(name), rows)]
    n_targets = len(table.target_codes)
    cells = np.concatenate([np.tile(table.target_codes, (3, 1)), table.codes[rows]], axis=1)
    assert strings_of(batch, tokenizer, table) == [[table.vocabulary[code] for code in row] for row in cells]
    assert batch.numbers[:, :n_targets].eq(0).all()
    assert np.array_equal(batch.numbers[:, n_targets:].numpy(), z_scores(table.numbers[rows]))
    assert np.array_equal(batch.targets.numpy(), table.targets[rows])
    assert batch.targets.dtype == (torch.float32 if name == "values" else torch.int64)
    assert (batch.source, batch.task, batch.n_targets, len(batch)) == (name, table.task, n_targets, 3)


def test_strings_of_a_batch_are_unique_and_sorted_by_length(corpus: Path, tokenizer: str) -> None:
    data = open_data(corpus, tokenizer)
    for key in data.train_plan().batches(0)[:10]:
        batch = data.train_dataset()[key]
        assert len(set(batch.string_ids.tolist())) == len(batch.string_ids) == len(batch.lengths)
        assert list(batch.lengths) == sorted(batch.lengths)
        assert batch.starts.diff().tolist() == list(batch.lengths)
        assert len(batch.token_ids) == sum(batch.lengths)
        assert set(batch.index.flatten().tolist()) == set(range(len(batch.lengths)))


def test_string_numbers_of_tables_do_not_overlap(corpus: Path, tokenizer: str) -> None:
    data = open_data(corpus, tokenizer)
    seen: dict[str, set[int]] = {name: set() for name in data.names}
    for key in data.train_plan().batches(0):
        batch = data.train_dataset()[key]
        seen[batch.source] |= set(batch.string_ids.tolist())
    assert sum(map(len, seen.values())) == len(set().union(*seen.values()))
    assert max(set().union(*seen.values())) < len(data.tokens)


def test_moving_a_batch_keeps_the_string_numbers_on_the_host(corpus: Path, tokenizer: str) -> None:
    data = open_data(corpus, tokenizer)
    moved = data.train_dataset()[data.train_plan().batches(0)[0]].to("meta")
    assert moved.index.device.type == moved.token_ids.device.type == moved.targets.device.type == "meta"
    assert moved.starts.device.type == "meta"
    assert isinstance(moved.string_ids, np.ndarray)


def served_by(loader: DataLoader[TableBatch]) -> list[tuple[str, list[float], list[int]]]:
    return [(b.source, b.targets.tolist(), b.string_ids.tolist()) for b in loader]


@pytest.mark.parametrize("workers", [0, 2])
def test_loaders_serve_the_plan_in_its_order(corpus: Path, tokenizer: str, workers: int) -> None:
    options = TableLoader(num_workers=workers, prefetch_factor=2 if workers else None)
    data = open_data(corpus, tokenizer, dataloader_kwargs=options)
    expected = [data.train_dataset()[key] for key in data.train_plan().batches(0)]
    served = served_by(data.train_dataloader())
    assert served == [(b.source, b.targets.tolist(), b.string_ids.tolist()) for b in expected]
    data.load_state_dict({"epoch": 0, "batches": 5})
    assert served_by(data.train_dataloader()) == served[5:]


def test_the_dataset_holds_no_file_handle(corpus: Path, tokenizer: str) -> None:
    data = open_data(corpus, tokenizer)
    key = data.train_plan().batches(0)[0]
    copy = pickle.loads(pickle.dumps(data.train_dataset()))
    assert torch.equal(copy[key].token_ids, data.train_dataset()[key].token_ids)


def test_validation_serves_every_held_out_row_once(corpus: Path, tokenizer: str) -> None:
    data = open_data(corpus, tokenizer, batch_size=4)
    keys = [key for rank in range(3) for key in PlanSampler(data.val_plan(), rank, 3)]
    for source, name in enumerate(data.names):
        rows = sorted(row for key in keys if key.source == source for row in key.rows.tolist())
        assert rows == np.flatnonzero(TABLES[name].is_validation).tolist()
    assert len(data.val_dataloader()) == len(data.val_plan())


def test_validation_rows_can_be_limited(corpus: Path, tokenizer: str) -> None:
    limited, again = (open_data(corpus, tokenizer, val_rows_per_dataset=5).val_plan().batches(0) for _ in range(2))
    assert [key.rows.tolist() for key in limited] == [key.rows.tolist() for key in again]
    assert [len(key.rows) for key in limited] == [2, 5, 5]


# -- epochs -----------------------------------------------------------------------------------------------------------


def flat(keys: list[RowBatch]) -> list[tuple[int, tuple[int, ...]]]:
    return [(key.source, tuple(key.rows.tolist())) for key in keys]


def test_an_epoch_is_a_function_of_seed_and_epoch(corpus: Path, tokenizer: str) -> None:
    one, same, other = (open_data(corpus, tokenizer, seed=seed).train_plan() for seed in (1, 1, 2))
    assert flat(one.batches(3)) == flat(same.batches(3))
    assert flat(one.batches(3)) != flat(one.batches(4))
    assert flat(one.batches(3)) != flat(other.batches(3))


def test_training_never_sees_validation_rows_nor_a_row_twice_in_an_epoch(corpus: Path, tokenizer: str) -> None:
    data = open_data(corpus, tokenizer, rows_per_dataset=50)
    plan = data.train_plan()
    for epoch in range(3):
        keys = plan.batches(epoch)
        assert len(keys) == len(plan)
        for source, name in enumerate(data.names):
            rows = [row for key in keys if key.source == source for row in key.rows.tolist()]
            assert len(rows) == len(set(rows)) == min(50, int((~TABLES[name].is_validation).sum()))
            assert not TABLES[name].is_validation[rows].any()


def test_batches_are_pure_full_and_shuffled_over_tables(corpus: Path, tokenizer: str) -> None:
    keys = open_data(corpus, tokenizer).train_plan().batches(0)
    sources = [key.source for key in keys]
    assert sources != sorted(sources)
    assert sum(len(key.rows) < 16 for key in keys) <= 3
    assert max(len(key.rows) for key in keys) == 16


def test_adding_a_table_leaves_the_rows_of_the_others(corpus: Path) -> None:
    settings = config(corpus, rows_per_dataset=20)
    rows = [np.arange(100), np.arange(80)]
    two, three = (
        TablePlan(("a", "b"), rows, settings, 0),
        TablePlan(("a", "b", "c"), [*rows, np.arange(9)], settings, 0),
    )
    assert sorted(flat(two.batches(1))) == sorted(key for key in flat(three.batches(1)) if key[0] != 2)


# -- strategies -------------------------------------------------------------------------------------------------------

SIZES = [10, 100, 1000, 10_000]


def quotas(strategy: str, temperature: float = 2.0, rows: int = 500) -> list[int]:
    settings = TabstarDataset(name="t", strategy=strategy, temperature=temperature, rows_per_dataset=rows)
    return table_quotas(SIZES, settings).tolist()


def test_uniform_takes_up_to_the_limit_of_each() -> None:
    assert quotas("uniform") == [10, 100, 500, 500]


def test_proportional_keeps_the_total_and_the_ratios() -> None:
    shares = quotas("proportional")
    assert sum(shares) == 1110
    assert shares == [1, 10, 100, 999]


def test_temperature_follows_its_power_where_tables_are_large_enough() -> None:
    shares = quotas("temperature", temperature=2.0)
    assert sum(shares) == 1110
    assert shares[0] == 10
    assert shares[3] / shares[2] == pytest.approx(10**0.5, rel=0.02)
    assert shares[2] / shares[1] == pytest.approx(10**0.5, rel=0.02)


def test_temperature_one_is_proportional_and_a_high_one_is_even() -> None:
    assert quotas("temperature", temperature=1.0) == quotas("proportional")
    assert quotas("temperature", temperature=1e9) == [10, 100, 500, 500]


@pytest.mark.parametrize("rows", [1, 3, 7, 20_000])
@pytest.mark.parametrize("strategy", ["uniform", "proportional", "temperature"])
def test_no_table_gives_more_than_it_has_nor_nothing(strategy: str, rows: int) -> None:
    shares = np.array(quotas(strategy, rows=rows))
    assert (shares >= 1).all()
    assert (shares <= SIZES).all()


# -- choice of tables and features ------------------------------------------------------------------------------------


def test_tables_are_chosen_by_name_in_the_order_of_the_corpus(corpus: Path, tokenizer: str) -> None:
    assert open_data(corpus, tokenizer, tables=("values", "small")).names == ("small", "values")
    assert open_data(corpus, tokenizer, exclude=("large",)).names == ("small", "values")
    whole, part = open_data(corpus, tokenizer), open_data(corpus, tokenizer, exclude=("large",))
    assert whole.fingerprint != part.fingerprint


@pytest.mark.parametrize("key", ["tables", "exclude"])
def test_an_unknown_table_is_refused_with_the_nearest(corpus: Path, tokenizer: str, key: str) -> None:
    with pytest.raises(DataError, match=rf"dataset_config.{key}: .* no table 'lagre'. Did you mean 'large'\?"):
        open_data(corpus, tokenizer, **{key: ("lagre",)})


def test_choosing_no_table_is_refused(corpus: Path, tokenizer: str) -> None:
    with pytest.raises(DataError, match="leave no table"):
        open_data(corpus, tokenizer, exclude=tuple(TABLES))


def test_kept_features_depend_on_seed_and_table_only(corpus: Path, tokenizer: str) -> None:
    one, same, other = (open_data(corpus, tokenizer, seed=s, max_features=3).schemas for s in (4, 4, 5))
    assert one == same != other
    assert [len(schema["features"]) for schema in one.values()] == [3, 3, 3]
    assert all(schema["features"] == sorted(schema["features"]) for schema in one.values())


def test_left_out_features_are_not_served(corpus: Path, tokenizer: str) -> None:
    data = open_data(corpus, tokenizer, max_features=3)
    batch = data.train_dataset()[RowBatch(data.names.index("large"), np.arange(5))]
    kept = [int(name[1:]) for name in data.schemas["large"]["features"]]
    assert batch.index.shape == (5, 3 + 3)
    assert np.array_equal(batch.numbers[:, 3:].numpy(), z_scores(TABLES["large"].numbers[:5])[:, kept])


def test_a_corpus_is_looked_for_below_the_data_root(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANALYSIS_ML_DATA_DIR", str(corpus.parent))
    assert corpus_paths(TabstarDataset(name="t", corpus=corpus.name)) == [corpus]
    assert corpus_paths(TabstarDataset(name="t", corpus="gone.h5")) == [Path("gone.h5")]
    assert corpus_paths(TabstarDataset(name="t"))[0].parent == corpus.parent


def test_several_corpora_are_read_as_one(tmp_path: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = list(TABLES)
    for number, own in enumerate((names[:1], names[1:])):
        make_corpus(tmp_path / f"part{number}.h5", *(TABLES[name] for name in own))
    whole = open_data(make_corpus(tmp_path / "whole.h5", *TABLES.values()), tokenizer)
    for files in ("part*.h5", ("part0.h5", "part1.h5")):
        # The second time the caches of the first match the pattern too.
        both_files = TabstarDataset(name="test", corpus=files)
        parts = TabstarData(both_files, tokenizer=tokenizer, max_tokens=64, seed=0)
        assert parts.names == whole.names
        for key in whole.train_plan().batches(0):
            both = parts.train_dataset()[key], whole.train_dataset()[key]
            assert torch.equal(both[0].token_ids, both[1].token_ids)
            assert torch.equal(both[0].index, both[1].index)
    with pytest.raises(DataError, match=r"whole\.h5 and .*part1\.h5 have a table 'large'"):
        Corpora.open([tmp_path / "whole.h5", tmp_path / "part1.h5"])
    with pytest.raises(DataError, match=r"no file matches 'absent\*\.h5'"):
        corpus_paths(TabstarDataset(name="t", corpus="absent*.h5"))


def test_the_loader_serves_many_rows_a_second(tokenizer: str) -> None:
    table = make_table("t", 20_000, n_features=30)
    tokens = StringTokens({"t": JsonTokenizer(tokenizer, 64).encode(table.vocabulary)})
    dataset = TableBatches([serve(table, np.arange(30), tokens)], tokens)
    rows = np.random.default_rng(0).permutation(20_000)
    start = time.process_time()
    for first in range(0, len(rows), 16):
        dataset[RowBatch(0, rows[first : first + 16])]
    # The benchmark asks for 50,000; this bound only catches a fall back to strings or files.
    assert len(rows) / (time.process_time() - start) > 10_000
