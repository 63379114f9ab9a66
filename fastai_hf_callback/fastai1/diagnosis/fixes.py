"""What ``finding.apply(learn)`` does: cures that are mechanical and safe, by cause."""
import importlib.util
import types
from functools import partial
from typing import Any, Callable, Dict, Optional

from fastai import basic_train
from fastai.basic_train import Learner
from fastai.callback import Callback
from fastai.callbacks.fp16 import MixedPrecision
from fastai.torch_core import flatten_model
from torch import nn

from fastai_hf_callback.results.finding import Finding
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.metrics import ColumnwiseAUC

__all__ = ["cure_for"]

WEIGHT_DECAY = 0.01  # fastai's own default
EPSILON = 1e-8  # torch's own


def cure_for(finding: Finding) -> Optional[Callable[[Learner], None]]:
    """The function that heals `finding` on a learner, or None where that takes a person."""
    if finding.cause in _BY_NAME and finding.evidence.get("who"):
        names = list(finding.evidence["who"])
        return lambda learn: _without(learn, names)
    if finding.cause == "metric-at-base-rate" and "ColumnwiseAUC" not in finding.fix:
        return None
    return _CURES.get(finding.cause)


def _one_group(learn: Learner) -> None:
    """All modules in one layer group, everything trainable, and a new optimizer at the rate there was."""
    lr = _rate(learn)
    learn.layer_groups = [nn.Sequential(*flatten_model(learn.model))]
    for parameter in learn.model.parameters():
        parameter.requires_grad_(True)
    learn.create_opt(lr, learn.wd)


def _new_optimizer(learn: Learner) -> None:
    learn.create_opt(_rate(learn), learn.wd)


def _unfreeze(learn: Learner) -> None:
    for parameter in learn.model.parameters():
        parameter.requires_grad_(True)
    _new_optimizer(learn)


def _rate(learn: Learner) -> float:
    rate = getattr(vars(learn).get("opt"), "lr", None)
    return float(rate) if isinstance(rate, (int, float)) and rate else 1e-4  # freeze() leaves a slice there


def _usual_decay(learn: Learner) -> None:
    learn.wd = WEIGHT_DECAY
    if vars(learn).get("opt"):
        learn.opt.wd = WEIGHT_DECAY


def _full_precision(learn: Learner) -> None:
    learn.to_fp32()
    learn.model.float()
    _one_group(learn)


def _fresh_scale(learn: Learner) -> None:
    for callback in [*learn.callbacks, *vars(learn).values()]:
        if isinstance(callback, Callback) and "loss_scale" in vars(callback):
            # What it begins with itself; from there it finds its own way down.
            callback.loss_scale, callback.dynamic, callback.noskip = 2.0 ** 16, True, 0


def _fastais_own_loop(learn: Learner) -> None:
    """``loss_batch`` as fastai's file has it, its globals those of the live module; and the callback for it."""
    source = importlib.util.find_spec("fastai.basic_train")
    code = next(c for c in source.loader.get_code("fastai.basic_train").co_consts
                if isinstance(c, types.CodeType) and c.co_name == "loss_batch")
    basic_train.loss_batch = types.FunctionType(code, vars(basic_train), "loss_batch", (None, None, None))
    if not any(_unwraps(cb) for cb in learn.callbacks):
        _add_callback(learn)


def _add_callback(learn: Learner) -> None:
    learn.callback_fns = [fn for fn in learn.callback_fns if not _unwraps(getattr(fn, "func", fn))]
    if not any(isinstance(cb, HFCallback) for cb in learn.callbacks):
        learn.callbacks = [cb for cb in learn.callbacks if isinstance(cb, Callback)] + [HFCallback()]


def _unwraps(kind: Any) -> bool:
    kind = kind if isinstance(kind, type) else type(kind)
    return issubclass(kind, Callback) and kind.on_loss_begin is not Callback.on_loss_begin \
        and not issubclass(kind, MixedPrecision)


def _small_epsilon(learn: Learner) -> None:
    learn.opt_func = partial(learn.opt_func, eps=EPSILON)
    _new_optimizer(learn)


def _gentle_clip(learn: Learner) -> None:
    for callback in learn.callbacks:
        if isinstance(getattr(callback, "clip", None), (int, float)):
            callback.clip = 1.0
    learn.callback_fns = [fn for fn in learn.callback_fns if not _clips_hard(fn)]


def _clips_hard(fn: Any) -> bool:
    return any(isinstance(v, float) and v < 1e-4 for v in getattr(fn, "keywords", {}).values()) \
        and "clip" in getattr(fn, "keywords", {})


def _without(learn: Learner, names: list) -> None:
    learn.callbacks = [cb for cb in learn.callbacks if type(cb).__name__ not in names]
    learn.callback_fns = [fn for fn in learn.callback_fns
                          if getattr(getattr(fn, "func", fn), "__name__", "") not in names]


def _see_order(learn: Learner) -> None:
    learn.metrics = [*learn.metrics, ColumnwiseAUC()]


_BY_NAME = ("step-skipped", "backward-skipped", "gradients-never-zeroed", "accumulation-never-steps")

_CURES: Dict[str, Callable[[Learner], None]] = {
    "optimizer-holds-another-model": _one_group, "split-leaves-modules-out": _one_group,
    "parameters-not-in-optimizer": _new_optimizer, "everything-frozen": _unfreeze, "head-frozen": _unfreeze,
    "untrained-body-frozen": _unfreeze, "weight-decay-dominates": _usual_decay,
    "half-weights-without-master": _full_precision, "loss-scale-overflows": _fresh_scale,
    "loss-scale-collapsed": _fresh_scale, "patch-left-active": _fastais_own_loop,
    "output-not-unwrapped": _add_callback, "unwrapping-in-callback-fns": _add_callback,
    "callback-class-not-instance": _add_callback,
    "callback-instance-in-callback-fns": _add_callback, "clipped-to-nothing": _gentle_clip,
    "metric-at-base-rate": _see_order,
    "epsilon-outweighs-gradients": _small_epsilon,
}
