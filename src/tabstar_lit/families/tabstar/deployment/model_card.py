"""The model card: what an exported model is, what it was trained on and how it is used, for people who only have it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tabstar_lit.families.tabstar.deployment.trained import TrainedTabstar

CARD_FILE = "README.md"
HEAD = """---
library_name: tabstar_lit
tags: [tabular, tabular-classification, tabular-regression, tabstar]
---
"""


def model_card(model: TrainedTabstar, name: str) -> str:
    """Return the card in Markdown, with the head that the hub reads.

    Parameters
    ----------
    model : TrainedTabstar
        The model.
    name : str
        Of the file or folder it is written to.
    """
    return "\n".join([HEAD, f"# {name}", "", *_what(model), *_tables(model), *_use(model, name), *LIMITS])


def _what(model: TrainedTabstar) -> Iterator[str]:
    own, encoder = model.config["architecture_config"], model.network.text_encoder
    count = sum(weight.numel() for weight in model.network.parameters())
    yield (
        f"A TabSTAR ([arXiv 2505.18125](https://arxiv.org/abs/2505.18125)) of {count:,} parameters: it reads the "
        "columns and cells of a table as text and numbers, and predicts a class or a number for each row."
    )
    yield ""
    yield f"- Text encoder: {own['text_encoder']['name']}, {len(encoder.encoder.layer)} layers of width {encoder.width}"
    yield f"- Vector of a string: {'the first token' if encoder.pooling == 'cls' else 'the mean over tokens'}"
    yield f"- Interaction: {own['interaction_layers']} layers, {own['interaction_heads']} heads"
    yield ""


def _tables(model: TrainedTabstar) -> Iterator[str]:
    tables: Mapping[str, Any] = model.config["tables"]
    yield "## Trained on"
    yield ""
    if not tables:
        yield "Nothing is known here of its training tables: it predicts a table by its description, or is fine-tuned."
        yield ""
        return
    yield "| table | task | target | classes | features | source | licence |"
    yield "|---|---|---|---|---|---|---|"
    for name, schema in tables.items():
        target, about = schema["target"], schema.get("about", {})
        cells = (
            name, schema["task"], target["name"], len(target["classes"]) or "–", len(schema.get("features", ())),
            about.get("source") or "not stated", about.get("licence") or "not stated",
        )  # fmt: skip
        yield f"| {' | '.join(str(cell).replace('|', '/') for cell in cells)} |"
    yield ""
    split = next(iter(tables.values())).get("split")
    if split:
        yield f"{split['fraction']:.0%} of the rows of each table were held out for validation, by a hash of the row."
        yield ""


def _use(model: TrainedTabstar, name: str) -> Iterator[str]:
    table = next(iter(model.tables), None)
    known = "" if table is None else f', table="{table}"'
    yield "## Use"
    yield ""
    yield "```python"
    yield "import tabstar_lit"
    yield ""
    yield f'model = tabstar_lit.load("{name}")'
    if table is None:
        yield 'model.predict("rows.csv", target="…", classes=["…", "…"])  # zero-shot'
    else:
        yield f'model.predict("rows.csv"{known})'
    yield "```"
    yield ""
    yield "Fine-tuning: `tabstar_lit.sklearn.TabSTARClassifier` and `TabSTARRegressor` take it as `checkpoint`."
    yield ""


LIMITS = (
    "## Limits",
    "",
    "- Predictions of tables it was not trained on are zero-shot: nothing says how good they are.",
    "- Numbers are clipped at three standard deviations of the training rows; values far outside look alike.",
    "- Classes come out with the frequencies of the training rows; probabilities are not calibrated.",
    "- Text is read by a language model, whose biases it has.",
    "",
)
"""What holds for every one of them."""
