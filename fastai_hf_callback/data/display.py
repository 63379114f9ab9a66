"""Small tables for the user: as HTML in a notebook, as text elsewhere. Imports pandas when it shows one."""

import sys
from shutil import get_terminal_size
from textwrap import wrap
from typing import Any, Mapping, Optional, Sequence

from .encoding.encoder import Progress

__all__ = ["find_progress_bar", "show_table", "truncate"]

MIN_TEXT_WIDTH = 40  # characters: narrower texts cannot be read


def show_table(columns: Mapping[str, Sequence[Any]]) -> None:
    """Display a table of strings, escaped in a notebook, printed anywhere else."""
    import pandas as pd

    frame = pd.DataFrame({name: [str(value) for value in values] for name, values in columns.items()})
    with pd.option_context("display.max_colwidth", None, "display.width", None):
        if _in_notebook():
            from IPython.display import HTML, display

            display(HTML(frame.to_html(index=False)))
        else:
            print(_wrap_table(frame, get_terminal_size().columns).to_string(index=False, justify="left"))


def _wrap_table(frame: Any, width: int) -> Any:
    """Wrap the first column, of texts, into further rows, so that the table is at most `width` wide if possible."""
    import pandas as pd

    others = sum(max(len(name), *map(len, frame[name])) + 2 for name in frame.columns[1:])
    lines = []
    for text, *rest in frame.itertuples(index=False):
        first, *more = wrap(text, max(width - others, MIN_TEXT_WIDTH)) or [""]
        lines += [(first, *rest), *((line, *[""] * len(rest)) for line in more)]
    wrapped = pd.DataFrame(lines, columns=frame.columns)
    return wrapped.apply(lambda column: column.str.ljust(column.str.len().max()))


def find_progress_bar() -> Optional[Progress]:
    """Return fastai's own progress bar in a notebook or a terminal; None elsewhere, as in a log."""
    if not (_in_notebook() or sys.stdout.isatty()):
        return None
    from fastprogress import progress_bar

    return lambda iterable, total: progress_bar(iterable, total=total, leave=False)


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def truncate(text: str, max_chars: int) -> str:
    """Cut `text` to `max_chars` characters."""
    return text if len(text) <= max_chars else text[:max_chars] + " ..."
