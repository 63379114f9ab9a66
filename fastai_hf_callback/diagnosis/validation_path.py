"""The validation path: reads validation batches and runs one as ``validate`` does."""

from itertools import islice
from typing import Callable, List

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
        adapter = self.adapter
        return self.attempt(
            lambda: float(adapter.run_batch(batch, adapter.learn.loss_func, with_graph=False, validates=True))
        )

    def attempt(self, run: Callable[[], object]) -> bool:
        """Run what runs a batch as ``validate`` does, and return whether it went through."""
        try:
            run()
        except LossNotReachedError:
            pass
        except Exception as error:
            self._record_failure(error)
            return False
        return True

    def _record_failure(self, error: Exception) -> None:
        wiring, outcome = self.evidence.wiring, self.evidence.probes.get("validation batches")
        if outcome is not None:
            record_failure(outcome, error, self.adapter.fixes)
        if wiring is not None:
            wiring.valid_error = classify_exception(error, self.adapter.fixes).cause
            wiring.valid_message = format_error(error)
