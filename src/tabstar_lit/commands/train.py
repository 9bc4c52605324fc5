"""The training commands: one function, made once for each family.

A console script names its command here, ``tabstar_lit.commands.train:train_<name>``, and so does that of an installed
package that adds a family: the module makes a command when it is asked for by the name that a family gives it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tabstar_lit import api
from tabstar_lit.commands.completion import overrides_of
from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.engine.devices.distributed import is_main_process
from tabstar_lit.engine.options import examples
from tabstar_lit.errors import ConfigError, FamilyError, RunError
from tabstar_lit.families import family_of_command, get_family

if TYPE_CHECKING:
    from tabstar_lit.config import Loaded
    from tabstar_lit.engine.family import AnyFamily

LATEST = "latest"
AUTO = "auto"
LISTS = ("models", "losses", "optimizers", "schedulers")


def __getattr__(name: str) -> click.Command:
    """Return the training command called ``name``."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return train_command(family_of_command(name).name)
    except FamilyError as error:
        return _unusable(name, error)
    except ConfigError as error:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}: {error}") from error


def _unusable(name: str, problem: FamilyError) -> click.Command:
    """Return a command that says why it cannot do anything: a console script has no other way to."""

    @click.command(name, context_settings={"ignore_unknown_options": True}, add_help_option=False)
    @click.argument("ignored", nargs=-1)
    def command(ignored: tuple[str, ...]) -> None:
        with reported_errors():
            raise problem

    return command


@cache
def train_command(family_name: str) -> click.Command:
    """Return the console command that trains a family.

    Parameters
    ----------
    family_name : str
        As :func:`tabstar_lit.families.get_family` takes it.
    """
    family = get_family(family_name)

    @click.command(
        family.command,
        help=f"{family.summary}\n\nSettings are changed with KEY=VALUE, as in the YAML files.",
        epilog=examples(
            (family.command, "as it comes"),
            (f"{family.command} --check", "a trial"),
            (f"{family.command} model_config.training_config.max_epochs=20", "longer"),
            (f"{family.command} --print-config > my.yaml", "all keys"),
            (f"{family.command} --resume", "go on"),
        ),
    )
    @click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...", shell_complete=overrides_of(family))
    @click.option(
        "--config-dir",
        type=click.Path(path_type=Path),
        help="Folder with training_config.yaml and its groups.",
    )
    @click.option("--resume", is_flag=False, flag_value=LATEST, metavar="[PATH]",
                  help="Go on with the newest run of the experiment, or with a run or checkpoint. `auto` is for the "
                       "scripts of jobs: go on with the run of that run_name, or begin it.")  # fmt: skip
    @click.option("--check", is_flag=True, help="Compose, validate, open the data, try one batch; write nothing.")
    @click.option("--print-config", is_flag=True, help="Print the composed configuration and stop.")
    @click.option("--multirun", is_flag=True, help="Train every combination of KEY=A,B,… one after the other.")
    @click.option("--list", "listed", type=click.Choice(LISTS), help="Print what can be named in the YAML files.")
    @click.version_option(package_name="tabstar_lit")
    def command(
        *,
        overrides: tuple[str, ...],
        config_dir: Path | None,
        resume: str | None,
        check: bool,
        print_config: bool,
        multirun: bool,
        listed: str | None,
    ) -> None:
        if resume is not None and "=" in resume and not Path(resume).exists():
            overrides, resume = (resume, *overrides), LATEST  # `--resume key=value`: the path was left out
        with reported_errors():
            if listed is not None:
                print_list(family, listed)
            elif multirun:
                train_all(family, overrides, config_dir)
            else:
                train_one(family, overrides, config_dir, resume=resume, check=check, print_config=print_config)

    return command


