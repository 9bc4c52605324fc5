"""Quality of the experts family: nanoGPT's yardstick, and all experts on one budget.

``python -m benchmarks.results experts_shakespeare experts_equal_budget`` is for a processor. With a graphics card or
more time, ``python -m benchmarks.experts_results --help`` says what may be larger.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.experiment import EXPERIMENT, Trained, train
from benchmarks.page import Section, embedded, how_it_was_made, print_results, results_table
from tabstar_lit.config.paths import roots
from tabstar_lit.engine.reports.markdown import table
from tabstar_lit.errors import DataError
from tabstar_lit.families.experts.architecture import EXPERTS
from tabstar_lit.families.experts.family import family
from tabstar_lit.families.experts.text.converter import convert_text

REPOSITORY = Path(__file__).resolve().parents[1]
DATA_VARIABLE = "TABSTAR_LIT_SHARED_DATA"
CORPUS = "public_texts.h5"
CONVERSION = f"tabstar_lit convert text text -o data/{CORPUS}"
ROLES = (*EXPERTS, "mixture")
CONTEXT_LENGTH, BATCH_SIZE = 256, 16

SHAKESPEARE_TEXT = """\
Bytes of Tiny Shakespeare, with nanoGPT's sizes, steps and contiguous split: 4 layers, 4 heads, 128 wide, 2,000 steps
of 12 rows of 64 tokens on a processor, where nanoGPT reports 1.88 nats; 6 layers, 6 heads, 384 wide, 5,000 steps of
64 rows of 256 on a card, where it reports 1.4697. The file here is the first nine tenths of theirs, so that the
held-out part is another; its documents, speeches of at least 400 characters, also have a token that begins and one
that ends each of them.
"""

BUDGET_TEXT = """\
Five domains of public texts, as bytes: abstracts, encyclopedia, plays, philosophy, scripture. Every stage of one run
gets {steps} steps of {batch} rows of {context} tokens, {tokens:.2f} million in all, with the same optimizer and
schedule. The second table gives each as many steps as fit into the seconds that the transformer took for the first.
Bits per byte are of held-out documents. A diffuser reads a transformer that was trained before it, and the mixture
reads all three, so that their parameters and seconds come on top of those; *trained* counts what the stage itself
trains.
"""


@dataclass(frozen=True)
class Budget:
    """What each stage gets.

    Attributes
    ----------
    size : str
        Of the networks.
    steps : int
        Of optimization.
    documents : int or None
        At most so many of a domain; None: all.
    more : tuple of str
        Overrides of every run, such as the accelerator.
    """

    size: str = "nano"
    steps: int = 150
    documents: int | None = 300
    more: tuple[str, ...] = ()


def find_texts() -> Path:
    """Return the folder of the domains.

    Raises
    ------
    DataError
        It is not there.
    """
    named = os.environ.get(DATA_VARIABLE)
    folder = (Path(named) if named else REPOSITORY.parent / "shared" / "data") / "text"
    if not folder.is_dir():
        raise DataError(
            f"The public texts are not on this machine: no folder {folder}. Let {DATA_VARIABLE} name the folder that "
            "holds text, or run the other experiments alone: make results ARGS=builtin"
        )
    return folder


def corpus() -> str:
    """Return the name of the corpus of public texts, which is made when it is missing."""
    convert_text(find_texts(), roots().data / CORPUS)
    return CORPUS


def shakespeare(device: str = "cpu") -> Section:
    """Train nanoGPT's experiment for processors or for graphics cards."""
    card = device != "cpu"
    steps, rows, width = (5000, 64, 256) if card else (2000, 12, 64)
    trained = train(
        family,
        [
            "stages=[transformer]",
            f"model_config=experts/shakespeare_{'gpu' if card else 'cpu'}",
            "dataset_config=experts/shakespeare",
            f"dataset_config.corpus={corpus()}",
            f"dataset_config.context_length={width}",
            f"dataset_config.batch_size={rows}",
            # Four validations, so that the best of them can be taken, as nanoGPT does.
            f"dataset_config.rows_per_epoch={rows * steps // 4}",
            f"experiment_config.accelerator={device}",
            *(["experiment_config.precision=bf16-mixed"] if card else []),
            "experiment_config.plot_metrics_n_epoch=4",
            EXPERIMENT,
        ],
    )
    best = min(value for _, value in trained.files.series("val_loss"))
    results = {
        f"experts.shakespeare_{'gpu' if card else 'cpu'}_nats": best,
        "experts.shakespeare_bits_per_byte": trained.value("val_bits_per_byte"),
    }
    return Section(
        "Text experts: Tiny Shakespeare",
        [
            SHAKESPEARE_TEXT,
            *results_table(results),
            *embedded("shakespeare_learning", "Bits per byte of held-out plays against the tokens trained on"),
            *how_it_was_made([trained], [CONVERSION]),
        ],
        results,
        {"shakespeare_learning": trained.figures / "learning_curve.png"},
    )


