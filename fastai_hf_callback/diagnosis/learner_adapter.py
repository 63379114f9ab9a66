"""``LearnerAdapter``: what an examination and a fit's monitor ask of a live learner. Each fastai has its own."""

from dataclasses import dataclass, field
from typing import Any, Callable, ContextManager, Dict, Iterator, List, Optional, Protocol, Sequence, Set, Tuple

from torch import Tensor

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.results.evidence import Wiring
from fastai_hf_callback.utils.protocols import LearnerLike

from .fixes import FixTable
from .probes.batches import Batch
from .probes.metrics import MetricFunc
from .probes.optimizer import OptimizerReader
from .probes.steps import StepMonitor

__all__ = ["CallbackLog", "LearnerAdapter", "LossNotReachedError"]


class LossNotReachedError(Exception):
    """A callback took the batch away before the loss was asked for."""


@dataclass
class CallbackLog:
    """What callbacks did to the steps that were replayed.

    Attributes
    ----------
    skipping : list of callback
        Those that asked to skip something, or cancelled it.
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
    """A live learner of either fastai; all but `preserve` and what only reads is called inside `preserve`.

    Attributes
    ----------
    learn : Learner
    optimizer : OptimizerReader
        Of its optimizer, also of one that comes later.
    callbacks : list of callback
        Copies of those that take part in a batch, made by `prepare_callbacks` or `copy_running_callbacks`.
    scaler_attribute : str
        What a callback has that scales the loss, and sets no rate.
    fixes : mapping of str to Fix
        How an action of a finding is written on this fastai, and what does it.
    """

    learn: LearnerLike
    callbacks: List[Any]
    scaler_attribute: str
    fixes: FixTable

    @property
    def optimizer(self) -> OptimizerReader: ...

    def preserve(self) -> ContextManager[None]:
        """Keep everything the learner is made of; on leaving, it is what it was."""

    def seed(self, seed: int) -> None:
        """Seed all that draws, the loaders too."""

    # -- data --------------------------------------------------------------------------------------------------

    def has_rows(self, train: bool) -> bool:
        """Whether there are rows to train, or to validate on."""

    def count_rows(self, train: bool) -> int:
        """Rows of the training or the validation set."""

    def iterate_batches(self, train: bool) -> Iterator[Batch]:
        """Whole batches of a loader."""

    def collate(self, train: bool, rows: List[int]) -> Batch:
        """Rows of a loader's data set, collated as it does that."""

    def find_encoder(self) -> Optional[TextEncoder]:
        """What encoded the texts, where the data of ``text_data`` tell."""

    def find_vocabulary(self) -> Sequence[Any]:
        """The words of fastai's own text data; empty where the data bring none."""

    # -- what was and what is set up -----------------------------------------------------------------------------

    def read_wiring(self) -> Wiring:
        """How the loop and the callbacks are set up."""

    def read_metric_values(self) -> Dict[str, List[float]]:
        """Values that earlier epochs left in the Recorder, by metric."""

    def list_metric_functions(self, metrics: Sequence[Any]) -> List[Tuple[str, MetricFunc]]:
        """Names of the metrics and how each is computed, on a fresh copy; none of those constant on purpose."""

    # -- callbacks and the loop ----------------------------------------------------------------------------------

    def prepare_callbacks(self, wiring: Wiring) -> bool:
        """Copy the callbacks of a fit to come; False where they cannot be used, with the reason in `wiring`."""

    def copy_running_callbacks(self) -> None:
        """Copy the callbacks of the fit that is running."""

    def list_unvalidated_callbacks(self) -> List[str]:
        """Callbacks of the running fit that a validation would not see, where its failing tells of such."""

    def run_batch(self, batch: Batch, loss_func: Callable[..., Any], with_graph: bool, validates: bool) -> Any:
        """The loss of one batch that goes through the loop in eval mode.

        Parameters
        ----------
        batch : Batch
        loss_func : callable
        with_graph : bool
        validates : bool
            With the callbacks that ``validate`` has, where these are fewer than a fit's.

        Raises
        ------
        LossNotReachedError
        """

    def prepare_optimizer(self, lr: float, is_first: bool) -> None:
        """Make an optimizer where there is none, at `lr`; `is_first` where no fit has put a rate in force."""

    def take_steps(
        self, batches: List[Batch], log: CallbackLog, on_loss: Callable[[Tensor], None], monitor: StepMonitor
    ) -> None:
        """Real steps through the loop, as a fit takes them.

        Parameters
        ----------
        batches : list of Batch
        log : CallbackLog
            Written to.
        on_loss : callable
            Called with each loss before any callback scales or replaces it.
        monitor : StepMonitor
            Is told what happens after all callbacks.
        """

    def replay_step(self, batch: Batch, log: CallbackLog) -> None:
        """The events of one step, for what the callbacks set in vain, where the loop lets them."""

    def simulate_epoch(self, callbacks: List[Any], batch: Batch) -> Iterator[Tuple[int, float]]:
        """Steps made and the highest rate after each batch of an epoch, asking callbacks alone; no model is trained."""
