"""A CSV file and the name of a model -> a function that makes learners. Imports pandas and torch when it reads."""

import argparse
from types import ModuleType
from typing import TYPE_CHECKING, Any, Callable, List

from fastai_hf_callback.errors import InvalidInputError

if TYPE_CHECKING:
    from fastai_hf_callback.data.tables.examples import LabeledSplits

__all__ = ["build_csv_factory", "describe_examples"]


def build_csv_factory(arguments: argparse.Namespace, learner_factory: ModuleType) -> Callable[[], Any]:
    """Read the table and the model, print what they hold, and return a function that makes a new learner each time.

    Parameters
    ----------
    arguments : argparse.Namespace
        Of ``fastai-hf compare --csv``.
    learner_factory : module
        That of the fastai which is installed.
    """
    missing = [f"--{name}" for name in ("text", "labels", "model") if not getattr(arguments, name)]
    if missing:
        raise InvalidInputError(f"--csv {arguments.csv} also needs {' '.join(missing)}")
    from fastai_hf_callback.data.tables.examples import read_examples
    from fastai_hf_callback.data.tables.table import CsvFile

    table = CsvFile(arguments.csv, arguments.encoding, arguments.sep, on_command_line=True)
    labels = arguments.labels if len(arguments.labels) > 1 else arguments.labels[0]
    examples = read_examples(table, arguments.valid, arguments.text, labels, seed=arguments.seed, allow_blank=False)
    from fastai_hf_callback.model.pretrained import load_pretrained

    make_learner: Callable[[], Any] = learner_factory.build_learner_factory(
        examples, load_pretrained(arguments.model), arguments.bs, arguments.max_length
    )
    print("\n".join([*describe_examples(examples), *examples.messages]))
    return make_learner


def describe_examples(examples: "LabeledSplits") -> List[str]:
    """Describe the training and validation rows in a line or two; name label columns with one class in validation."""
    n_train, n_valid, n_names = len(examples.train.texts), len(examples.valid.texts), len(examples.names)
    of_task = {"multi_label_classification": "labels", "regression": "column(s) of numbers"}
    kind = f"{n_names} {of_task.get(examples.task, 'classes')}"
    lines = [f"{n_train + n_valid} texts, {kind}: {n_train} to train, {n_valid} to validate"]
    if examples.task == "multi_label_classification":
        columns = zip(examples.names, examples.valid.targets.T)
        one_sided = [name for name, column in columns if column.min() == column.max()]
        if one_sided:
            lines.append(f"mean_auc is over the other columns: {', '.join(one_sided)} has one class only in validation")
    return lines
