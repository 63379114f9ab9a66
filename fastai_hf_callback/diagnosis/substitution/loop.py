"""``PlantedLoop``: what a search needs of either fastai's loop. Each fastai has its own."""

from typing import Any, Callable, ContextManager, List, Protocol, Sequence

from fastai_hf_callback.diagnosis.probes.batches import Batch

__all__ = ["PlantedLoop", "StepCounter", "reaches_training"]


class PlantedLoop(Protocol):
    """The learner's own loop, on batches that are handed to it; used inside ``adapter.preserve()``."""

    def list_callbacks(self) -> List[Any]:
        """List the callbacks of the next fit that can change what is learned, the learner's own objects."""

    def copy_callbacks(self, callbacks: Sequence[Any]) -> List[Any]:
        """Copy callbacks, and add what fastai itself needs to train."""

    def is_bridge(self, callback: Any) -> bool:
        """Return whether a callback is an ``HFCallback``: a new one takes its place."""

    def make_bridge(self) -> Any:
        """Make an ``HFCallback`` that checks nothing."""

    def name_own_loop(self) -> str:
        """Name what replaces fastai's loop, or a part of it; "" where it is fastai's own."""

    def restore_loop(self) -> ContextManager[None]:
        """Use fastai's own loop inside."""

    def has_optimizer(self) -> bool:
        """Return whether the learner has one already."""

    def renew_optimizer(self, lr: float, is_new_model: bool) -> None:
        """Make the learner's own optimizer again, as its next fit would without one.

        Of a new model it is given all parameters, where the groups are the old one's.
        """

    def use_adam(self, lr: float) -> None:
        """Put a new Adam over all parameters that are trained in its place."""

    def run_fit(
        self,
        epochs: Sequence[Sequence[Batch]],
        callbacks: Sequence[Any],
        before_step: Callable[[Batch], None],
        on_output: Callable[[Any, Any], bool],
    ) -> None:
        """Run a fit without validation.

        Parameters
        ----------
        epochs : sequence of sequence of Batch
        callbacks : sequence of callback
            Copies.
        before_step : callable
            Called with each batch before the loop gets it.
        on_output : callable
            Called after each batch with the output that reached the loss and the loss; True ends the fit.
        """

    def count_steps(self) -> int:
        """Return how many optimizer steps the last fit made."""


# What a callback's code calls or reads where it can change what is learned, and where it writes.
_TRAINS = frozenset(
    [
        "model",
        "opt",
        "loss_func",
        "dls",
        "data",
        "parameters",
        "modules",
        "hypers",
        "param_groups",
        "set_hyper",
        "set_hypers",
        "requires_grad_",
        "freeze",
        "unfreeze",
        "freeze_to",
        "load_state_dict",
        "zero_grad",
        "mul_",
        "add_",
        "copy_",
        "fill_",
        "zero_",
        "grad",
        "xb",
        "yb",
        "pred",
        "loss",
        "lr",
    ]
)
_WRITES = frozenset(
    [
        "open",
        "save",
        "write",
        "writerow",
        "to_csv",
        "export",
        "mkdir",
        "unlink",
        "rename",
        "post",
        "request",
        "dump",
        "savefig",
        "write_text",
        "log",
        "add_scalar",
        "log_metric",
        "log_metrics",
        "system",
        "Popen",
        "socket",
        "urlopen",
    ]
)


class StepCounter:
    """Counts the steps of an optimizer from inside."""

    def __init__(self) -> None:
        self.steps = 0

    def watch(self, optimizer: Any) -> None:
        """Count from now on; ``adapter.preserve()`` takes the wrapped ``step`` off again."""
        self.steps, step = 0, optimizer.step

        def counted_step(*args: Any, **kwargs: Any) -> Any:
            self.steps += 1
            return step(*args, **kwargs)

        optimizer.step = counted_step


def reaches_training(callback_class: type, is_own: bool) -> bool:
    """Return whether callbacks of the user's own can change what is learned, and writes nothing.

    It is read from the names in the code of its class.
    """
    names = {name for method in vars(callback_class).values() for name in _names_in(getattr(method, "__code__", None))}
    return is_own and bool(names & _TRAINS) and not names & _WRITES


def _names_in(code: Any) -> List[str]:
    if code is None:
        return []
    return [*code.co_names, *(name for const in code.co_consts for name in _names_in(_as_code(const)))]


def _as_code(constant: Any) -> Any:
    return constant if hasattr(constant, "co_names") else None
