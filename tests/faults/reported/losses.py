"""The loss."""

from typing import Any, Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from fastai_hf_callback import HFCallback
from tests.faults.reported.kind import Learner, kind, recall_of_both
from tests.faults.reported.optimizers import SUMMED
from tests.faults.tasks import bare_model, both, databunch, learner, lengths_for, tensors, wrapped

RARE = (0.9, 0.1)


def rare_class(architecture: str, single: bool = False) -> Any:
    lengths = lengths_for(architecture)
    parts = [
        tensors(part, architecture, length=max(lengths)) for part in both("two classes", lengths=lengths, shares=RARE)
    ]
    return databunch(*([*inputs, target.float()[:, None] if single else target] for *inputs, target in parts))


def weighted(architecture: str, broken: bool) -> Learner:
    """By frequency, where its inverse was meant."""
    weights = torch.tensor(RARE if broken else RARE[::-1]) * 2
    return learner(architecture, "two classes", data=rare_class(architecture), loss_func=nn.CrossEntropyLoss(weights))


def one_output(architecture: str, loss: Any, single: bool = True) -> Learner:
    model = wrapped(bare_model(architecture, 1), architecture)
    data = rare_class(architecture, single)
    return learner(architecture, "number", model=model, data=data, loss_func=loss, metrics=[])


def yes_weighted(architecture: str, broken: bool) -> Learner:
    yes, no = RARE[1], RARE[0]
    return one_output(architecture, nn.BCEWithLogitsLoss(pos_weight=torch.tensor([yes / no if broken else no / yes])))


def entropy_of_one(output: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(output, target)


def one_class(architecture: str, broken: bool) -> Learner:
    return one_output(
        architecture, entropy_of_one if broken else nn.BCEWithLogitsLoss(pos_weight=torch.tensor([RARE[0] / RARE[1]]))
    )


def distance_of_classes(output: Tensor, target: Tensor) -> Tensor:
    """torch said that it does not require a gradient."""
    return functional.mse_loss(output.argmax(1).float(), target.float()).requires_grad_()


def with_loss(broken: Any, sound: Any) -> Callable[[str, bool], Learner]:
    def build(architecture: str, is_broken: bool) -> Learner:
        return learner(
            architecture, loss_func=broken if is_broken else sound, callbacks=[HFCallback(check=not is_broken)]
        )

    return build


KINDS = [
    SUMMED,
    kind(
        "class-weights-by-frequency",
        "loss",
        "amanshenoy/multilogue-net issue 21",
        "the class weights are in the wrong order: the frequent class weighs more",
        weighted,
        ("roberta", "gpt2"),
        score=recall_of_both,
    ),
    kind(
        "weight-of-yes-inverted",
        "loss",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.BCEWithLogitsLoss.html (pos_weight)",
        "pos_weight is negatives per positive; its inverse makes a rare yes rarer still",
        yes_weighted,
        ("roberta", "gpt2"),
        score=recall_of_both,
    ),
    kind(
        "cross-entropy-of-one-output",
        "loss",
        "darioizzo/dcgp issue 86, ultralytics/yolov3 issue 191",
        "the softmax of a single output is always 1, the cross entropy always 0",
        one_class,
        score=recall_of_both,
    ),
    kind(
        "argmax-in-the-loss",
        "loss",
        "wonbeomjang/mobile-hair-segmentation-pytorch issue 3",
        "the loss is of the argmax, which has no gradient",
        with_loss(distance_of_classes, nn.CrossEntropyLoss()),
    ),
]
