"""What an earlier run, or another precision, left in the weights, in the loop or in the scale."""
import io
from typing import Any, Callable, Dict, List

import torch
from fastai import basic_train
from fastai.callback import Callback
from fastai.torch_core import to_detach
from fastai.train import Learner
from torch import Tensor, nn

from fastai_hf_callback import HFCallback
from fastai_hf_callback.fastai1.quiet import quiet
from tests.faults.fault import OTHERS, SOME, THIRD, fault, where_half_runs
from tests.faults.tasks import ALL, TASKS, bare_model, last_layer, learner, wrapped

Build = Callable[[str], Learner]

# -- weights -----------------------------------------------------------------------------------------------------


def new_model(architecture: str, task: str) -> nn.Module:
    return wrapped(bare_model(architecture, TASKS[task].n_outputs), architecture)


def after_a_run_at(lr: float, task: str = "classes", epochs: int = 2) -> Build:
    def build(architecture: str) -> Learner:
        net = new_model(architecture, task)
        first = learner(architecture, task, model=net)
        with quiet(first):
            first.fit(epochs, lr)
        return learner(architecture, task, model=net)
    return build


def from_a_saved_run(architecture: str) -> Learner:
    """The checkpoint was written after the run had diverged."""
    first, kept = learner(architecture, "labels"), io.BytesIO()
    with quiet(first):
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


def left_in_half(task: str) -> Build:
    def build(architecture: str) -> Learner:
        net = new_model(architecture, task)
        first = learner(architecture, task, model=net).to_fp16()
        with quiet(first):
            first.fit(1, 1e-3)
        return learner(architecture, task, model=net)
    return build


def halved_by_hand(architecture: str) -> Learner:
    learn = learner(architecture)
    learn.model.half()
    return learn


# -- precision ---------------------------------------------------------------------------------------------------


def mixed(task: str = "classes", loss_func: Any = None, **settings: Any) -> Build:
    def build(architecture: str) -> Learner:
        given = {} if loss_func is None else {"loss_func": loss_func}
        return learner(architecture, task, **given).to_fp16(**settings)
    return build


class PerCorpus(nn.Module):
    """Sums where it should average, and over a corpus at that."""

    def __init__(self, rows: float):
        super().__init__()
        self.loss, self.rows = nn.CrossEntropyLoss(), rows

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return self.rows * self.loss(output, target)


def scale_set_later(architecture: str) -> Learner:
    learn = learner(architecture, "labels").to_fp16(dynamic=False)
    learn.mp_cb.loss_scale = 2.0 ** -30
    return learn


# -- the loop ----------------------------------------------------------------------------------------------------

_ORIGINALS: List[Any] = []


def patched_with(loop: Any, task: str, *kinds: Any) -> Build:
    def build(architecture: str) -> Learner:
        learn = learner(architecture, task, callbacks=[kind() for kind in kinds])
        _ORIGINALS.append(basic_train.loss_batch)
        basic_train.loss_batch = loop
        return learn
    return build


def put_back() -> None:
    while _ORIGINALS:
        basic_train.loss_batch = _ORIGINALS.pop()


class TakesFirst(Callback):
    def on_loss_begin(self, last_output: Any, **kwargs: Any) -> Dict[str, Tensor]:
        return {"last_output": last_output[0]}


