"""The public names of each fastai, so that no message of one mentions the other: ``tests/names_of_fastai*.txt``.

They are read from the installed fastai: ``python -m tests.fastai_names --write`` with the Python of each stack.
"""

import inspect
import re
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor, nn, optim
from torch.optim import Optimizer

from fastai_hf_callback.results.finding import Finding
from tests.installed_stack import FASTAI_1, FASTAI_2

MODULES = {
    1: ["basics", "callback", "callbacks", "callbacks.hooks", "text", "train", "callbacks.fp16"],
    2: ["basics", "callback.all", "callback.core", "data.load", "data.core", "learner", "text.all", "callback.fp16"],
}
# Classes whose attributes are named in code: a learner, its loop, its callbacks, its data.
CLASSES = {
    1: ["Learner", "Recorder", "Callback", "LearnerCallback", "CallbackHandler", "DataBunch", "TextDataBunch"],
    2: ["Learner", "Recorder", "Callback", "DataLoaders", "TextDataLoaders", "DataLoader", "Metric"],
}
OF_OTHERS = {name for kind in (Tensor, Optimizer, optim, nn, np, pd.DataFrame, Finding) for name in dir(kind)}
OF_USERS = {"train_df", "valid_df"}  # usual names of tables, though fastai 1 has arguments of these names
FILES = {fastai: Path(__file__).with_name(f"names_of_fastai{fastai}.txt") for fastai in (1, 2)}


def installed_fastai():
    """Return 1, 2 or None."""
    return 1 if FASTAI_1 else 2 if FASTAI_2 else None


def read_names(fastai):
    """Read the names as they are in the file."""
    return set(FILES[fastai].read_text(encoding="utf-8").split())


def collect_names(fastai):
    """Collect names that fastai's modules define, its central classes hold, and their methods take, set and call.

    A learner's own names are listed once more, as ``Learner.cbs``.
    """
    found = set()
    for module in (import_module(f"fastai.{name}") for name in MODULES[fastai]):
        found |= set(getattr(module, "__all__", ())) - set(dir(nn))
        for name, value in vars(module).items():
            if str(getattr(value, "__module__", "")).startswith("fastai."):
                inside = _names_in_class(value) if name in CLASSES[fastai] else set()
                found |= {name} | inside | ({f"Learner.{one}" for one in inside} if name == "Learner" else set())
    return {name for name in found if re.fullmatch(r"(Learner\.)?[A-Za-z]\w+", name)}


def _names_in_class(kind):
    found = set(dir(kind))
    for method in [getattr(value, "__func__", value) for value in vars(kind).values()]:
        if inspect.isfunction(method):
            found |= set(inspect.signature(method).parameters)
            found |= {constant for constant in method.__code__.co_consts if isinstance(constant, str)}  # states, events
            with suppress(OSError):  # a dataclass generates methods that no file holds
                found |= set(re.findall(r"\bself\.(\w+)", inspect.getsource(method)))
    return found


def foreign_names(fastai):
    """Return the names that the other fastai has and this one does not."""
    return read_names(3 - fastai) - read_names(fastai)


def find_foreign_words(text, fastai):
    """Find words of the other fastai in a text: that fastai itself, and its names where they appear as code.

    A name with an underscore or a capital inside is always code, and so is any name after ``learn.``; any other
    is an English word unless it is an attribute or an argument, and may be torch's, numpy's, pandas's or ours.
    """
    foreign, text = foreign_names(fastai), re.sub(r"\blearn\.", "Learner.", text)
    code = set(re.findall(r"Learner\.\w+|\w+_\w+|\w*[a-z][A-Z]\w*", text))
    words = set(re.findall(r"(?<=[a-z\])]\.)\w+|\w+(?==[^=\s])", re.sub(r"Learner\.\w+", "", text))) - OF_OTHERS
    return sorted((code | words) & foreign - OF_USERS) + [f"fastai {3 - fastai}"] * (f"fastai {3 - fastai}" in text)


def main(argv):
    """Write the names of the fastai that is installed, or say how to."""
    fastai = installed_fastai()
    if argv != ["--write"] or fastai is None:
        raise SystemExit("write, where a fastai is installed: python -m tests.fastai_names --write")
    FILES[fastai].write_text("\n".join(sorted(collect_names(fastai))) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
