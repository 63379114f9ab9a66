"""``HFCallback`` for fastai 1: the model's output is unwrapped where fastai says so, in ``on_loss_begin``."""

import warnings
import weakref
from typing import Any, Callable, Dict, Optional

from fastai.basic_train import Learner, Recorder, _loss_func2activ
from fastai.callbacks.lr_finder import LRFinder
from fastai.callbacks.mixup import MixUpCallback
from torch import Tensor

from fastai_hf_callback.errors import FastaiHFError
from fastai_hf_callback.fastai1.compat.training_loop import (
    find_active_patch,
    find_running_callbacks,
    find_running_handler,
    find_running_learner,
    find_running_loss_func,
    find_unread_predictions,
    is_fitting,
)
from fastai_hf_callback.fastai1.data.class_names import name_classes
from fastai_hf_callback.fastai1.data.own_loss import adapt_own_loss
from fastai_hf_callback.fastai1.weight_corrections import WeightCorrectionsCallback
from fastai_hf_callback.model.loss.own_loss import describe_loss
from fastai_hf_callback.model.output import Element, tensors_in, unwrap
from fastai_hf_callback.model.sanity_checks import check_first_output, check_gradient_flow, check_no_mixup_of_ids
from fastai_hf_callback.model.weights.activation_casts import to_float32
from fastai_hf_callback.results.fit_record import FitRecord

__all__ = ["HFCallback"]


