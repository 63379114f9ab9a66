"""Fixes on fastai 1, as code and as functions: one table, by the names of the checks' actions."""

from functools import partial
from types import FunctionType
from typing import Any, Dict, List

from fastai import basic_train
from fastai.basic_train import Learner
from fastai.callback import Callback
from fastai.callbacks.fp16 import MixedPrecision
from fastai.torch_core import flatten_model
from torch import nn

from fastai_hf_callback.diagnosis.fixes.fix_table import Fix, build_shared_fixes, read_code
from fastai_hf_callback.fastai1.callback import HFCallback
from fastai_hf_callback.fastai1.metrics import ColumnwiseAUC
from fastai_hf_callback.model.weights.adapters import has_adapters

__all__ = ["FIXES"]


def _merge_parameter_groups(learn: Learner) -> None:
    """Put all modules into one layer group, with a new optimizer at the same rate; what is frozen stays frozen."""
    lr = _get_current_lr(learn)
    learn.layer_groups = [nn.Sequential(*flatten_model(learn.model))]
    learn.create_opt(lr, learn.wd)


def _recreate_optimizer(learn: Learner) -> None:
    learn.create_opt(_get_current_lr(learn), learn.wd)


def _unfreeze_all(learn: Learner) -> None:
    if not has_adapters(learn.model):  # their base is frozen on purpose
        learn.model.requires_grad_(True)
    _recreate_optimizer(learn)


def _get_current_lr(learn: Learner) -> float:
    rate = getattr(vars(learn).get("opt"), "lr", None)
    return float(rate) if isinstance(rate, (int, float)) and rate else 1e-4  # freeze() leaves a slice there


def _unfreeze_module(learn: Learner, module: str) -> None:
    dict(learn.model.named_modules())[module].requires_grad_(True)
    _recreate_optimizer(learn)


def _set_weight_decay(learn: Learner, wd: float) -> None:
    learn.wd = wd
    if vars(learn).get("opt"):
        learn.opt.wd = wd


def _switch_to_full_precision(learn: Learner) -> None:
    learn.to_fp32()  # the model's weights too
    _recreate_optimizer(learn)  # what is frozen stays frozen


def _reset_loss_scale(learn: Learner) -> None:
    for callback in [*learn.callbacks, *vars(learn).values()]:
        if isinstance(callback, Callback) and "loss_scale" in vars(callback):
            # Its own initial value, which it lowers by itself.
            callback.loss_scale, callback.dynamic, callback.noskip = 2.0**16, True, 0


def _restore_fastai_loop(learn: Learner) -> None:
    """Restore ``loss_batch`` from fastai's file, with the live module's globals, and add the callback for it."""
    code = read_code(basic_train, "loss_batch")
    basic_train.loss_batch = FunctionType(code, vars(basic_train), "loss_batch", (None, None, None))
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
    learn.opt_func = partial(learn.opt_func, eps=1e-8)
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


def _remove_callbacks(learn: Learner, names: List[str]) -> None:
    learn.callbacks = [cb for cb in learn.callbacks if type(cb).__name__ not in names]
    learn.callback_fns = [
        fn for fn in learn.callback_fns if getattr(getattr(fn, "func", fn), "__name__", "") not in names
    ]


_BUILD = "Learner(..., callbacks=[HFCallback()])"
_SPLIT = "learn.split(lambda model: [flatten_model(model)])"

