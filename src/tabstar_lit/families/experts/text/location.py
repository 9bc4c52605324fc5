"""Where the corpus of a configuration is: a file, a folder it is made from, or the built-in texts."""

from __future__ import annotations

from pathlib import Path

from tabstar_lit.config.paths import roots
from tabstar_lit.data.progress import progress_bar
from tabstar_lit.errors import DataError
from tabstar_lit.families.experts.text.builtin import BUILTIN_CORPUS, ensure_builtin
from tabstar_lit.families.experts.text.converter import convert_text
from tabstar_lit.families.experts.text.corpus import TextCorpus
from tabstar_lit.families.experts.text.dataset_config import TextDataset
from tabstar_lit.families.experts.text.tokenizing import BYTES


def open_corpus(config: TextDataset, scratch: Path | None = None) -> TextCorpus:
    """Open the corpus that ``config.corpus`` means; one that is made from texts is made or brought up to date first.

    Parameters
    ----------
    config : TextDataset
        Names the corpus, its folder, or nothing.
    scratch : Path, optional
        Make a corpus here which is not there yet, so that nothing is left behind.

    Raises
    ------
    DataError
        There is no such file or folder, it cannot be used, or a tokenizer is named for a corpus that has one.
    """
    if config.corpus is None:
        return TextCorpus.open(ensure_builtin(_place(BUILTIN_CORPUS, scratch), config.tokenizer))
    given = Path(config.corpus).expanduser()
    below_root = roots().data / given
    path = below_root if not given.exists() and below_root.exists() else given
    if path.is_dir():
        made = _place(f"text_{config.name}.h5", scratch)
        convert_text(path, made, tokenizer=config.tokenizer, progress=progress_bar("converting", "bytes"))
        return TextCorpus.open(made)
    if not path.exists():
        where = "" if given.is_absolute() else f", neither in {Path.cwd()} nor below {roots().data.absolute()}"
        raise DataError(
            f"dataset_config.corpus: {given}: no such file or folder{where}. Make it with: tabstar_lit convert text "
            f"ROOT -o {below_root if given.parent == Path() else given}"
        )
    if config.tokenizer != BYTES:
        raise DataError(
            f"dataset_config.tokenizer is '{config.tokenizer}', but {path} is a corpus, which has the tokenizer that "
            "made it. Leave tokenizer out, or convert the texts anew: tabstar_lit convert text ROOT --tokenizer "
            f"{config.tokenizer} -o CORPUS.h5"
        )
    return TextCorpus.open(path)


def _place(name: str, scratch: Path | None) -> Path:
    path = roots().data / name
    return path if scratch is None or path.exists() else scratch / name
