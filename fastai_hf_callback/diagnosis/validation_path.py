"""The validation path: reads validation batches and runs one as ``validate`` does."""

from itertools import islice
from typing import Any, Callable, List

from fastai_hf_callback.results.evidence import Evidence

from .checks.failures import classify_exception
from .learner_adapter import LearnerAdapter, LossNotReachedError
from .probe_runner import NotMadeError, format_error, record_failure
from .probes.batches import Batch

__all__ = ["ValidationPath"]


class ValidationPath:
    """Validation batches of a learner; what raises on the way is told in the wiring.

    Parameters
    ----------
    adapter : LearnerAdapter
    evidence : Evidence
        Written to.
    """

    def __init__(self, adapter: LearnerAdapter, evidence: Evidence):
        self.adapter, self.evidence = adapter, evidence

    def read(self, n: int) -> List[Batch]:
        """Read the first `n` batches; raise where there is none, or where the loader raises."""
        try:
            batches = list(islice(self.adapter.iterate_batches(train=False), n))
        except Exception as error:
            self._record_failure(error)
            raise
        if not batches:
            raise NotMadeError(
                "the validation loader gives no batch", "a smaller bs, or drop_last=False for validation"
            )
        return batches

    def check(self, batch: Batch) -> bool:
        """Run a batch as ``validate`` does, and return whether it went through."""
        assert self.evidence.wiring is not None
        self.run(batch)
        return self.evidence.wiring.valid_error is None

    def run(self, batch: Batch) -> List[Any]:
        """Run a batch as ``validate`` does; return its output, in a list that is empty where none reached the loss."""
        caught: List[Any] = []
        loss_func = self._make_recording_loss(caught)
        try:
            float(self.adapter.run_batch(batch, loss_func, with_graph=False, validates=True))
        except LossNotReachedError:
            pass
        except Exception as error:
            self._record_failure(error)
        return caught

    def _make_recording_loss(self, caught: List[Any]) -> Callable[..., Any]:
        own = self.adapter.learn.loss_func  # while the batch runs, the learner's is another

        def loss_func(output: Any, *targets: Any) -> Any:
            caught.append(output)
            return own(output, *targets)

        return loss_func

    def _record_failure(self, error: Exception) -> None:
        wiring, outcome = self.evidence.wiring, self.evidence.probes.get("validation batches")
        if outcome is not None:
            record_failure(outcome, error, self.adapter.fixes)
        if wiring is not None:
            wiring.valid_error = classify_exception(error, self.adapter.fixes).cause
            wiring.valid_message = format_error(error)
