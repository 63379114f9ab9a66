"""Fixes on fastai 2, as code and as functions: one table, by the names of the checks' actions."""

from functools import partial
from types import FunctionType
from typing import Dict, List

from fastai import learner
from fastai.callback.core import Callback
from fastai.callback.fp16 import MixedPrecision
from fastai.learner import Learner
from fastai.torch_core import trainable_params

from fastai_hf_callback.diagnosis.fixes.fix_table import Fix, build_shared_fixes, read_code
from fastai_hf_callback.fastai2.callback import HFCallback
from fastai_hf_callback.fastai2.metrics import ColumnwiseAUC
from fastai_hf_callback.model.weights.adapters import has_adapters

__all__ = ["FIXES"]


def _merge_parameter_groups(learn: Learner) -> None:
    """Put all trainable parameters into one group, with a new optimizer; what is frozen stays frozen."""
    learn.splitter = trainable_params
    learn.create_opt()


def _recreate_optimizer(learn: Learner) -> None:
    learn.create_opt()


def _unfreeze_all(learn: Learner) -> None:
    if not has_adapters(learn.model):  # their base is frozen on purpose
        learn.model.requires_grad_(True)
    learn.create_opt()


def _unfreeze_module(learn: Learner, module: str) -> None:
    dict(learn.model.named_modules())[module].requires_grad_(True)
    _recreate_optimizer(learn)


def _set_weight_decay(learn: Learner, wd: float) -> None:
    learn.wd = wd
    if learn.opt is not None:
        learn.opt.set_hypers(wd=wd)


def _switch_to_full_precision(learn: Learner) -> None:
    learn.remove_cb(MixedPrecision)
    learn.model.float()
    learn.create_opt()


def _restore_fastai_loop(learn: Learner) -> None:
    """Restore ``_do_one_batch`` from fastai's file, with the live module's globals, and add the callback for it."""
    code = read_code(learner, "Learner", "_do_one_batch")
    Learner._do_one_batch = FunctionType(code, vars(learner), "_do_one_batch")
    if not any(_is_unwrapping(cb) for cb in learn.cbs):
        _add_hf_callback(learn)


def _add_hf_callback(learn: Learner) -> None:
    if not any(isinstance(cb, HFCallback) for cb in learn.cbs):
        learn.add_cb(HFCallback())


def _is_unwrapping(callback: Callback) -> bool:
    return hasattr(callback, "after_pred") and callback.run_valid and not isinstance(callback, MixedPrecision)


def _reset_epsilon(learn: Learner) -> None:
    learn.opt_func = partial(learn.opt_func, eps=1e-8)
    learn.create_opt()


def _relax_clipping(learn: Learner) -> None:
    for callback in learn.cbs:
        if isinstance(vars(callback).get("max_norm"), (int, float)):
            callback.max_norm = 1.0


def _remove_callbacks(learn: Learner, names: List[str]) -> None:
    learn.remove_cbs([cb for cb in learn.cbs if type(cb).__name__ in names])


def _replace_by_hf_callback(learn: Learner, names: List[str]) -> None:
    _remove_callbacks(learn, names)
    _add_hf_callback(learn)


def _wrap_metrics(learn: Learner) -> None:
    learn.metrics = list(learn.metrics)


_BUILD = "Learner(..., cbs=[HFCallback()])"
_SPLIT = "learn.splitter = trainable_params; learn.create_opt()"