def hf_loss_batch(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
    """The article's: fastai's own, unwrapping."""
    cb_handler = cb_handler or basic_train.CallbackHandler()
    xb, yb = (part if isinstance(part, (list, tuple)) else [part] for part in (xb, yb))
    out = cb_handler.on_loss_begin(model(*xb)[0])
    if not loss_func:
        return to_detach(out), to_detach(yb[0])
    loss = loss_func(out, *yb)
    if opt is not None:
        loss, skip_bwd = cb_handler.on_backward_begin(loss)
        if not skip_bwd:
            loss.backward()
        if not cb_handler.on_backward_end():
            opt.step()
        if not cb_handler.on_step_end():
            opt.zero_grad()
    return loss.detach().cpu()


def timed_loss_batch(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
    """Left from a cell that timed the forward pass alone."""
    with torch.no_grad():
        result = hf_loss_batch(model, xb, yb, loss_func, None, cb_handler)
    if opt is not None:
        cb_handler.on_backward_begin(result)
    return result


def careful_loss_batch(model, xb, yb, loss_func=None, opt=None, cb_handler=None):
    """Calls backward and forgets the step."""
    xb, yb = (part if isinstance(part, (list, tuple)) else [part] for part in (xb, yb))
    out = cb_handler.on_loss_begin(model(*xb)[0])
    loss = loss_func(out, *yb) if loss_func else None
    if loss is None:
        return to_detach(out), to_detach(yb[0])
    if opt is not None:
        cb_handler.on_backward_begin(loss)[0].backward()
        cb_handler.on_backward_end()
        cb_handler.on_step_end()
        opt.zero_grad()
    return loss.detach().cpu()


PATCH = "patch-left-active"
NAN, INF = float("nan"), float("inf")
OVERFLOWS = "loss-scale-overflows"

FAULTS = [
    fault("model-of-a-run-at-one", "weights-diverged", after_a_run_at(1.0), ALL),
    fault("model-of-a-run-at-three", "weights-diverged", after_a_run_at(3.0, "labels"), OTHERS),
    fault("model-of-a-run-at-one-number", "weights-diverged", after_a_run_at(1.0, "number"), THIRD),
    fault("checkpoint-of-a-diverged-run", "weights-diverged", from_a_saved_run, SOME),
    fault("model-of-a-run-to-nan", "non-finite-weights", after_a_run_at(1e30), ALL),
    fault("one-nan-in-the-head", "non-finite-weights",
          one_value(NAN, lambda net: last_layer(net).weight, "labels"), SOME),
    fault("one-nan-in-a-rare-word", "non-finite-weights", one_value(NAN, a_rare_word, "classes"), OTHERS),
    fault("one-infinite-weight", "non-finite-weights",
          one_value(INF, lambda net: last_layer(net).weight, "number"), THIRD),
    fault("model-left-in-half", ("half-weights-without-master", "non-finite-weights"), left_in_half("classes"),
          where_half_runs(ALL), cure=True),
    fault("model-halved-by-hand", "half-weights-without-master", halved_by_hand, where_half_runs(OTHERS), cure=True),
    fault("scale-overflows-each-step", OVERFLOWS, mixed(loss_scale=2.0 ** 100), where_half_runs(SOME)),
    fault("scale-fixed-too-high", (OVERFLOWS, "non-finite-weights"),
          mixed("labels", loss_scale=2.0 ** 40, dynamic=False), where_half_runs(OTHERS)),
    fault("loss-of-a-corpus", (OVERFLOWS, "non-finite-weights"), mixed(loss_func=PerCorpus(1e8)),
          where_half_runs(THIRD)),
    fault("scale-fixed-too-low", "loss-scale-collapsed", mixed(loss_scale=2.0 ** -30, dynamic=False),
          where_half_runs(SOME)),
    fault("scale-set-too-low", "loss-scale-collapsed", scale_set_later, where_half_runs(OTHERS)),
    fault("patch-below-hfcallback", PATCH, patched_with(hf_loss_batch, "classes", HFCallback), ALL, undo=put_back,
          cure=True),
    fault("patch-below-first-element", (PATCH, "batch-dimension-lost"),
          patched_with(hf_loss_batch, "classes", TakesFirst), SOME, undo=put_back, loud=True, cure=True),
    fault("patch-without-backward", PATCH, patched_with(timed_loss_batch, "labels"), OTHERS, undo=put_back),
    fault("patch-without-step", (PATCH, "step-skipped"), patched_with(careful_loss_batch, "labels", HFCallback),
          THIRD, undo=put_back),
]