def equal_budget(budget: Budget = Budget()) -> Section:
    """Train three experts and their mixture on equal tokens, then for equal seconds."""
    equal_tokens = train(family, overrides(budget, dict.fromkeys(ROLES, budget.steps)))
    limit = seconds(equal_tokens, ROLES[0])
    steps = {role: max(10, int(budget.steps * limit / seconds(equal_tokens, role))) for role in ROLES}
    equal_seconds = train(family, overrides(budget, steps))
    results = {
        f"experts.{kind}_bits_per_byte_{role}": bits(run, role)
        for kind, run in (("equal_tokens", equal_tokens), ("equal_seconds", equal_seconds))
        for role in ROLES
    }
    text = BUDGET_TEXT.format(
        steps=budget.steps,
        batch=BATCH_SIZE,
        context=CONTEXT_LENGTH,
        tokens=budget.steps * BATCH_SIZE * CONTEXT_LENGTH / 1e6,
    )
    return Section(
        "Text experts and their mixture on one budget",
        [
            text,
            "### The same tokens",
            "",
            *budget_table(equal_tokens),
            f"### The same {limit:.0f} seconds",
            "",
            *budget_table(equal_seconds),
            *what_lost(equal_tokens, equal_seconds),
            *embedded("experts_router", "Weights of the experts by domain, same tokens"),
            *how_it_was_made([equal_tokens, equal_seconds], [CONVERSION]),
        ],
        results,
        {"experts_router": router_figure(equal_tokens)},
    )


def overrides(budget: Budget, steps: dict[str, int]) -> list[str]:
    """Return what trains all stages, each for so many steps, with one validation at its end."""
    by_stage = [
        word
        for role, count in steps.items()
        for word in (
            f"stage_config.{role}.dataset_config.rows_per_epoch={BATCH_SIZE * count}",
            f"stage_config.{role}.model_config.training_config.accumulate_grad_batches=1",
        )
    ]
    return [
        f"model_config.architecture_config.size={budget.size}",
        "model_config.training_config.max_epochs=1",
        "dataset_config=experts/text",
        f"dataset_config.corpus={corpus()}",
        f"dataset_config.max_samples={'null' if budget.documents is None else budget.documents}",
        f"dataset_config.context_length={CONTEXT_LENGTH}",
        f"dataset_config.batch_size={BATCH_SIZE}",
        *by_stage,
        *budget.more,
        EXPERIMENT,
    ]


def last(run: Trained, metric: str, role: str) -> float:
    """Return the last value of a metric in a stage."""
    return run.files.series(metric, role)[-1][1]


def seconds(run: Trained, role: str) -> float:
    """Return how long a stage trained, validation left out."""
    return last(run, "tokens_trained", role) / last(run, "tokens_per_s", role)


def bits(run: Trained, role: str, domain: str = "") -> float:
    """Return the bits per byte of held-out texts after a stage."""
    return last(run, f"val_bits_per_byte{'/' + domain if domain else ''}", role)


def domains(run: Trained) -> list[str]:
    """Return the names of the domains of a run."""
    prefix = "val_bits_per_byte/"
    return [name.removeprefix(prefix) for name in run.files.names(ROLES[0]) if name.startswith(prefix)]


def budget_table(run: Trained) -> list[str]:
    """Return what each stage cost and reached."""
    names = domains(run)
    header = ("", "trained", "million tokens", "seconds", "tokens/s", "bits per byte", *names)
    rows = [
        (
            role,
            f"{trained_parameters(run, role):,}",
            f"{last(run, 'tokens_trained', role) / 1e6:.2f}",
            f"{seconds(run, role):.0f}",
            f"{last(run, 'tokens_per_s', role):,.0f}",
            f"{bits(run, role):.3f}",
            *(f"{bits(run, role, name):.3f}" for name in names),
        )
        for role in ROLES
    ]
    return table(header, rows)


def trained_parameters(run: Trained, role: str) -> int:
    """Return how many numbers a stage trains, by the sizes of the optimizer's state in its checkpoint."""
    from tabstar_lit.engine.weights.files import read_checkpoint

    models = Path(run.files.record["checkpoints_dir"])
    content = read_checkpoint(models / run.files.stages[role]["best_checkpoint"])
    states = content["optimizer_states"][0]["state"].values()
    return sum(state["exp_avg"].numel() for state in states)


def what_lost(tokens: Trained, seconds: Trained) -> list[str]:
    """Return the order of the roles on each budget, the best first."""
    lines = []
    for what, run in (("tokens", tokens), ("seconds", seconds)):
        order = sorted(ROLES, key=lambda role, run=run: bits(run, role))  # type: ignore[misc]  # bound per run
        worst = f"{order[-1]} lost, {bits(run, order[-1]) / bits(run, order[0]) - 1:.0%} behind {order[0]}"
        lines.append(f"On equal {what}: {' < '.join(order)} in bits per byte; {worst}.")
    return [*lines, ""]


def router_figure(run: Trained) -> Path:
    """Return the last figure of the router's weights."""
    return max((run.figures / "mixture" / "router").glob("*.png"))


@click.command()
@click.argument("name", type=click.Choice(["shakespeare", "equal_budget"]))
@click.option("--device", default="cpu", show_default=True, help="cpu, or cuda for a graphics card.")
@click.option("--size", default=Budget.size, show_default=True, help="Of the networks on one budget.")
@click.option("--steps", type=int, default=Budget.steps, show_default=True, help="Of each stage on one budget.")
@click.option("--documents", type=int, default=Budget.documents, show_default=True, help="Of each domain; 0: all.")
def main(*, name: str, device: str, size: str, steps: int, documents: int) -> None:
    """Run one experiment on a budget of one's own; prints, and leaves the page of results as it is."""
    if name == "shakespeare":
        section = shakespeare(device)
    else:
        more: Sequence[str] = [f"experiment_config.accelerator={device}"]
        if device != "cpu":
            more = [*more, "experiment_config.precision=bf16-mixed"]
        section = equal_budget(Budget(size, steps, documents or None, tuple(more)))
    click.echo("\n".join(section.lines))
    print_results(section)


if __name__ == "__main__":
    main()
