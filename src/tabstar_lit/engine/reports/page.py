"""A report as one page for a browser and for paper: its figures are inside, and it asks for nothing from elsewhere."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #ccc; }
table { border-collapse: collapse; font-size: 0.85rem; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { border: 1px solid #ddd; padding: 0.2rem 0.6rem; text-align: left; overflow-wrap: anywhere; }
th { background: #f4f4f4; } td { font-variant-numeric: tabular-nums; }
pre { background: #f4f4f4; padding: 0.8rem; white-space: pre-wrap; overflow-wrap: anywhere; }
code { font-size: 0.85rem; } img { max-width: 100%; display: block; }
.figure { display: block; margin: 1.5rem 0; break-inside: avoid; font-size: 0.85rem; color: #555; }
@media print {
  body { font-size: 10pt; margin: 0; max-width: none; }
  pre, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } img { max-height: 11cm; }
}
"""


def as_page(text: str, title: str, base: Path) -> str:
    """Return Markdown as a page of HTML.

    Parameters
    ----------
    text : str
        The Markdown; HTML in it is shown as it stands.
    title : str
        Of the page.
    base : Path
        The folder that its links start from; pictures it names become part of the page.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("image", _picture)
    body = parser.render(text, {"base": base})
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}</body></html>\n'


def _picture(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
    """Return a picture with its data and its name below; only its name where the file is gone."""
    token = tokens[index]
    path, name = env["base"] / unquote(str(token.attrs["src"])), escape(token.content)
    if not path.is_file():
        return f'<span class="figure">{name}</span>'
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<span class="figure"><img alt="{name}" src="data:image/png;base64,{data}">{name}</span>'
