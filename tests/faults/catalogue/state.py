"""What an earlier run, or another precision, left in the weights, in the loop or in the scale."""

import io
from typing import Any, Callable

import torch
from torch import Tensor, nn

from fastai_hf_callback import HFCallback
from tests.faults.fault import OTHERS, SOME, THIRD, fault, where_half_runs
from tests.faults.stacks import stack
from tests.faults.tasks import ALL, TASKS, bare_model, last_layer, learner, wrapped

Learner = stack.Learner
Build = Callable[[str], Learner]

# -- weights -----------------------------------------------------------------------------------------------------


def new_model(architecture: str, task: str) -> nn.Module:
    return wrapped(bare_model(architecture, TASKS[task].n_outputs), architecture)


def after_a_run_at(lr: float, task: str = "classes", epochs: int = 2) -> Build:
    def build(architecture: str) -> Learner:
        net = new_model(architecture, task)
        first = learner(architecture, task, model=net)
        with stack.no_progress(first):
            first.fit(epochs, lr)
        return learner(architecture, task, model=net)

    return build


def from_a_saved_run(architecture: str) -> Learner:
    """The checkpoint was written after the run had diverged."""
    first, kept = learner(architecture, "labels"), io.BytesIO()
    with stack.no_progress(first):
        first.fit_one_cycle(2, 3.0)
    torch.save(first.model.state_dict(), kept)
    kept.seek(0)
    learn = learner(architecture, "labels")
    learn.model.load_state_dict(torch.load(kept))
    return learn


def one_value(value: float, pick: Callable[[nn.Module], Tensor], task: str) -> Build:
    def build(architecture: str) -> Learner:
        net = new_model(architecture, task)
        with torch.no_grad():
            pick(net).view(-1)[3] = value
        return learner(architecture, task, model=net)

    return build


def a_rare_word(net: nn.Module) -> Tensor:
    return next(weight for weight in net.parameters() if weight.dim() == 2)[-9]


def halved_by_hand(architecture: str) -> Learner:
    """And kept so: by default the callback makes them float32 as the fit begins."""
    learn = learner(architecture, callbacks=[HFCallback(train_in_float32=False)])
    learn.model.half()
    return learn


# -- precision ---------------------------------------------------------------------------------------------------


def mixed(task: str = "classes", loss_func: Any = None, **settings: Any) -> Build:
    def build(architecture: str) -> Learner:
        given = {} if loss_func is None else {"loss_func": loss_func}
        return stack.mixed(learner(architecture, task, **given), **settings)

    return build


class PerCorpus(nn.Module):
    """Sums where it should average, and over a corpus at that."""

    def __init__(self, rows: float):
        super().__init__()
        self.loss, self.rows = nn.CrossEntropyLoss(), rows

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return self.rows * self.loss(output, target)


# -- the loop ----------------------------------------------------------------------------------------------------


def patched_with(loop: str, task: str, *kinds: Any) -> Build:
    def build(architecture: str) -> Learner:
        learn = learner(architecture, task, callbacks=[kind() for kind in kinds])
        stack.patch(stack.loops[loop])
        return learn

    return build


class TakesFirst(stack.ChangesOutput):
    def changed(self, output: Any) -> Tensor:
        return output[0]


PATCH = "patch-left-active"
NAN, INF = float("nan"), float("inf")
OVERFLOWS = "loss-scale-overflows"

FAULTS = [
    fault("model-of-a-run-at-one", "weights-diverged", after_a_run_at(1.0), ALL),
    fault("model-of-a-run-at-three", "weights-diverged", after_a_run_at(3.0, "labels"), OTHERS),
    fault("model-of-a-run-at-one-number", "weights-diverged", after_a_run_at(1.0, "number"), THIRD),
    fault("checkpoint-of-a-diverged-run", "weights-diverged", from_a_saved_run, SOME),
    fault("model-of-a-run-to-nan", "non-finite-weights", after_a_run_at(1e30), ALL),
    fault(
        "one-nan-in-the-head", "non-finite-weights", one_value(NAN, lambda net: last_layer(net).weight, "labels"), SOME
    ),
    fault("one-nan-in-a-rare-word", "non-finite-weights", one_value(NAN, a_rare_word, "classes"), OTHERS),
    fault(
        "one-infinite-weight", "non-finite-weights", one_value(INF, lambda net: last_layer(net).weight, "number"), THIRD
    ),
    fault(
        "model-halved-by-hand",
        "half-weights-without-master",
        halved_by_hand,
        where_half_runs(OTHERS),
        cure=True,
        loud=stack.REFUSES_HALF_LOSSES,
    ),
    fault("scale-overflows-each-step", OVERFLOWS, mixed(scale=2.0**100), where_half_runs(SOME)),
    fault(
        "scale-fixed-too-high",
        (OVERFLOWS, "non-finite-weights"),
        mixed("labels", scale=2.0**40, dynamic=False),
        where_half_runs(OTHERS),
    ),
    fault(
        "loss-of-a-corpus", (OVERFLOWS, "non-finite-weights"), mixed(loss_func=PerCorpus(1e8)), where_half_runs(THIRD)
    ),
    fault("scale-fixed-too-low", "loss-scale-collapsed", mixed(scale=2.0**-30, dynamic=False), where_half_runs(SOME)),
    fault(
        "patch-below-hfcallback",
        PATCH,
        patched_with("unwraps", "classes", HFCallback),
        ALL,
        undo=stack.unpatch,
        cure=True,
    ),
    fault(
        "patch-below-first-element",
        (PATCH, "batch-dimension-lost"),
        patched_with("unwraps", "classes", TakesFirst),
        SOME,
        undo=stack.unpatch,
        loud=True,
        cure=True,
    ),
    fault("patch-without-backward", PATCH, patched_with("times", "labels"), OTHERS, undo=stack.unpatch),
    fault(
        "patch-without-step",
        (PATCH, "step-skipped"),
        patched_with("forgets the step", "labels", HFCallback),
        THIRD,
        undo=stack.unpatch,
    ),
]
