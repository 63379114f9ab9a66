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

from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.metrics import ColumnwiseAUC
from fastai_hf_callback.results.finding import Finding

__all__ = ["find_fix"]

WEIGHT_DECAY = 0.01  # fastai's own default
EPSILON = 1e-8  # torch's own


def find_fix(finding: Finding) -> Optional[Callable[[Learner], None]]:
    """The function that heals `finding` on a learner, or None where that takes a person."""
    if finding.cause in _FIXED_BY_REMOVAL and finding.evidence.get("who"):
        names = list(finding.evidence["who"])
        return lambda learn: _remove_callbacks(learn, names)
    if finding.cause == "metric-at-base-rate" and "ColumnwiseAUC" not in finding.fix:
        return None
    return _FIXES.get(finding.cause)


def _merge_parameter_groups(learn: Learner) -> None:
    """All modules in one layer group, everything trainable, and a new optimizer at the rate there was."""
    lr = _get_current_lr(learn)
    learn.layer_groups = [nn.Sequential(*flatten_model(learn.model))]
    for parameter in learn.model.parameters():
        parameter.requires_grad_(True)
    learn.create_opt(lr, learn.wd)


def _recreate_optimizer(learn: Learner) -> None:
    learn.create_opt(_get_current_lr(learn), learn.wd)


def _unfreeze_all(learn: Learner) -> None:
    for parameter in learn.model.parameters():
        parameter.requires_grad_(True)
    _recreate_optimizer(learn)


def _get_current_lr(learn: Learner) -> float:
    rate = getattr(vars(learn).get("opt"), "lr", None)
    return float(rate) if isinstance(rate, (int, float)) and rate else 1e-4  # freeze() leaves a slice there


def _reset_weight_decay(learn: Learner) -> None:
    learn.wd = WEIGHT_DECAY
    if vars(learn).get("opt"):
        learn.opt.wd = WEIGHT_DECAY


def _switch_to_full_precision(learn: Learner) -> None:
    learn.to_fp32()
    learn.model.float()
    _merge_parameter_groups(learn)


def _reset_loss_scale(learn: Learner) -> None:
    for callback in [*learn.callbacks, *vars(learn).values()]:
        if isinstance(callback, Callback) and "loss_scale" in vars(callback):
            # What it begins with itself; from there it finds its own way down.
            callback.loss_scale, callback.dynamic, callback.noskip = 2.0**16, True, 0


def _restore_fastai_loop(learn: Learner) -> None:
    """``loss_batch`` as fastai's file has it, its globals those of the live module; and the callback for it."""
    source = importlib.util.find_spec("fastai.basic_train")
    code = next(
        c
        for c in source.loader.get_code("fastai.basic_train").co_consts
        if isinstance(c, types.CodeType) and c.co_name == "loss_batch"
    )
    basic_train.loss_batch = types.FunctionType(code, vars(basic_train), "loss_batch", (None, None, None))
    if not any(_is_unwrapping(cb) for cb in learn.callbacks):
        _add_hf_callback(learn)


def _add_hf_callback(learn: Learner) -> None:
    learn.callback_fns = [fn for fn in learn.callback_fns if not _is_unwrapping(getattr(fn, "func", fn))]
    if not any(isinstance(cb, HFCallback) for cb in learn.callbacks):
        learn.callbacks = [cb for cb in learn.callbacks if isinstance(cb, Callback)] + [HFCallback()]


def _is_unwrapping(kind: Any) -> bool:
    kind = kind if isinstance(kind, type) else type(kind)
    return (
        issubclass(kind, Callback)
        and kind.on_loss_begin is not Callback.on_loss_begin
        and not issubclass(kind, MixedPrecision)
    )


def _reset_epsilon(learn: Learner) -> None:
    learn.opt_func = partial(learn.opt_func, eps=EPSILON)
    _recreate_optimizer(learn)


def _relax_clipping(learn: Learner) -> None:
    for callback in learn.callbacks:
        if isinstance(getattr(callback, "clip", None), (int, float)):
            callback.clip = 1.0
    learn.callback_fns = [fn for fn in learn.callback_fns if not _has_tiny_clip(fn)]


def _has_tiny_clip(fn: Any) -> bool:
    return any(isinstance(v, float) and v < 1e-4 for v in getattr(fn, "keywords", {}).values()) and "clip" in getattr(
        fn, "keywords", {}
    )


def _remove_callbacks(learn: Learner, names: list) -> None:
    learn.callbacks = [cb for cb in learn.callbacks if type(cb).__name__ not in names]
    learn.callback_fns = [
        fn for fn in learn.callback_fns if getattr(getattr(fn, "func", fn), "__name__", "") not in names
    ]


def _add_auc_metric(learn: Learner) -> None:
    learn.metrics = [*learn.metrics, ColumnwiseAUC()]


_FIXED_BY_REMOVAL = ("step-skipped", "backward-skipped", "gradients-never-zeroed", "accumulation-never-steps")

_FIXES: Dict[str, Callable[[Learner], None]] = {
    "optimizer-holds-another-model": _merge_parameter_groups,
    "split-leaves-modules-out": _merge_parameter_groups,
    "parameters-not-in-optimizer": _recreate_optimizer,
    "everything-frozen": _unfreeze_all,
    "head-frozen": _unfreeze_all,
    "untrained-body-frozen": _unfreeze_all,
    "weight-decay-dominates": _reset_weight_decay,
    "half-weights-without-master": _switch_to_full_precision,
    "loss-scale-overflows": _reset_loss_scale,
    "loss-scale-collapsed": _reset_loss_scale,
    "patch-left-active": _restore_fastai_loop,
    "output-not-unwrapped": _add_hf_callback,
    "unwrapping-in-callback-fns": _add_hf_callback,
    "callback-class-not-instance": _add_hf_callback,
    "callback-instance-in-callback-fns": _add_hf_callback,
    "clipped-to-nothing": _relax_clipping,
    "metric-at-base-rate": _add_auc_metric,
    "epsilon-outweighs-gradients": _reset_epsilon,
}
