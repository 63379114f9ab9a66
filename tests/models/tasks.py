"""What a head is trained on: its targets, what of its output the loss needs, the loss and a metric."""

from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from fastai.losses import CrossEntropyLossFlat
from fastai.metrics import accuracy
from torch import Tensor, nn

from fastai_hf_callback import WordAccuracy
from tests.models.head_classes import head_of
from tests.models.special_cases import special_for
from tests.models.tiny_configs import FIRST_WORD, VOCAB

__all__ = ["TASKS", "Task", "task_for", "span_of"]

IGNORE_INDEX = -100
CLASSES = 3
OF_HEADS = {"SequenceClassification": "classes", "TokenClassification": "words", "QuestionAnswering": "span"}

Element = Union[None, str, Sequence[str], Callable[[Any], Tensor]]


class Task(NamedTuple):
    """``targets`` makes a tuple of tensors out of ids and mask, both (rows, length)."""

    targets: Callable[[Tensor, Tensor], Tuple[Tensor, ...]]
    loss: Callable[[], Any]
    element: Element = None
    outputs: Optional[int] = CLASSES
    metric: Optional[Callable[[], Any]] = None

    @property
    def predicts_rows(self) -> bool:
        """Whether there is a prediction for each row, and not a loss for each batch."""
        return self.outputs is not None

    def picked(self, output: Any) -> Any:
        """What the loss needs, taken from a model's output without this package."""
        if callable(self.element):
            return self.element(output)
        if isinstance(self.element, tuple):
            return tuple(output[name] for name in self.element)
        return output[self.element or "logits"]


class CrossEntropies(nn.Module):
    """The mean of several outputs' cross entropies, each against its own target."""

    def forward(self, outputs: Sequence[Tensor], *targets: Tensor) -> Tensor:
        pairs = zip(outputs, targets)
        return sum(nn.functional.cross_entropy(o.flatten(0, -2), t.flatten()) for o, t in pairs) / len(targets)


class OwnLoss(nn.Module):
    """What the model computed itself."""

    def forward(self, output: Tensor, *targets: Tensor) -> Tensor:
        return output.mean()


def own_loss(output: Any) -> Tensor:
    """The model's loss with a dimension, without which fastai cannot put batches together."""
    return output["loss"].reshape(1)


# -- targets ---------------------------------------------------------------------------------------------------------


def _class_of_word(ids: Tensor) -> Tensor:
    return (ids - FIRST_WORD).clamp(min=0) * CLASSES // (VOCAB - FIRST_WORD)


def _of_first_word(ids: Tensor, mask: Tensor) -> Tuple[Tensor, ...]:
    return (_class_of_word(ids[:, 1]),)


def _of_each_word(ids: Tensor, mask: Tensor) -> Tuple[Tensor, ...]:
    return (torch.where(mask == 1, _class_of_word(ids), torch.full_like(ids, IGNORE_INDEX)),)


def span_of(ids: Tensor, mask: Tensor) -> Tuple[Tensor, ...]:
    """From the word with the highest id to the one after it."""
    start = ids.argmax(1)
    return start, torch.minimum(start + 1, mask.sum(1) - 1)


def _begins_and_follows(ids: Tensor, mask: Tensor) -> Tuple[Tensor, ...]:
    """Of each word its class, and where the next one stands; after the last one that is the length, for none."""
    following = torch.arange(1, ids.shape[1] + 1).expand_as(ids)
    following = torch.where(following < mask.sum(1, keepdim=True), following, torch.full_like(ids, ids.shape[1]))
    return (*_of_each_word(ids, mask), torch.where(mask == 1, following, torch.full_like(ids, IGNORE_INDEX)))


TASKS: Dict[str, Task] = {
    "classes": Task(_of_first_word, CrossEntropyLossFlat, metric=lambda: accuracy),
    "words": Task(_of_each_word, CrossEntropyLossFlat, metric=WordAccuracy),
    "span": Task(span_of, CrossEntropies, ("start_logits", "end_logits"), outputs=2),
    "begins and follows": Task(
        _begins_and_follows, CrossEntropies, ("initial_token_logits", "subsequent_token_logits")
    ),
    "scored answers": Task(_of_first_word, CrossEntropyLossFlat, "question_answering_score", metric=lambda: accuracy),
    "own loss": Task(span_of, OwnLoss, own_loss, outputs=None),
}


def task_for(name: str) -> Task:
    """What the class of this name is trained on."""
    return TASKS[special_for(name).task or OF_HEADS[head_of(name)]]
