"""The one place that hides secrets: everything that is printed or written passes through here."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import SecretStr

MASK = "**********"
MIN_MASKED_LENGTH = 6  # shorter "secrets" would blank out ordinary words


def redact(data: Any) -> Any:
    """Copy `data` with every ``SecretStr`` masked, and their clear text masked wherever else it occurs.

    A secret is recognised by its type, which the schema gives it, never by the look of a key.
    """
    return _masked(data, secret_values(data))


def secret_values(data: Any) -> frozenset[str]:
    """Collect the clear text of every secret inside `data`."""
    return frozenset(value for value in _secrets(data) if len(value) >= MIN_MASKED_LENGTH)


def redact_text(text: str, secrets: Collection[str]) -> str:
    """Mask each of `secrets` in `text`, the longest first so that no tail of one is left over."""
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def seal(data: Any, secret_keys: Collection[str]) -> Any:
    """Copy `data` with the text under every secret key turned into a ``SecretStr``."""
    if isinstance(data, list):
        return [seal(value, secret_keys) for value in data]
    if not isinstance(data, Mapping):
        return data
    return {
        key: SecretStr(value) if key in secret_keys and isinstance(value, str) else seal(value, secret_keys)
        for key, value in data.items()
    }


def _secrets(data: Any) -> Iterator[str]:
    if isinstance(data, SecretStr):
        yield data.get_secret_value()
    elif isinstance(data, Mapping):
        for value in data.values():
            yield from _secrets(value)
    elif isinstance(data, list | tuple):
        for value in data:
            yield from _secrets(value)


def _masked(data: Any, secrets: Collection[str]) -> Any:
    if isinstance(data, SecretStr):
        return MASK
    if isinstance(data, str):
        return redact_text(data, secrets)
    if isinstance(data, Mapping):
        return {_masked(key, secrets): _masked(value, secrets) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_masked(value, secrets) for value in data]
    return data
