"""What ``finding.apply(learn)`` does: mechanical and safe cures, by cause; and how a fix is said for fastai 2."""

import importlib.util
import types
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

from fastai import learner
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.learner import Learner
from fastai.torch_core import trainable_params

from fastai_hf_callback.fastai2.callback import HFCallback
from fastai_hf_callback.fastai2.metrics import ColumnwiseAUC
from fastai_hf_callback.results.finding import Finding

__all__ = ["FASTAI2_PHRASES", "find_fix"]

WEIGHT_DECAY = 0.01  # fastai's own default
EPSILON = 1e-8  # torch's own

# The checks speak fastai 1's language; longer phrases before those that they hold.
FASTAI2_PHRASES: List[Tuple[str, str]] = [
    ("Learner(..., callbacks=[HFCallback()])", "Learner(..., cbs=[HFCallback()])"),
    (
        "learn.callbacks = [cb for cb in learn.callbacks if type(cb).__name__ not in",
        "[learn.remove_cb(cb) for cb in list(learn.cbs) if type(cb).__name__ in",
    ),
    (
        "learn.split(lambda model: [flatten_model(model)]); learn.opt = None",
        "learn.splitter = trainable_params; learn.create_opt()",
    ),
    (
        "learn.split(lambda model: [flatten_model(model)]); learn.create_opt(3e-5, learn.wd)",
        "learn.splitter = trainable_params; learn.create_opt()",
    ),
    ("learn.split(lambda model: [flatten_model(model)])", "learn.splitter = trainable_params; learn.create_opt()"),
    ("a split that holds every module", "a splitter whose groups hold every parameter"),
    ("learn.split left their modules out", "the splitter left them out"),
    ("The layer groups hold", "The splitter's groups hold"),
    ("layer groups", "splitter's groups"),
    ("and create_opt alone does not heal it", "and the optimizer still steps the old one"),
    (
        "learn.unfreeze()  # or learn.freeze_to(n): both make the optimizer anew",
        "learn.create_opt()  # fit makes one only where there is none",
    ),
    ("learn.opt = None; learn.create_opt(3e-5, learn.wd)", "learn.create_opt()"),
    ("learn.create_opt(3e-5, learn.wd)", "learn.create_opt()"),
    (
        "learn.clip_grad(1.0)  # and take the other GradientClipping out of learn.callback_fns",
        "learn.remove_cb(GradientClip); learn.add_cb(GradientClip(1.0))",
    ),
    ("a callback returns skip_bwd", "a callback raises CancelBackwardException or CancelBatchException"),
    ("a callback returns skip_step", "a callback raises CancelStepException or CancelBatchException"),
    ("Return {'skip_bwd': True} from on_backward_begin only where", "Raise CancelBackwardException only where"),
    ("Return {'skip_step': True} from on_backward_end only where", "Raise CancelStepException only where"),
    ("a callback returns skip_zero", "a callback raises CancelBatchException in after_step"),
    (
        "Return {'skip_zero': True} only together with {'skip_step': True}",
        "Raise CancelBatchException in before_step, not after the step",
    ),
    ("a callback's on_backward_begin, detached", "a callback's after_loss or before_backward, detached"),
    ("from loss_func and on_backward_begin", "from loss_func, and leave learn.loss_grad its graph"),
    ("Return the loss unchanged from on_backward_begin", "Leave learn.loss_grad unchanged in after_loss"),
    ("Reset the metric's counts in on_epoch_begin", "Reset the metric's counts in reset()"),
    ("fastai's loss_batch is replaced", "fastai's Learner._do_one_batch is replaced"),
    ("learn.to_fp32(); learn.to_fp16(dynamic=True)", "learn.to_fp32(); learn.to_fp16()"),
    (
        " fastai's TextClasDataBunch pads in front unless told otherwise, whatever",
        " fastai's text data pads as it is told, whatever",
    ),
    (
        "TextDataBunch.from_df(..., pad_first=False, pad_idx=tokenizer.pad_token_id)",
        "pad_input(pad_idx=tokenizer.pad_token_id, pad_first=False)",
    ),
    ("TextDataBunch.from_df(..., pad_idx=", "pad_input(..., pad_idx="),
    ("DataBunch.create(train_ds, ...)  # whose train_dl shuffles", "DataLoader(train_ds, shuffle=True, ...)"),
    ("DataBunch.create(..., collate_fn=...)", "DataLoader(..., create_batch=...)"),
    ("learn.model.to(learn.data.device)", "learn.model.to(learn.dls.device)"),
]