class HFCallback(WeightCorrectionsCallback):
    """A callback that gives fastai the logits in the output of a Hugging Face model.

    Write ``Learner(data, model, callbacks=[HFCallback()])``: registered there it works in ``fit``,
    ``lr_find``, ``validate``, ``get_preds``, ``pred_batch``, ``predict``, ``show_results`` and
    ``Interpretation``. An output that is a tensor already is left unchanged.

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

    Examples
    --------
    >>> learn = Learner(data, HFModel(model, inputs=data.inputs), callbacks=[HFCallback()])
    >>> learn.get_preds()[0].shape[1] == data.c
    True
    """

    _order = -1000  # before every callback that reads last_output; MixedPrecision (999) turns tuples into lists
    last_fit: Optional[FitRecord] = None  # of the last one, or of the one that runs; not exported
    _pairing_unknown = False  # whether the first batch could not tell how the loss pairs rows (see does_loss_broadcast)

    def __init__(
        self, element: Element = None, check: bool = True, keep_output: bool = False, train_in_float32: bool = True
    ):
        if isinstance(element, Learner):
            raise FastaiHFError(
                "HFCallback was given a Learner, as callback_fns=[HFCallback] does; it takes none, and "
                "callback_fns reach neither validate nor pred_batch. Write "
                "Learner(..., callbacks=[HFCallback()]).",
                "registration",
            )
        super().__init__(train_in_float32)
        self.element, self.check, self.keep_output = element, check, keep_output
        self._clear_batch()
        self._unchecked, self._fitting = True, False
        self._late_activation: Optional[Callable[..., Any]] = None
        self._late_run: Callable[[], Any] = lambda: None

    @property
    def output(self) -> Any:
        """The whole output of the running batch with ``keep_output=True``; None once the batch has ended."""
        return self._output

    def on_train_begin(self: Any = None, **kwargs: Any) -> None:
        if self is None:  # fastai calls the class itself
            raise FastaiHFError(
                "The class HFCallback was given; expected an instance. Write callbacks=[HFCallback()].", "registration"
            )
        learn = find_running_learner() if is_fitting() else None
        if learn is not None:
            name_classes(learn)  # first: after an error in this event nothing is put back
        super().on_train_begin(**kwargs)
        self._unchecked = True
        self._adapt_own_loss()
        self._fitting = kwargs.get("pbar") is not None  # validate begins with this event too, and ends with none

    def on_epoch_begin(self, **kwargs: Any) -> None:
        super().on_epoch_begin(**kwargs)
        self._keep_records()

    def on_batch_begin(self, last_input: Any, train: bool, **kwargs: Any) -> None:
        if not (train or self._fitting):
            self._adapt_own_loss()  # fastai's get_preds and predict begin here
        if train and self._unchecked and any(isinstance(cb, MixUpCallback) for cb in find_running_callbacks()):
            check_no_mixup_of_ids(last_input, "learn.mixup() away")

    def on_loss_begin(
        self, last_output: Any, last_input: Any, last_target: Any, train: bool, **kwargs: Any
    ) -> Dict[str, Any]:
        if self.keep_output:
            self._store_output(last_output, last_input)
        logits = unwrap(last_output, self.element)
        logits = to_float32(logits)
        if train and self.check and self._unchecked:
            loss_func, patch = find_running_loss_func(), find_active_patch()
            self._pairing_unknown = not check_first_output(logits, last_target, loss_func, patch, "callbacks")
        return {"last_output": logits if self._late_activation is None else self._activate(logits)}

    def on_backward_begin(self, last_loss: Tensor, last_output: Any, **kwargs: Any) -> None:
        super().on_backward_begin(**kwargs)
        if self.check and self._unchecked:
            check_gradient_flow(last_loss, last_output)
            self._unchecked = self._pairing_unknown

    def on_batch_end(self, **kwargs: Any) -> None:
        if self.keep_output:
            self._clear_batch()

    def on_train_end(self, **kwargs: Any) -> None:
        super().on_train_end(**kwargs)
        self._clear_batch()
        self._fitting = False

    def _keep_records(self) -> None:
        """Hold the lists that this fit's Recorder writes to: ``get_preds`` puts a new Recorder in its place.

        ``lr_find`` is no fit: it puts the weights back.
        """
        running = find_running_callbacks()
        recorder = next((cb for cb in running if isinstance(cb, Recorder) and hasattr(cb, "losses")), None)
        if recorder is None or any(isinstance(cb, LRFinder) for cb in running):
            return
        self.last_fit = FitRecord(recorder.losses, recorder.lrs, recorder.metrics, recorder.metrics_names)

    # -- a loss of the user's own ------------------------------------------------------------------

    def _adapt_own_loss(self) -> None:
        learn = find_running_learner()
        if learn is None:
            return
        before = learn.loss_func
        adapt_own_loss(learn)
        predicting = None if learn.loss_func is before else find_unread_predictions()
        if predicting is None:
            return
        if predicting["lf"] is None:
            self._late_activation, self._late_run = (
                _loss_func2activ(learn.loss_func),
                weakref.ref(find_running_handler()),
            )
        else:
            warnings.warn(
                f"{describe_loss(learn.loss_func)} was given, for which fastai finds no activation, and "
                "get_preds(with_loss=True) asked for it before anything else ran: these predictions are the model's "
                "outputs as they are. Write ordered_preds(learn, with_loss=True), or call it again.",
                stacklevel=2,
            )

    def _activate(self, logits: Any) -> Any:
        """Apply the activation for which fastai asked the loss too early, as long as that run lasts."""
        if self._late_run() is find_running_handler():
            return self._late_activation(logits)
        self._late_activation = None
        return logits

    # -- keep_output=True: held for one batch and no longer -------------------------------------------------

    def _store_output(self, output: Any, batch: Any) -> None:
        self._output = output
        tensor = next(tensors_in(batch), None)
        # pred_batch and predict have no event at the end of a batch; there the output is dropped with its input.
        self._batch = None if tensor is None else weakref.ref(tensor, self._clear_batch)

    def _clear_batch(self, _: Optional[Any] = None) -> None:
        self._output = self._batch = None

    # -- export, purge, pickle, deepcopy: the arguments and nothing of the batch ---------------------

    def get_state(self, minimal: bool = True) -> Dict[str, Any]:
        names = ("element", "check", "keep_output", "train_in_float32")
        return {name: getattr(self, name) for name in names}

    def __getstate__(self) -> Dict[str, Any]:
        return self.get_state()

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__init__(**state)
