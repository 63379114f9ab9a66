"""``LearnerAdapter``: what an examination and a fit monitor need of a live learner. Each fastai has its own."""

from dataclasses import dataclass, field
from typing import (
    Any,
    Callable,
    ContextManager,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Set,
    Tuple,
    Type,
)

import numpy as np
import torch
from torch import Tensor, nn

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.model.weights.starting_weights import StartingWeights
from fastai_hf_callback.results.evidence import HyperParams, Wiring
from fastai_hf_callback.results.fit_record import History
from fastai_hf_callback.utils.protocols import LearnerLike

from .event_replay import EventLog
from .fixes.fix_table import FixTable
from .probes.batches import Batch
from .probes.metrics import MetricFunc
from .probes.optimizer import OptimizerReader
from .probes.steps import StepMonitor

__all__ = [
    "CallbackLog",
    "LastFit",
    "LearnerAdapter",
    "LossNotReachedError",
    "Watch",
    "find_start",
    "find_watch",
    "is_library_class",
    "is_number",
    "is_stream",
    "tell_doctor",
    "read_trackers",
]


class LossNotReachedError(Exception):
    """A callback ended the batch before the loss was computed."""


class LastFit(NamedTuple):
    """What is known of the last fit.

    Attributes
    ----------
    losses, rates : list of float
        One a step, the losses smoothed.
    metrics : dict of str to list of float
        One an epoch.
    was_erased : bool
        Whether the optimizer has taken steps of which nothing is known: every ``validate`` and ``get_preds`` empties
        fastai 2's Recorder.
    start : StartingWeights or None
        What the model's weights were when its first fit began, where ``HFCallback`` has kept that.
    """

    losses: List[float]
    rates: List[float]
    metrics: Dict[str, List[float]]
    was_erased: bool = False
    start: Optional[StartingWeights] = None


class Watch(NamedTuple):
    """What ``Doctor`` knows of the last fit.

    Attributes
    ----------
    causes : list of str
        Of its warnings and errors, most probable first.
    history, hyper : History, HyperParams or None
        Losses, metrics and rates, which fastai's ``validate`` and ``get_preds`` may have erased.
    """

    causes: List[str]
    history: Optional[History]
    hyper: Optional[HyperParams]


def find_watch(learn: LearnerLike) -> Optional[Watch]:
    """Return what the learner's own ``Doctor`` saw in the last fit; None where it saw none, or weights are others."""
    monitor = _find_monitor(learn)
    return None if monitor is None else monitor.recall(learn.model)


def tell_doctor(learn: LearnerLike, diagnosis: Any) -> None:
    """Let the learner's own ``Doctor`` know what was found."""
    monitor = _find_monitor(learn)
    if monitor is not None:
        monitor.learn_of(diagnosis)


def _find_monitor(learn: LearnerLike) -> Any:
    return getattr(getattr(learn, "doctor", None), "monitor", None)  # both fastais name callbacks so


def find_start(callbacks: Sequence[Any], model: nn.Module) -> Optional[StartingWeights]:
    """Return what one of the learner's ``HFCallback`` has kept of the weights of this very model, or None."""
    kept = [callback.corrections.start for callback in callbacks]
    return next((start for start in kept if start is not None and start.covers(model)), None)


def is_library_class(kind: Type[Any]) -> bool:
    """Return whether a callback's class is fastai's, or this package's."""
    return kind.__module__.split(".")[0] in ("fastai", __name__.split(".")[0])


def is_number(value: Any) -> bool:
    """Return whether a metric's recorded value is a number, or a tensor of one."""
    try:
        return value is not None and float(value) == float(value)
    except (TypeError, ValueError):
        return False


def read_trackers(callbacks: Sequence[Any]) -> List[Tuple[str, str, bool]]:
    """Read which callbacks wait for a figure to get better: class, what it watches, whether it takes more for better.

    Both fastais compare with ``np.less`` or ``np.greater``, fastai 2 in ``comp`` and fastai 1 in ``operator``.
    """
    found = ((cb, vars(cb).get("monitor"), vars(cb).get("comp", vars(cb).get("operator"))) for cb in callbacks)
    return [
        (type(cb).__name__, monitor, compare is np.greater)
        for cb, monitor, compare in found
        if isinstance(monitor, str) and (compare is np.less or compare is np.greater)
    ]


def is_stream(dataset: Any) -> bool:
    """Return whether a data set can only be iterated over; torch 1.4's has a ``__getitem__`` all the same."""
    return isinstance(dataset, torch.utils.data.IterableDataset)


@dataclass
class CallbackLog:
    """What callbacks did to the steps that were replayed.

    Attributes
    ----------
    skipping : list of callback
        Those that skipped or cancelled something.
    ended : bool
        Whether one ended the epoch or the fit.
    set_on_itself : dict of str to str
        As in :class:`Wiring`, and so is `loss_only_shown`.
    """

    skipping: List[Any] = field(default_factory=list)
    ended: bool = False
    set_on_itself: Dict[str, str] = field(default_factory=dict)
    loss_only_shown: Set[str] = field(default_factory=set)

    def add_skipping(self, callback: Any) -> None:
        if callback not in self.skipping:
            self.skipping.append(callback)

    @property
    def skipped_by(self) -> List[str]:
        """The classes of those that skip."""
        return sorted({type(callback).__name__ for callback in self.skipping})