# By an action's name: the line of code, its arguments in braces, and the function that does it.
FIXES: Dict[str, Fix] = {
    **build_shared_fixes(_restore_fastai_loop, _unfreeze_all, _unfreeze_module, _set_weight_decay, ColumnwiseAUC),
    # -- what unwraps the output
    "add-callback": Fix(_BUILD, _add_hf_callback),
    "build-with-callback": Fix(_BUILD),
    "unwrap-once": Fix(f"Unwrap once: {_BUILD} and no [0] elsewhere"),
    "move-to-callbacks": Fix(_BUILD, _add_hf_callback),
    "instantiate-callback": Fix(f"{_BUILD}  # with the parentheses", _add_hf_callback),
    "return-logits": Fix("return {{'last_output': logits}}  # from on_loss_begin"),
    # -- what is propagated and stepped
    "keep-loss-graph": Fix(
        "Return the loss itself from loss_func and on_backward_begin: no .item(), .detach() or torch.tensor(loss)"
    ),
    "keep-loss": Fix("Return the loss unchanged from on_backward_begin"),
    "remove-callbacks": Fix(
        "learn.callbacks = [cb for cb in learn.callbacks if type(cb).__name__ not in {names!r}]", _remove_callbacks
    ),
    "skip-backward-rarely": Fix("Return {{'skip_bwd': True}} from on_backward_begin only where a batch is dropped"),
    "skip-steps-rarely": Fix("Return {{'skip_step': True}} from on_backward_end only where a step is to be left out"),
    "zero-gradients": Fix("Return {{'skip_zero': True}} only together with {{'skip_step': True}}"),
    # -- the optimizer
    "one-group": Fix(f"{_SPLIT}; learn.opt = None", _merge_parameter_groups),
    "one-group-and-optimizer": Fix(f"{_SPLIT}; learn.create_opt(3e-5, learn.wd)", _merge_parameter_groups),
    "split-with-everything": Fix(f"{_SPLIT}  # a split that holds every module", _merge_parameter_groups),
    "split-by-depth": Fix("learn.split(layer_groups); learn.freeze()"),
    "add-to-optimizer": Fix(
        "learn.unfreeze()  # or learn.freeze_to(n): both make the optimizer again", _recreate_optimizer
    ),
    "renew-optimizer": Fix("learn.opt = None; learn.create_opt(3e-5, learn.wd)"),
    "use-adam": Fix(
        "learn.opt_func = partial(torch.optim.Adam, betas=(0.9, 0.99)); learn.create_opt(3e-5, learn.wd); "
        "learn.fit_one_cycle(1, 3e-5)"
    ),
    "accumulate-with-heal": Fix("with heal(): learn.fit(1)  # heal() mends it for models of several inputs"),
    "weigh-kappa": Fix("KappaScore(weights='linear')  # or 'quadratic'; or another metric"),
    "plot-learning-rates": Fix("learn.recorder.plot_lr()"),
    "relax-clipping": Fix(
        "learn.clip_grad(1.0)  # and take the other GradientClipping out of learn.callback_fns", _relax_clipping
    ),
    "clip-gradients": Fix("learn.clip_grad(1.0) and a tenth of the rate, on a freshly loaded model"),
    "reset-epsilon": Fix(
        "learn.opt_func = partial(learn.opt_func, eps=1e-8); learn.create_opt(3e-5, learn.wd)", _reset_epsilon
    ),
    # -- precision, devices, files
    "full-precision": Fix("learn.to_fp32(); learn.create_opt(3e-5, learn.wd)", _switch_to_full_precision),
    "match-precision": Fix("learn.to_fp32()", _switch_to_full_precision),
    "reset-loss-scale": Fix("learn.to_fp32(); learn.to_fp16(dynamic=True)", _reset_loss_scale),
    "move-model": Fix("learn.model.to(learn.data.device)"),
    "load-full-file": Fix("with heal(): learn.load(name)  # or, full pickles, with trusted(file): load_learner(...)"),
    # -- texts, batches, metrics
    "pad-behind": Fix("TextDataBunch.from_df(..., pad_first=False, pad_idx=tokenizer.pad_token_id)"),
    "pad-with": Fix("TextDataBunch.from_df(..., pad_idx={pad_token_id}, pad_first=False)"),
    "pad-batches": Fix("DataBunch.create(..., collate_fn=...)"),
    "avoid-ragged-arrays": Fix(
        "with heal(): learn.fit(1)  # the data made inside it, too; or pip install 'numpy<1.24'"
    ),
    "shuffle-rows": Fix("DataBunch.create(train_ds, ...)  # whose train_dl shuffles; or train_df.sample(frac=1)"),
    "no-special-tokens": Fix(
        "Tokenizer(tok_func=..., pre_rules=[], post_rules=[]) and include_bos=False, include_eos=False"
    ),
    "own-tokenizer": Fix(
        "Use the tokenizer of the model's own folder, do_lower_case as it says; of fastai's: "
        "Tokenizer(tok_func=..., pre_rules=[], post_rules=[]) and include_bos=False, include_eos=False"
    ),
    "watch-for-less": Fix("partial({callback}, monitor={monitor!r}, mode='min')  # in callback_fns, for the one there"),
    "watch-for-more": Fix("partial({callback}, monitor={monitor!r}, mode='max')  # in callback_fns, for the one there"),
    "reset-metric": Fix("Reset the metric's counts in on_epoch_begin"),
}
