"""What the Tab key gives in bash: the printed script is sourced, and its function asked as readline asks it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click import Context
from runs_fixture import write_run

from tabstar_lit.commands.completion import names_of_runs, overrides_of
from tabstar_lit.commands.runs import show
from tabstar_lit.commands.train import train_command
from tabstar_lit.families import get_family

TRAINING = "model_config.training_config"


@pytest.fixture
def offers() -> Callable[..., list[str]]:
    """Complete the last of some words of ``train_signal``."""
    command = train_command("signal")
    context = Context(command, info_name="train_signal")
    parameter = next(parameter for parameter in command.params if parameter.name == "overrides")
    complete = overrides_of(get_family("signal"))

    def offered(*words: str) -> list[str]:
        context.params = {"overrides": words[:-1], "config_dir": None}
        return complete(context, parameter, words[-1])

    return offered


def test_keys_are_completed_section_by_section(offers: Callable[..., list[str]]) -> None:
    assert offers("mod") == ["model_config.", "model_config="]
    assert offers("model_config.tr") == [f"{TRAINING}."]
    assert offers(f"{TRAINING}.monitor") == [f"{TRAINING}.monitor=", f"{TRAINING}.monitor_mode="]
    assert "model_config.architecture_config.n_layers=" in offers("model_config.architecture_config.n_")
    assert offers(f"{TRAINING}.no_such_") == []
    everything = offers("")
    assert {"experiment_config.", "dataset_config.", "dataset_config=", "stages="} <= set(everything)
    assert len(everything) == len(set(everything))


@pytest.mark.parametrize("together", [True, False], ids=["one word", "as bash cuts it"])
def test_values_are_files_of_the_family_or_words_of_the_schema(
    together: bool, offers: Callable[..., list[str]]
) -> None:
    def values(key: str, begun: str) -> list[str]:
        if together:
            return [found.removeprefix(f"{key}=") for found in offers(f"{key}={begun}")]
        return offers(key, "=", begun) if begun else offers(key, "=")

    assert "signal/mlp" in values("model_config", "")
    assert all(name.startswith("signal/m") for name in values("model_config", "signal/m"))
    assert values(f"{TRAINING}.monitor_mode", "") == ["min", "max"]
    assert values(f"{TRAINING}.compile", "t") == ["true"]
    assert values("experiment_config.tracker", "w") == ["wandb"]
    assert values(f"{TRAINING}.max_epochs", "") == []


def test_runs_are_completed_by_their_last_name_or_the_whole(tmp_path: Path) -> None:
    write_run(tmp_path, "first")
    write_run(tmp_path, "second")
    context, parameter = Context(show), show.params[0]
    context.params = {"save_dir": tmp_path}
    assert names_of_runs(context, parameter, "f") == ["first"]
    assert names_of_runs(context, parameter, "phys") == ["physics/first", "physics/second"]
    assert names_of_runs(context, parameter, "x") == []


IN_BASH = """
train_signal() {{
    {python} -c "from tabstar_lit.commands.train import train_signal as t; t(prog_name='train_signal')" "$@"
}}
export -f train_signal
script=$(_TRAIN_SIGNAL_COMPLETE=bash_source train_signal) || exit 3
eval "${{script//env COMP_WORDS/COMP_WORDS}}"
complete -p train_signal
COMP_WORDS=(train_signal {words}); COMP_CWORD={last}; COMPREPLY=()
_train_signal_completion train_signal
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


def test_the_script_for_bash_works_in_bash() -> None:
    text = IN_BASH.format(python=sys.executable, words="--check model_config = signal/ml", last=4)
    done = subprocess.run(["bash", "-c", text], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    setup, *found = done.stdout.splitlines()
    assert "-o nospace" in setup
    assert found == ["signal/mlp"]