class LearnerAdapter(Protocol):
    """A live learner of either fastai; everything but `preserve` and what only reads is called inside `preserve`.

    Attributes
    ----------
    learn : Learner
    optimizer : OptimizerReader
        Of its optimizer, also of one that is made later.
    callbacks : list of callback
        Copies of those that take part in a batch, made by `prepare_callbacks` or `copy_running_callbacks`.
    scaler_attribute : str
        An attribute of the callback that scales the loss and sets no rate.
    fixes : mapping of str to Fix
        How an action of a finding is written on this fastai, and the function that applies it.
    """

    learn: LearnerLike
    callbacks: List[Any]
    scaler_attribute: str
    fixes: FixTable

    @property
    def optimizer(self) -> OptimizerReader: ...

    def preserve(self, copy_weights: bool = True) -> ContextManager[None]:
        """Keep the whole state of the learner, and restore it on leaving.

        Without `copy_weights` the weights are not copied: nothing inside may change them in place.
        """

    def has_own_callbacks(self) -> bool:
        """Return whether a callback is of the user's own class: fastai's change no weights within a batch."""

    def seed(self, seed: int) -> None:
        """Seed all random generators, the loaders' too."""

    # -- data --------------------------------------------------------------------------------------------------

    def has_rows(self, train: bool) -> bool:
        """Return whether there are rows to train, or to validate on."""

    def require_loaders(self) -> None:
        """Raise where a fit would end for want of a loader."""

    def count_rows(self, train: bool) -> int:
        """Count the rows of the training or the validation set."""

    def has_numbered_rows(self, train: bool) -> bool:
        """Return whether the rows of a set can be read by number."""

    def iterate_batches(self, train: bool) -> Iterator[Batch]:
        """Iterate over whole batches of a loader."""

    def collate(self, train: bool, rows: List[int]) -> Batch:
        """Collate rows of a loader's data set as the loader does."""

    def find_encoder(self) -> Optional[TextEncoder]:
        """Find the encoder of the texts, where the data are from ``text_data``."""

    def find_vocabulary(self) -> Sequence[Any]:
        """Find the vocabulary of fastai's own text data; empty where the data have none."""

    # -- what was and what is set up -----------------------------------------------------------------------------

    def read_wiring(self) -> Wiring:
        """Read how the loop and the callbacks are set up."""

    def read_last_fit(self) -> LastFit:
        """Read what the last fit left in the Recorder, or in ``HFCallback``."""

    def list_metric_functions(self, metrics: Sequence[Any]) -> List[Tuple[str, MetricFunc]]:
        """List the metrics' names and how each is computed, on a new copy; leave out those constant on purpose."""

    def list_metric_names(self) -> List[str]:
        """List the names of the learner's metrics, in their order."""

    # -- callbacks and the loop ----------------------------------------------------------------------------------

    def prepare_callbacks(self, wiring: Wiring) -> bool:
        """Copy the callbacks of the next fit; False where they cannot be used, with the reason in `wiring`."""

    def list_idle_callbacks(self) -> List[str]:
        """List the classes of callbacks that are not run, as they take no part in a batch; fastai's own left out."""

    def has_own_events(self) -> bool:
        """Return whether the user wrote a callback that has an event outside of a batch."""

    def replay_events(self, train: List[Batch], valid: List[Batch]) -> EventLog:
        """Run a short epoch of these batches, and log what the user's own callbacks do outside of a batch."""

    def copy_running_callbacks(self) -> None:
        """Copy the callbacks of the fit that is running."""

    @property
    def validates_with_all_callbacks(self) -> bool:
        """Whether ``validate`` has the callbacks that a fit has, of those that take part in a batch."""

    def list_unvalidated_callbacks(self) -> List[str]:
        """List callbacks of the running fit that ``validate`` would not have, where a failing validation shows them."""

    def run_batch(self, batch: Batch, loss_func: Callable[..., Any], with_graph: bool, validates: bool) -> Any:
        """Run one batch through the loop in eval mode and return its loss.

        Parameters
        ----------
        batch : Batch
        loss_func : callable
        with_graph : bool
        validates : bool
            Whether to use the callbacks of ``validate``, where these are fewer than a fit's.

        Raises
        ------
        LossNotReachedError
        """

    def prepare_optimizer(self, lr: float, is_first: bool) -> None:
        """Make an optimizer where there is none, at `lr`; `is_first` where no fit has set a rate."""

    def take_steps(
        self, batches: List[Batch], log: CallbackLog, on_loss: Callable[[Tensor], None], monitor: StepMonitor
    ) -> None:
        """Take real steps through the loop, as a fit does.

        Parameters
        ----------
        batches : list of Batch
        log : CallbackLog
            Written to.
        on_loss : callable
            Called with each loss before any callback scales or replaces it.
        monitor : StepMonitor
            Called after all callbacks.
        """

    def fit_briefly(self, train: List[Batch], valid: List[Batch], epochs: int, lr: float) -> Dict[str, List[float]]:
        """Fit on these batches as ``learn.fit`` does, without callbacks that take no part in a batch.

        Returns
        -------
        dict
            ``train_loss``, ``valid_loss`` and each metric, by name: a number an epoch.
        """

    def replay_step(self, batch: Batch, log: CallbackLog) -> None:
        """Replay the events of one step, to find what callbacks set without effect, where the loop allows that."""

    def simulate_epoch(self, callbacks: List[Any], batch: Batch) -> Iterator[Tuple[int, float]]:
        """Yield steps made and the highest rate after each batch of an epoch, from callbacks alone, without a model."""
