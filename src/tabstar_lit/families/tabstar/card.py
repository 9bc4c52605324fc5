"""What the card of a model says of a TabSTAR."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tabstar_lit.engine.reports.card_text import CardText
from tabstar_lit.engine.reports.markdown import table

WHAT = (
    "A TabSTAR ([arXiv 2505.18125](https://arxiv.org/abs/2505.18125)): it reads the columns and cells of a table as "
    "text and numbers, and predicts a class or a number for each row."
)
LIMITS = (
    "Predictions of tables it was not trained on are zero-shot: nothing says how good they are.",
    "Numbers are clipped at three standard deviations of the training rows; values far outside look alike.",
    "Classes come out with the frequencies of the training rows; probabilities are not calibrated.",
    "Text is read by a language model, whose biases it has.",
)


def card_text(config: Mapping[str, Any]) -> CardText:
    """Return what is said of the model whose checkpoint keeps ``config``."""
    own, encoder, tables = config["architecture_config"], config["encoder"]["config"], config["tables"]
    name = next(iter(tables), None)
    predict = f'model.predict("rows.csv", table="{name}")'
    return CardText(
        WHAT,
        tags=("tabular", "tabular-classification", "tabular-regression"),
        details=(
            f"Text encoder: {own['text_encoder']['name']}, {encoder['num_hidden_layers']} layers of width "
            f"{encoder['hidden_size']}",
            f"Interaction: {own['interaction_layers']} layers, {own['interaction_heads']} heads",
        ),
        trained_on=tuple(_tables(tables)),
        use=(
            predict if tables else 'model.predict("rows.csv", target="…", classes=["…", "…"])  # zero-shot',
            "# fine-tune: tabstar_lit.sklearn.TabSTARClassifier and TabSTARRegressor take it as `checkpoint`",
        ),
        limits=LIMITS,
    )


def _tables(tables: Mapping[str, Any]) -> Iterator[str]:
    if not tables:
        yield "Nothing is known here of its training tables: it predicts a table by its description, or is fine-tuned."
        return
    rows = [
        (
            name,
            schema["task"],
            schema["target"]["name"],
            len(schema["target"]["classes"]) or "–",
            len(schema.get("features", ())),
            schema.get("about", {}).get("source") or "not stated",
            schema.get("about", {}).get("licence") or "not stated",
        )
        for name, schema in tables.items()
    ]
    yield from table(("table", "task", "target", "classes", "features", "source", "licence"), rows)
    split = next(iter(tables.values())).get("split")
    if split:
        yield f"{split['fraction']:.0%} of the rows of each table were held out for validation, by a hash of the row."