def train_one(
    family: AnyFamily,
    overrides: tuple[str, ...],
    config_dir: Path | None,
    *,
    resume: str | None = None,
    check: bool = False,
    print_config: bool = False,
) -> None:
    """Compose one experiment and do with it what the options say."""
    from tabstar_lit.config import to_yaml

    loaded = load(family, overrides, config_dir)
    if print_config:
        click.echo(to_yaml(loaded.tree), nl=False)
    elif check:
        from tabstar_lit.engine.preflight import trial

        trial(family, loaded, say=click.echo)
        click.echo("everything fits; nothing was written")
    elif resume is not None and not (resume == AUTO and is_new(loaded)):
        wanted = None if resume in (LATEST, AUTO) else resume
        say_where(api.go_on(family, loaded, overrides, wanted, argv=sys.argv, tell=note).root)
    else:
        say_where(api.begin(family, loaded, overrides, config_dir, argv=sys.argv, tell=note).root)


def is_new(loaded: Loaded[Any]) -> bool:
    """Say whether the run of the configured name has not begun yet.

    Raises
    ------
    RunError
        No name is configured.
    """
    from tabstar_lit.engine.runs.opening import begun

    if loaded.experiment.experiment_config.run_name is None:
        raise RunError("--resume auto goes on with the run of one name or begins it. Set experiment_config.run_name.")
    return begun(loaded) is None


def load(family: AnyFamily, overrides: Sequence[str], config_dir: Path | None) -> Loaded[Any]:
    """Compose and validate, and print what the composer noticed."""
    return api.compose(family, overrides, config_dir, tell=note)


def note(text: str) -> None:
    """Print what the user should know, beside the output."""
    click.echo(text, err=True)


def say_where(root: Path) -> None:
    """Print what came of a run: best score, checkpoint, and where the rest is; the first of several processes does."""
    from tabstar_lit.engine.runs.files import RunFiles, format_value

    if not is_main_process():
        return
    run = RunFiles(root)
    for stage, result in run.stages.items():
        if result.get("best_score") is not None:
            of_stage = f"{stage}: " if len(run.stages) > 1 else ""
            score = f"{result['monitor']} {format_value(result['best_score'])}"
            path = relative(Path(run.record["checkpoints_dir"]) / result["best_checkpoint"])
            click.echo(f"{of_stage}best {score}: {path}")
    click.echo(f"report: {relative(root / 'report.md')}")
    click.echo("figures and metrics in the browser: track --open")


def relative(path: Path) -> Path:
    """Return a path relative to the working directory where that is shorter."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def train_all(family: AnyFamily, overrides: tuple[str, ...], config_dir: Path | None) -> None:
    """Train every combination of the listed values, each in a run directory of its own."""
    from tabstar_lit.config import expand_multirun
    from tabstar_lit.engine.devices.launchers import job_name

    combinations = expand_multirun(overrides)
    experiments = [load(family, combination, config_dir) for combination in combinations]
    for number, (combination, loaded) in enumerate(zip(combinations, experiments, strict=True), start=1):
        click.echo(f"run {number} of {len(combinations)}: {' '.join(combination)}")
        name = loaded.experiment.experiment_config.run_name or job_name()
        if name is not None:
            combination = [*combination, f"experiment_config.run_name={name}-{number}"]
            loaded = load(family, combination, config_dir)
        say_where(api.begin(family, loaded, combination, config_dir, argv=sys.argv, tell=note).root)


def print_list(family: AnyFamily, listed: str) -> None:
    """Print names that a configuration may use, each with a line about it."""
    if listed in ("models", "losses"):
        entries = family.models() if listed == "models" else family.losses()
    else:
        from tabstar_lit.engine.optim.optimizers import OPTIMIZERS
        from tabstar_lit.engine.optim.schedulers import SCHEDULERS

        lines = OPTIMIZERS.lines() if listed == "optimizers" else SCHEDULERS.lines()
        entries = {name: lines[name] for name in sorted(lines, key=str.lower)}
    width = max(map(len, entries))
    for name, text in entries.items():
        click.echo(f"{name:<{width}}  {text}")