# By an action's name: the line of code, its arguments in braces, and the function that does it.
FIXES: Dict[str, Fix] = {
    **build_shared_fixes(_restore_fastai_loop, _unfreeze_all, _unfreeze_module, _set_weight_decay, ColumnwiseAUC),
    # -- what unwraps the output
    "add-callback": Fix(_BUILD, _add_hf_callback),
    "build-with-callback": Fix(_BUILD),
    "unwrap-once": Fix(f"Unwrap once: {_BUILD} and no [0] elsewhere"),
    "replace-training-callbacks": Fix(
        f"{_BUILD}  # in place of it; or leave run_valid at True", _replace_by_hf_callback
    ),
    "set-on-learner": Fix("self.learn.{attribute} = ...  # in {callback}, in place of self.{attribute} = ..."),
    # -- what is propagated and stepped
    "keep-loss-graph": Fix(
        "Return the loss itself from loss_func, and leave learn.loss_grad its graph: no .item(), .detach() or "
        "torch.tensor(loss)"
    ),
    "keep-loss": Fix("Leave learn.loss_grad unchanged in after_loss"),
    "set-propagated-loss": Fix("self.learn.loss_grad = ...  # and learn.loss, to show it"),
    "remove-callbacks": Fix(
        "[learn.remove_cb(cb) for cb in list(learn.cbs) if type(cb).__name__ in {names!r}]", _remove_callbacks
    ),
    "skip-backward-rarely": Fix("Raise CancelBackwardException only where a batch is dropped"),
    "skip-steps-rarely": Fix("Raise CancelStepException only where a step is to be left out"),
    "zero-gradients": Fix("Raise CancelBatchException in before_step, not after the step"),
    # -- the optimizer
    "one-group": Fix(_SPLIT, _merge_parameter_groups),
    "one-group-and-optimizer": Fix(_SPLIT, _merge_parameter_groups),
    "split-with-everything": Fix(f"{_SPLIT}  # a splitter whose groups hold every parameter", _merge_parameter_groups),
    "split-by-depth": Fix("Learner(..., splitter=layer_groups); then learn.freeze()"),
    "add-to-optimizer": Fix("learn.create_opt()  # fit makes one only where there is none", _recreate_optimizer),
    "renew-optimizer": Fix("learn.create_opt()"),
    "use-adam": Fix("learn.opt_func = Adam; learn.create_opt(); learn.fit_one_cycle(1, 3e-5)"),
    "plot-learning-rates": Fix("learn.recorder.plot_sched()"),
    "relax-clipping": Fix("learn.remove_cb(GradientClip); learn.add_cb(GradientClip(1.0))", _relax_clipping),
    "clip-gradients": Fix("learn.add_cb(GradientClip(1.0)) and a tenth of the rate, on a freshly loaded model"),
    "reset-epsilon": Fix("learn.opt_func = partial(learn.opt_func, eps=1e-8); learn.create_opt()", _reset_epsilon),
    # -- precision, devices, files
    "full-precision": Fix("learn.to_fp32(); learn.model.float(); learn.create_opt()", _switch_to_full_precision),
    "match-precision": Fix("learn.to_fp32(); learn.model.float()", _switch_to_full_precision),
    "reset-loss-scale": Fix("learn.to_fp32(); learn.to_fp16()"),
    "move-model": Fix("learn.model.to(learn.dls.device)"),
    "load-full-file": Fix(
        "learn.load(name, weights_only=False)  # a file of sure origin; or, full pickles, with trusted(file): "
        "load_learner(file)"
    ),
    # -- texts, batches, metrics
    "pad-behind": Fix("pad_input(pad_idx=tokenizer.pad_token_id, pad_first=False)"),
    "pad-with": Fix("pad_input(..., pad_idx={pad_token_id}, pad_first=False)"),
    "pad-batches": Fix("DataLoader(..., create_batch=...)"),
    "avoid-ragged-arrays": Fix("text_data(...)  # pads every batch; or pad the rows to one length before np.array"),
    "shuffle-rows": Fix("DataLoader(train_ds, shuffle=True, ...)  # or train_df.sample(frac=1)"),
    "no-special-tokens": Fix("Tokenizer(tok, rules=[])"),
    "own-tokenizer": Fix(
        "Use the tokenizer of the model's own folder, do_lower_case as it says; of fastai's: Tokenizer(tok, rules=[])"
    ),
    "watch-for-less": Fix("{callback}(monitor={monitor!r}, comp=np.less)  # in place of the one that is there"),
    "watch-for-more": Fix("{callback}(monitor={monitor!r}, comp=np.greater)  # in place of the one that is there"),
    "wrap-metrics": Fix(
        "learn.metrics = list(learn.metrics)  # an assignment wraps functions as fastai's metrics; append() does not",
        _wrap_metrics,
    ),
    "reset-metric": Fix("Reset the metric's counts in reset()"),
}
