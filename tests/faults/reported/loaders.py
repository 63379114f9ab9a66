"""What a loader draws."""

from typing import Any, Callable, List

import torch

from tests.faults.reported.events import sampled
from tests.faults.reported.kind import Learner, kind
from tests.faults.stacks import stack
from tests.faults.tasks import ROWS, databunch, learner, task_tensors

SEED, FEW = 5, 16


def drawn(broken: Callable[[Any], List[int]], sound: Callable[[Any], List[int]]) -> Callable[[str, bool], Learner]:
    """`broken` and `sound` give rows of the training targets, in each epoch."""

    def build(architecture: str, is_broken: bool) -> Learner:
        train, valid = task_tensors(architecture, "classes")
        draw = broken if is_broken else sound
        return learner(architecture, data=sampled(train, valid, lambda: draw(train[-1])))

    return build


def weighted(weights: torch.Tensor) -> List[int]:
    return torch.multinomial(weights, ROWS, replacement=True).tolist()


def by_class(targets: torch.Tensor) -> List[int]:
    """The weights are of the classes: a row is drawn for each weight, so the first three rows."""
    return weighted(1 / torch.bincount(targets).float())


def by_row(targets: torch.Tensor) -> List[int]:
    return weighted((1 / torch.bincount(targets).float())[targets])


def anew(targets: torch.Tensor) -> List[int]:
    return torch.randint(len(targets), (ROWS // 2,)).tolist()


def seeded(targets: torch.Tensor) -> List[int]:
    """Seeded in each epoch, and few are drawn: they are always the same."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randint(len(targets), (FEW,), generator=generator).tolist() * (ROWS // 2 // FEW)


def truncated(architecture: str, broken: bool) -> Learner:
    train, valid = task_tensors(architecture, "classes")
    return learner(architecture, data=databunch([t[:FEW] for t in train] if broken else train, valid))


def fewer_than_a_batch(architecture: str, broken: bool) -> Learner:
    train, valid = task_tensors(architecture, "classes")
    return learner(architecture, data=databunch(train, valid, bs=2 * ROWS if broken else FEW))


KINDS = [
    kind(
        "sampler-weights-of-classes",
        "loaders",
        "deep-voice/soundbay pull request 49",
        "WeightedRandomSampler is given a weight for each class: the first rows are all it ever draws",
        drawn(by_class, by_row),
    ),
    kind(
        "sampler-seeded-in-each-epoch",
        "loaders",
        "Lightning-AI/pytorch-lightning issue 20412, pytorch/pytorch issue 5059",
        "what is drawn at random is the same in every epoch",
        drawn(seeded, anew),
        ("bert", "gpt2"),
    ),
    kind(
        "few-rows-for-debugging",
        "loaders",
        "https://lightning.ai/docs/pytorch/stable/debug/debugging_basic.html (limit_train_batches, overfit_batches)",
        "a run shortened for debugging, and left so: it trains on one batch",
        truncated,
    ),
]
if stack.NAME == "fastai 2":
    KINDS.append(
        kind(
            "fewer-rows-than-a-batch",
            "loaders",
            "https://docs.fast.ai/data.load.html (drop_last; DataLoaders drop it in training)",
            "fewer rows than a batch: no training batch, and the fit runs through",
            fewer_than_a_batch,
        )
    )
