"""Small tasks shaped as real ones: uneven words, varied lengths, labels that some words tell; models trained before."""

from functools import partial
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback import ColumnwiseAUC, HFCallback
from tests.faults.stacks import stack
from tests.faults.synthetic_texts import (  # noqa: F401  the catalogue takes them from here
    BATCH,
    CLS,
    FIRST_WORD,
    LABEL_WORDS,
    LENGTHS,
    N_OUTPUTS,
    NOISE,
    PAD,
    PRETRAINING_STEPS,
    RATES,
    ROWS,
    SEP,
    UNK,
    VALID_ROWS,
    WIDTH,
    Rows,
    Texts,
    bare_model,
    body_of,
    both,
    lengths_for,
    padded,
    tensors,
    texts,
    wrapped,
)

ALL, MASKED = stack.ALL, stack.MASKED


class Task(NamedTuple):
    n_outputs: int
    make_loss: Callable[[], Any]
    make_metrics: Callable[[], List[Any]]


def labels_metrics() -> List[Any]:
    return [partial(stack.accuracy_multi, thresh=0.25), ColumnwiseAUC()]


TASKS: Dict[str, Task] = {
    "classes": Task(3, nn.CrossEntropyLoss, lambda: [stack.accuracy]),
    "two classes": Task(2, nn.CrossEntropyLoss, lambda: [stack.accuracy]),
    "labels": Task(6, nn.BCEWithLogitsLoss, labels_metrics),
    "number": Task(1, nn.MSELoss, lambda: [stack.mse]),
}


def databunch(
    train: Sequence[Tensor], valid: Sequence[Tensor], bs: int = BATCH, collate: Any = None, shuffle: bool = True
) -> Any:
    """From tensors, targets last."""
    make = stack.loaders if shuffle else stack.unshuffled
    return make(train, valid, bs, collate or inputs_and_target)


def inputs_and_target(rows: Sequence[Sequence[Tensor]]) -> Tuple[Any, Tensor]:
    """``[(input, ..., target)]`` -> ``([input, ...], target)``; a single input stays a tensor."""
    *inputs, target = (torch.stack(column) for column in zip(*rows))
    return inputs if len(inputs) > 1 else inputs[0], target


def task_tensors(architecture: str, task: str) -> List[List[Tensor]]:
    """The task's training and validation tensors as they should be given to `architecture`."""
    train, valid = both(task, lengths=lengths_for(architecture))
    length = max(map(len, train.rows + valid.rows))
    return [tensors(part, architecture, length=length) for part in (train, valid)]


# -- models ----------------------------------------------------------------------------------------------------


def of_today(architecture: str) -> bool:
    """Whether it comes from transformers 5."""
    return architecture.endswith(" of transformers 5")


def last_layer(model: nn.Module) -> nn.Module:
    return [leaf for leaf in stack.flatten_model(model) if list(leaf.parameters())][-1]


def head_and_body(model: nn.Module) -> Tuple[List[nn.Module], List[nn.Module]]:
    """Flattened leaf modules of the head and of the body."""
    leaves = stack.flatten_model(model)
    at = [bool(list(leaf.parameters())) for leaf in leaves][::-1].index(True)
    return leaves[len(leaves) - 1 - at :], leaves[: len(leaves) - 1 - at]


# -- learners ----------------------------------------------------------------------------------------------------


def learner(
    architecture: str,
    task: str = "classes",
    *,
    model: Optional[nn.Module] = None,
    data: Any = None,
    callbacks: Optional[List[Any]] = None,
    **overrides: Any,
) -> Any:
    """A healthy learner, but for what is put in its place; a `model` is taken as it is."""
    kind = TASKS[task]
    settings = dict(loss_func=kind.make_loss(), metrics=kind.make_metrics())
    return stack.learner_of(
        data or databunch(*task_tensors(architecture, task)),
        wrapped(bare_model(architecture, kind.n_outputs), architecture) if model is None else model,
        callbacks=[HFCallback()] if callbacks is None else callbacks,
        **{**settings, **overrides},
    )
