"""A small table where the user looks: as HTML in a notebook, as text elsewhere. Imports pandas when it shows one."""
from typing import Any, Dict, Sequence

__all__ = ["cut", "show_table"]


def show_table(columns: Dict[str, Sequence[Any]]) -> None:
    """Display a table of strings, escaped in a notebook, printed anywhere else."""
    import pandas as pd

    frame = pd.DataFrame({name: [str(value) for value in values] for name, values in columns.items()})
    with pd.option_context("display.max_colwidth", None, "display.width", None):
        if _in_notebook():
            from IPython.display import HTML, display

            display(HTML(frame.to_html(index=False)))
        else:
            print(frame.to_string(index=False, justify="left"))


def _in_notebook() -> bool:
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def cut(text: str, max_chars: int) -> str:
    """`text`, or its beginning."""
    return text if len(text) <= max_chars else text[:max_chars] + " ..."
