"""A report as a page: whole, safe and readable by itself."""

from __future__ import annotations

import base64
from html.parser import HTMLParser
from pathlib import Path

from tabstar_lit.engine.reports.page import as_page

TEXT = """# physics/first

| score | value |
| --- | --- |
| `val_auc` | 0.9 |

![roc](../my%20results/roc.png)

![gone](gone.png)

<script>alert(1)</script> [checkpoint](../models/a%7Cb.ckpt)

```bash
tabstar_lit predict 'a|b.ckpt' DATA
```
"""


class Reader(HTMLParser):
    """Collects what a page is made of."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_holds_its_pictures_and_asks_for_nothing(tmp_path: Path) -> None:
    picture = b"\x89PNG a picture"
    for folder in ("logs", "my results"):
        (tmp_path / folder).mkdir()
    (tmp_path / "my results/roc.png").write_bytes(picture)
    page = as_page(TEXT, "a <run>", tmp_path / "logs")
    read = Reader(page)
    (source,) = read.sources
    assert base64.b64decode(source.removeprefix("data:image/png;base64,")) == picture
    assert not {"script", "link", "iframe"} & set(read.tags)
    assert "http" not in page
    assert {"table", "th", "td", "h1", "pre"} <= set(read.tags)
    assert "<title>a &lt;run&gt;</title>" in page


def test_text_is_shown_as_it_stands(tmp_path: Path) -> None:
    read = Reader(as_page(TEXT, "run", tmp_path))
    assert "<script>alert(1)</script>" in read.text
    assert "tabstar_lit predict 'a|b.ckpt' DATA" in read.text
    assert "gone" in read.text
    assert read.sources == []
