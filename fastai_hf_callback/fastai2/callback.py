"""``HFCallback`` for fastai 2: the model's output is unwrapped where fastai says so, in ``after_pred``."""

import sys
import warnings
from typing import Any, Dict, Optional, Tuple

from fastai.learner import Learner

from fastai_hf_callback.errors import FastaiHFError
from fastai_hf_callback.fastai2.compat.training_loop import find_active_patch, is_fitting
from fastai_hf_callback.fastai2.data.class_names import name_classes
from fastai_hf_callback.fastai2.data.own_loss import adapt_own_loss
from fastai_hf_callback.fastai2.weight_corrections import WeightCorrectionsCallback
from fastai_hf_callback.model.output import Element, unwrap
from fastai_hf_callback.model.sanity_checks import (
    check_adapter_inside,
    check_first_output,
    check_gradient_flow,
    check_no_mixup_of_ids,
)
from fastai_hf_callback.model.weights.activation_casts import to_float32
from fastai_hf_callback.results.fit_record import FitRecord

__all__ = ["HFCallback"]


class HFCallback(WeightCorrectionsCallback):
    """A callback that gives fastai the logits in the output of a Hugging Face model.

    Write ``Learner(dls, model, cbs=[HFCallback()])``: registered there it works in ``fit``, ``fine_tune``,
    ``lr_find``, ``validate``, ``get_preds``, ``predict``, ``show_results`` and ``Interpretation``. An output that
    is a tensor already is left unchanged. Inside ``learn.distrib_ctx`` it also makes the processes share the texts
    of ``text_data`` by length, each row once (``data/distributed_loader.py``).

    Parameters
    ----------
    element : int, str, callable or sequence of int and str, optional
        Which part of the output is the logits; see :func:`fastai_hf_callback.unwrap`.
    check : bool
        Check the first training batch of each fit: the loss must reach at least one parameter, and
        must not broadcast the output against the target. It costs about a millisecond, once.
    keep_output : bool
        Keep the whole output (hidden states, attentions) readable as ``output`` until the batch ends.
    train_in_float32 : bool
        Make trainable weights float32 that are stored in half precision (bfloat16, float16), as many checkpoints are:
        small steps would be rounded away. It is said once. Frozen ones keep their precision, and so do adapters of
        peft and the models of ``to_fp16`` with copies in float32. With False all stay as they are.

    Raises
    ------
    InputError
        When fastai's mixup would average token ids.
    OutputError
        When the output holds no logits, or the loss would broadcast it against the target.
    GradientError
        When the loss reaches no parameter: training would go on and move nothing.

    Notes
    -----
    fastai 2 puts "Exception occured in `HFCallback` ..." before the message of an error; the error is the same, and its
    ``message`` and ``cause`` are unchanged. After an exception fastai keeps its last batch, and a kept output stays
    next to it, until the next run begins.

    Examples
    --------
    >>> learn = Learner(data, HFModel(model, inputs=data.inputs), cbs=[HFCallback()])
    >>> learn.get_preds()[0].shape[1] == data.c
    True
    """

    last_fit: Optional[FitRecord] = None  # of the last one, or of the one that runs; not exported
    order = -1000  # before every callback that reads pred; MixedPrecision (10) turns a ModelOutput into a plain dict
    _pairing_unknown = False  # whether the first batch could not tell how the loss pairs rows (see does_loss_broadcast)

    def __init__(
        self, element: Element = None, check: bool = True, keep_output: bool = False, train_in_float32: bool = True
    ):
        if isinstance(element, Learner):
            raise FastaiHFError(
                "HFCallback was given a Learner; it takes none. Write Learner(..., cbs=[HFCallback()]).", "registration"
            )
        super().__init__(train_in_float32)
        self.element, self.check, self.keep_output = element, check, keep_output
        self._output = None
        self._unchecked = True

    @property
    def output(self) -> Any:
        """The whole output of the running batch with ``keep_output=True``; None once the batch has ended."""
        return self._output

    def after_create(self) -> None:
        adapt_own_loss(self.learn)

    def before_fit(self) -> None:
        if is_fitting(self.learn):
            name_classes(self.learn)
        super().before_fit()
        self._output = None
        self._unchecked = True
        adapt_own_loss(self.learn)  # again: learn.loss_func may be another one since
        self._warn_if_registered_twice()

    def before_train(self) -> None:
        super().before_train()
        self._keep_records()
        self._shard_rows()

    def before_validate(self) -> None:
        self._shard_rows()

    def before_batch(self) -> None:
        learn = self.learn
        if learn.training and self._unchecked:
            check_adapter_inside(learn.model)
            mixes = _find_mixup_classes()
            if any(isinstance(callback, mixes) for callback in learn.cbs):
                check_no_mixup_of_ids(learn.xb, "MixUp out of cbs")

    def after_pred(self) -> None:
        learn = self.learn
        if self.keep_output:
            self._output = learn.pred
        logits = unwrap(learn.pred, self.element)
        logits = to_float32(logits)
        if learn.training and self.check and self._unchecked:
            target = learn.yb[0] if len(learn.yb) == 1 else learn.yb
            self._pairing_unknown = not check_first_output(
                logits, target, learn.loss_func, find_active_patch(), registered_in="cbs"
            )
        learn.pred = logits

    def before_backward(self) -> None:
        if self.check and self._unchecked:
            check_gradient_flow(self.learn.loss_grad, self.learn.pred)
            self._unchecked = self._pairing_unknown

    def after_batch(self) -> None:
        self._output = None

    def after_fit(self) -> None:
        self._output = None

    def _shard_rows(self) -> None:
        if "fastai.distributed" in sys.modules:  # it needs accelerate, which is imported only if the user does so
            from fastai_hf_callback.fastai2.data.distributed_loader import shard_loader

            self.learn.dl = shard_loader(self.learn)

    def _keep_records(self) -> None:
        """Hold the lists that this fit's Recorder writes to: ``validate`` and ``get_preds`` give it new ones.

        ``lr_find`` is no fit: it puts the weights back.
        """
        if hasattr(self.learn, "lr_finder"):
            return
        recorder = vars(self.learn).get("recorder")
        self.last_fit = None if recorder is None else FitRecord(*(getattr(recorder, n, []) for n in FitRecord._fields))

    # -- registration -----------------------------------------------------------------------------

    def _warn_if_registered_twice(self) -> None:
        own = [callback for callback in self.learn.cbs if isinstance(callback, HFCallback)]
        if len(own) > 1 and own[0] is self:
            warnings.warn(
                f"HFCallback is registered {len(own)} times; expected once: what the first unwraps, the "
                f"others no longer see. Write learn.remove_cbs(HFCallback).add_cb(HFCallback()).",
                stacklevel=2,
            )

    # -- export, pickle, deepcopy: everything but what is of the batch -------------------------------

    def __getstate__(self) -> Dict[str, Any]:
        return {**super().__getstate__(), "_output": None, "last_fit": None}


def _find_mixup_classes() -> Tuple[type, ...]:
    """Find fastai's mixup callbacks, if they have been imported: in some releases they need torchvision."""
    module = sys.modules.get("fastai.callback.mixup")
    return tuple(getattr(module, name) for name in ("MixHandler", "MixUp", "CutMix") if hasattr(module, name))