def find_fix(finding: Finding) -> Optional[Callable[[Learner], None]]:
    """The function that heals `finding` on a learner, or None where that takes a person."""
    if finding.cause in _FIXED_BY_REMOVAL and finding.evidence.get("who"):
        names = list(finding.evidence["who"])
        return lambda learn: _remove_callbacks(learn, names)
    if finding.cause == "unwrapping-in-training-only" and "run_valid=False" in finding.evidence:
        names = finding.evidence["run_valid=False"].split(", ")
        return lambda learn: _add_hf_callback(_remove_callbacks(learn, names))
    if finding.cause == "metric-at-base-rate" and "ColumnwiseAUC" not in finding.fix:
        return None
    return _FIXES.get(finding.cause)


def _merge_parameter_groups(learn: Learner) -> None:
    """All parameters in one group, everything trainable, and a new optimizer."""
    learn.splitter = trainable_params
    _unfreeze_all(learn)


def _recreate_optimizer(learn: Learner) -> None:
    learn.create_opt()


def _unfreeze_all(learn: Learner) -> None:
    for parameter in learn.model.parameters():
        parameter.requires_grad_(True)
    learn.create_opt()


def _reset_weight_decay(learn: Learner) -> None:
    learn.wd = WEIGHT_DECAY
    if learn.opt is not None:
        learn.opt.set_hypers(wd=WEIGHT_DECAY)


def _switch_to_full_precision(learn: Learner) -> None:
    learn.remove_cb(MixedPrecision)
    learn.model.float()
    learn.create_opt()


def _restore_fastai_loop(learn: Learner) -> None:
    """``_do_one_batch`` as fastai's file has it, its globals those of the live module; and the callback for it."""
    source = importlib.util.find_spec("fastai.learner")
    klass = next(
        c
        for c in source.loader.get_code("fastai.learner").co_consts
        if isinstance(c, types.CodeType) and c.co_name == "Learner"
    )
    code = next(c for c in klass.co_consts if isinstance(c, types.CodeType) and c.co_name == "_do_one_batch")
    Learner._do_one_batch = types.FunctionType(code, vars(learner), "_do_one_batch")
    if not any(_is_unwrapping(cb) for cb in learn.cbs):
        _add_hf_callback(learn)


def _add_hf_callback(learn: Learner) -> None:
    if not any(isinstance(cb, HFCallback) for cb in learn.cbs):
        learn.add_cb(HFCallback())


def _is_unwrapping(callback: Callback) -> bool:
    return hasattr(callback, "after_pred") and callback.run_valid and not isinstance(callback, MixedPrecision)


def _reset_epsilon(learn: Learner) -> None:
    learn.opt_func = partial(learn.opt_func, eps=EPSILON)
    learn.create_opt()


def _relax_clipping(learn: Learner) -> None:
    for callback in learn.cbs:
        if isinstance(vars(callback).get("max_norm"), (int, float)):
            callback.max_norm = 1.0


def _remove_callbacks(learn: Learner, names: List[str]) -> Learner:
    learn.remove_cbs([cb for cb in learn.cbs if type(cb).__name__ in names])
    return learn


def _add_auc_metric(learn: Learner) -> None:
    learn.metrics = [*learn.metrics, ColumnwiseAUC()]


_FIXED_BY_REMOVAL = ("step-skipped", "backward-skipped", "gradients-never-zeroed", "accumulation-never-steps")

_FIXES: Dict[str, Callable[[Learner], Any]] = {
    "optimizer-holds-another-model": _merge_parameter_groups,
    "split-leaves-modules-out": _merge_parameter_groups,
    "parameters-not-in-optimizer": _recreate_optimizer,
    "everything-frozen": _unfreeze_all,
    "head-frozen": _unfreeze_all,
    "untrained-body-frozen": _unfreeze_all,
    "weight-decay-dominates": _reset_weight_decay,
    "half-weights-without-master": _switch_to_full_precision,
    "patch-left-active": _restore_fastai_loop,
    "output-not-unwrapped": _add_hf_callback,
    "clipped-to-nothing": _relax_clipping,
    "metric-at-base-rate": _add_auc_metric,
    "epsilon-outweighs-gradients": _reset_epsilon,
}
