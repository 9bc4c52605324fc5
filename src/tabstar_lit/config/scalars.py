"""The scalars of the YAML 1.2 core schema: ``1e-3`` is a number, ``no`` and ``12:30`` are text."""

from __future__ import annotations

import re

NULL = re.compile(r"~|null|Null|NULL|")
BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
INT = re.compile(r"[-+]?[0-9]+")
OCTAL = re.compile(r"0o[0-7]+")
HEX = re.compile(r"0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
INFINITY = re.compile(r"[-+]?\.(inf|Inf|INF)")
NAN = re.compile(r"\.(nan|NaN|NAN)")
MAX_DIGITS = 300

Scalar = str | int | float | bool | None


def parse_scalar(text: str) -> Scalar:
    """Give the value of an unquoted scalar.

    Numbers of more than 300 digits stay text: no option takes one, and converting them takes quadratic time.
    """
    if NULL.fullmatch(text):
        return None
    if BOOL.fullmatch(text):
        return text[0] in "tT"
    if len(text) > MAX_DIGITS:
        return text
    for pattern, base in ((INT, 10), (OCTAL, 8), (HEX, 16)):
        if pattern.fullmatch(text):
            return int(text if base == 10 else text[2:], base)
    if FLOAT.fullmatch(text):
        return float(text)
    if INFINITY.fullmatch(text):
        return float("-inf" if text[0] == "-" else "inf")
    return float("nan") if NAN.fullmatch(text) else text
