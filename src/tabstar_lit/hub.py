"""What the model hub has: out of the local cache where it lies there, else downloaded, or refused within seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

TIMEOUT_S = 5.0
"""Seconds after which a hub that does not answer is given up."""


class HubError(Exception):
    """The hub did not give what was asked for; the text is its reason, in a line. Callers say what it was for."""


def hub_folder(name: str, patterns: Sequence[str], is_whole: Callable[[Path], bool]) -> Path:
    """Return the folder of a model.

    Parameters
    ----------
    name : str
        ``owner/model``, or a model of no owner.
    patterns : sequence of str
        Files that are downloaded.
    is_whole : callable
        Tells whether a folder of the cache has all that is needed.

    Raises
    ------
    HubError
        It is neither in the cache nor given by the hub.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(name, local_files_only=True))
        if is_whole(folder):
            return folder
    except (OSError, ValueError):
        pass  # not in the cache, or no valid name: the hub has the last word
    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns), etag_timeout=TIMEOUT_S))
    except (OSError, ValueError) as error:
        raise HubError(_reason(error)) from error


def hub_file(name: str, file: str) -> Path:
    """Return one file of a model.

    Raises
    ------
    HubError
        It is neither in the cache nor given by the hub.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(name, file)
        return Path(cached if isinstance(cached, str) else hf_hub_download(name, file, etag_timeout=TIMEOUT_S))
    except (OSError, ValueError) as error:
        raise HubError(_reason(error)) from error


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200]
