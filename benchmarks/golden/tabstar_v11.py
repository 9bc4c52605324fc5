"""Store what the package ``tabstar`` says with its v1.1 architecture, to compare with.

The package wants older versions of pandas and transformers than this program may have, so it runs in an environment of
its own, which needs nothing of this program:

    python -m venv env
    env/bin/pip install tabstar==1.2.2
    env/bin/python benchmarks/golden/tabstar_v11.py

Weights follow from the names of the tensors (:func:`weight`), so that a few kilobytes of outputs are all that is kept.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

STORED = Path(__file__).with_suffix(".json")
CLASSES = ("no", "perhaps", "yes")
ROWS = 60
WIDTH = 128
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789:.-"
WORDS = ("predictive", "numerical", "target", "feature", "value", "unknown", "colour", "size", "age", "note", "answer")


def weight(name: str, shape: Sequence[int]) -> Any:
    """Return a tensor's numbers ``shape``, float32: near 1 for the gains of norms, else spread around 0."""
    drawn = np.random.default_rng(zlib.crc32(name.encode())).normal(size=tuple(shape))
    if name.endswith("text_weight"):
        return np.float32(0.7)
    if len(shape) == 1:
        gain = name.endswith("weight")
        return (0.1 * drawn + gain).astype(np.float32)
    spread = 1.0 if "embeddings" in name else (0.5 if "head." in name else 2.0) / shape[-1] ** 0.5
    return (spread * drawn).astype(np.float32)


def rows() -> tuple[pd.DataFrame, pd.Series, pd.Series]:
    """Return rows with words, gaps and numbers near and far, classes, and a target with a long tail."""
    rng = np.random.default_rng(11)
    frame = pd.DataFrame({"colour": rng.choice(["red", "green and blue", None], ROWS)})
    frame["note"] = [f"n {number % 7}" for number in range(ROWS)]
    frame["size"] = np.exp(rng.normal(3, 1.2, ROWS)).round(2)
    frame["Age in years"] = rng.integers(1, 90, ROWS).astype(float)
    frame.loc[::9, "size"] = np.nan
    classes = pd.Series(rng.choice(CLASSES, ROWS), name="answer")
    return frame, classes, pd.Series(np.exp(rng.normal(0, 1.5, ROWS)).round(3), name="answer")


def write_tokenizer(folder: Path) -> None:
    """Write a word-piece tokenizer of some words and all letters, as the hub has them."""
    from transformers import BertTokenizerFast

    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(pieces), encoding="utf-8")
    BertTokenizerFast(str(vocabulary), do_lower_case=True).save_pretrained(folder)
    vocabulary.unlink(missing_ok=True)


def package_model(folder: Path) -> Any:
    """Return the package's network on a small text encoder, whose files are written to ``folder``."""
    import torch
    from tabstar.tabstarv1p1.arch.config import TabStarConfig
    from tabstar.tabstarv1p1.arch.model import TabSTARModel
    from transformers import BertConfig, BertModel

    write_tokenizer(folder)
    sizes = {"num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    pieces = 5 + len(WORDS) + 2 * len(LETTERS)
    BertModel(BertConfig(vocab_size=pieces, hidden_size=WIDTH, **sizes)).save_pretrained(folder)
    model = TabSTARModel(TabStarConfig(interaction_layers=2, d_model=WIDTH, text_model=str(folder))).eval()
    state = {name: torch.as_tensor(weight(name, own.shape)) for name, own in model.state_dict().items()}
    model.load_state_dict(state)
    return model


def package_outputs(model: Any, folder: Path, frame: pd.DataFrame, target: pd.Series) -> Any:
    """Return class probabilities ``[N, C]``, or z-scores of the target ``[N]``, from the cells on."""
    import torch
    from tabstar.tabstarv1p1.constants import TEXT_MODEL
    from tabstar.tabstarv1p1.finetune.dataloader import get_dataloader
    from tabstar.tabstarv1p1.preprocessing import tokenization
    from tabstar.tabstarv1p1.preprocessing.tabstar_verbalizer import TabSTARv1p1Verbalizer
    from tabstar.tabstarv1p1.training.loss import process_predictions
    from transformers import AutoTokenizer

    tokenization._TOKENIZER_CACHE[TEXT_MODEL] = AutoTokenizer.from_pretrained(folder)
    verbalizer = TabSTARv1p1Verbalizer(is_cls=target.dtype == object, d_num=6)
    verbalizer.fit(frame, target)
    parts = []
    with torch.no_grad():
        for batch in get_dataloader(verbalizer.transform(frame, y=None), is_train=False, batch_size=ROWS):
            batch.to_device(torch.device("cpu"), dtype=torch.float32)
            centers = model.reg_head.bin_centers
            parts.append(process_predictions(model(batch), d_outputs=batch.d_outputs, bin_centers=centers))
    return torch.cat(parts).double().numpy()


def write_folder(stored: Mapping[str, Any], folder: Path) -> Path:
    """Write the folder of the package's model, and its text encoder's below it, from what is stored; return the latter.

    Neither the package nor its versions of others are needed for it.
    """
    from safetensors.numpy import save_file

    encoder = folder / "encoder"
    encoder.mkdir(parents=True)
    for name, content in stored["encoder"].items():
        (encoder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "config.json").write_text(json.dumps(stored["config"]), encoding="utf-8")
    weights = {name: np.asarray(weight(name, shape)) for name, shape in stored["shapes"].items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return encoder


def main() -> None:
    """Store configuration, names and shapes of the weights, and the outputs of both tasks."""
    frame, classes, values = rows()
    with TemporaryDirectory() as name:
        folder = Path(name)
        model = package_model(folder)
        encoder = {file: json.loads((folder / file).read_text()) for file in ("config.json", "tokenizer.json")}
        stored = {
            "config": json.loads(model.config.to_json_string()) | {"text_model": "a-small-encoder"},
            "encoder": encoder,
            "shapes": {key: list(own.shape) for key, own in model.state_dict().items()},
            "probabilities": package_outputs(model, folder, frame, classes).round(9).tolist(),
            "z_scores": package_outputs(model, folder, frame, values).round(9).tolist(),
        }
    STORED.write_text(json.dumps(stored), encoding="utf-8")
    print(f"wrote {STORED}")


if __name__ == "__main__":
    main()
