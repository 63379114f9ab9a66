"""The names of a data set's classes in a model's config, where a saved folder and ``pipeline()`` look for them.

Imports torch and ``errors``.
"""

import re
import warnings
from typing import Any, Dict, List, Optional, Sequence

from fastai_hf_callback.errors import InputError

__all__ = ["name_outputs", "read_output_names"]

DEFAULT_NAME = re.compile(r"LABEL_\d+")  # what transformers writes where nobody has named the outputs
PROBLEM_TYPES = ("single_label_classification", "multi_label_classification", "regression")


def name_outputs(
    model: Any, classes: Sequence[str], task: Optional[str], write: str = "text_data(..., classes={})"
) -> None:
    """Write the names of the classes, and which activation goes with them, to the model's config.

    Parameters
    ----------
    model : nn.Module
        A Hugging Face model; one without a config, or with another number of outputs, stays as it is.
    classes : sequence of str
        In the order of their numbers. Mere numbers, ``"0"``, ``"1"``, .., leave the names of a checkpoint as they are.
    task : str or None
        As ``text_data`` has it; with ``"regression"`` the outputs keep their names. None: not known.
    write : str
        How a user gives the classes in another order, with braces in the place of that list.

    Raises
    ------
    InputError
        When the config has the same names in another order: trained on, or saved, one class would be read as another.
    """
    config = getattr(model, "config", None)
    if config is None or getattr(config, "num_labels", None) != len(classes) or task == "question-answering":
        return
    if task != "regression":
        _set_names(config, type(model).__name__, [str(name) for name in classes], task, write)
    if task in PROBLEM_TYPES:
        config.problem_type = task  # pipeline() takes sigmoid, softmax or neither by it


def _set_names(config: Any, model: str, names: List[str], task: Optional[str], write: str) -> None:
    before = read_output_names(config)
    if before is not None and before != names:
        if names == [str(number) for number in range(len(names))]:
            return
        _check_same_order(model, before, names, task, write)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: number for number, name in enumerate(names)}


def read_output_names(config: Any) -> Optional[List[str]]:
    """Return the names that a config has for its outputs, in their order; None where nobody has named them."""
    given: Optional[Dict[Any, str]] = getattr(config, "id2label", None)
    if not isinstance(given, dict) or not given:
        return None
    try:
        by_number = {int(number): str(name) for number, name in given.items()}
    except (TypeError, ValueError):
        return None
    names = [by_number[number] for number in sorted(by_number)]
    if sorted(by_number) != list(range(config.num_labels)) or all(DEFAULT_NAME.fullmatch(name) for name in names):
        return None
    return names


def _check_same_order(model: str, before: List[str], names: List[str], task: Optional[str], write: str) -> None:
    """Refuse the same names in another order, and tell of other names; spelling alone is no difference."""
    folded, wanted = ([name.strip().casefold() for name in each] for each in (before, names))
    if folded == wanted:
        return
    if sorted(folded) == sorted(wanted):
        order = [names[wanted.index(name)] for name in folded]
        what = "labels, or classes," if task == "multi_label_classification" else "classes"
        raise InputError(
            f"{model} names its outputs {before}, and the data have these classes in another order, {names}: what an "
            f"output has learned would be read as another class. Give the data's {what} in the model's order, as in "
            f"{write.format(order)}; or, where its head is new, write model.config.id2label = "
            f"{dict(enumerate(names))} first.",
            "class-names-disagree",
        )
    warnings.warn(
        f"{model}'s config named its outputs {before}, and the classes of the data are {names}: the outputs are named "
        f"so from now on. If these are the same classes in other words, give them in the model's order: "
        f"{write.format('[...]')}.",
        stacklevel=5,
    )
