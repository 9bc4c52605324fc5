"""``tabstar_lit convert`` as typed by a user."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tabstar_lit.commands.convert import convert
from tabstar_lit.families.tabstar.tables.corpus import Corpus

MANIFEST = """
- name: toys
  file: toys.csv
  target: kind
  task: classification
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = [f"{i % 7},{'red' if i % 3 else 'blue'},{'ab'[i % 2]}" for i in range(40)]
    (tmp_path / "toys.csv").write_text("\n".join(["size,color,kind", *rows]) + "\n")
    (tmp_path / "m.yaml").write_text(MANIFEST)
    return tmp_path / "m.yaml"


def test_tables_are_converted_once(manifest: Path) -> None:
    output = manifest.with_name("c.h5")
    first = CliRunner().invoke(convert, ["tables", str(manifest), "-o", str(output)], catch_exceptions=False)
    assert first.exit_code == 0
    assert "toys" in first.stdout
    assert "1 tables converted, 0 kept" in first.stdout
    assert "train_tabstar dataset_config=tabstar/corpus dataset_config.corpus=" in first.stdout
    assert Corpus.open(output).tables == ("toys",)
    second = CliRunner().invoke(convert, ["tables", str(manifest), "-o", str(output)], catch_exceptions=False)
    assert "up to date: nothing was written" in second.stdout


def test_options_reach_the_corpus(manifest: Path) -> None:
    output = manifest.with_name("c.h5")
    arguments = ["tables", str(manifest), "-o", str(output), "--seed", "5", "--bin-labels", "numeric"]
    assert CliRunner().invoke(convert, arguments, catch_exceptions=False).exit_code == 0
    schema = Corpus.open(output).load("toys").schema
    assert (schema["split"]["seed"], schema["bin_labels"]) == (5, "numeric")


def test_warnings_go_to_stderr(manifest: Path) -> None:
    table = manifest.with_name("toys.csv")
    table.write_text(table.read_text().replace("color", "color,same").replace("red", "red,1").replace("blue", "blue,1"))
    arguments = ["tables", str(manifest), "-o", str(manifest.with_name("c.h5"))]
    done = CliRunner().invoke(convert, arguments, catch_exceptions=False)
    assert "warning: table 'toys': column 'same' is left out" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("target: kind", "target: kid", "no column 'kid' (named under 'target'). Did you mean 'kind'?"),
        ("task: classification", "task: ranking", "m.yaml:5:3: task cannot be"),
        ("file: toys.csv", "file: toy.csv", "m.yaml:3:3: no file 'toy.csv'"),
    ],
)
def test_a_mistake_ends_with_code_2_and_a_message(manifest: Path, old: str, new: str, words: str) -> None:
    manifest.write_text(MANIFEST.replace(old, new))
    output = manifest.with_name("c.h5")
    done = CliRunner().invoke(convert, ["tables", str(manifest), "-o", str(output)], catch_exceptions=False)
    assert done.exit_code == 2
    assert words in done.stderr
    assert "Traceback" not in done.output
    assert not output.exists()


def test_builtin_needs_nothing_and_help_is_light(tmp_path: Path) -> None:
    """In a process of its own: the real entry point, and what asking for help imports."""
    script = (
        "import sys; from tabstar_lit.commands.cli import main; sys.argv = ['tabstar_lit', 'convert', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('HEAVY', [name for name in ('pandas', 'sklearn', 'h5py', 'torch') if name in sys.modules])\n"
        "sys.argv = ['tabstar_lit', 'convert', 'builtin', '-o', 'b.h5']; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "tables" in done.stdout
    assert "builtin" in done.stdout
    assert "HEAVY []" in done.stdout
    assert "5 tables converted" in done.stdout
    assert Corpus.open(tmp_path / "b.h5").tables[0] == "iris"
