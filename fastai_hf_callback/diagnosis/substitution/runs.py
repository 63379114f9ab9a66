"""Planted runs: a fit of the learner, with some parts replaced or none, and what it learned. Imports torch."""

import math
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Callable, List, NamedTuple, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback.diagnosis.learner_adapter import LearnerAdapter
from fastai_hf_callback.diagnosis.probe_runner import format_error
from fastai_hf_callback.diagnosis.probes.batches import Batch, count_rows, take_row
from fastai_hf_callback.diagnosis.training_steps import capture_output
from fastai_hf_callback.results.substitution import PlantedRun, ReplaceablePart
from fastai_hf_callback.utils.distributed import unwrap_ddp

from .budget import Budget, OutOfTimeError
from .layout import draw_inputs
from .loop import PlantedLoop
from .signals import Planted, Signal

__all__ = ["Arm", "Part", "Rates", "Runner"]

EPOCHS = 3
HELD_OUT_BATCHES, HELD_OUT_ROWS = 6, 64
SURE, SURE_GAP = 0.97, 0.4  # of a batch: so many in a row, and a run may end early
SURE_BATCHES = 4


@dataclass
class Arm:
    """The set-up of one run; parts change it before it begins.

    Attributes
    ----------
    callbacks : list of callback
        The learner's own objects.
    needs_bridge : bool
        Whether outputs have to be unwrapped by a callback of this package's, if none of the learner's is left to.
    renews_optimizer : bool
        Whether the learner's own optimizer has to be made again.
    has_new_model : bool
    uses_adam, uses_good_rates, uses_good_loss, cleans_inputs : bool
    changes : list of callable
        Batch -> batch, before the model gets it.
    stack : ExitStack
        What ends with the run.
    """

    learn: Any
    callbacks: List[Any]
    needs_bridge: bool = False
    renews_optimizer: bool = False
    has_new_model: bool = False
    uses_adam: bool = False
    uses_good_rates: bool = False
    uses_good_loss: bool = False
    cleans_inputs: bool = False
    changes: List[Callable[[Batch], Batch]] = field(default_factory=list)
    stack: ExitStack = field(default_factory=ExitStack)


@dataclass
class Part:
    """A part that can be replaced, and the function that does it.

    Attributes
    ----------
    shown : ReplaceablePart
    apply : callable
        Called with the ``Arm``.
    tier : int
        Parts of a lower tier are tried first: it is the less invasive replacement.
    """

    shown: ReplaceablePart
    apply: Callable[[Arm], None]
    tier: int = 0


@dataclass
class Rates:
    """Rates of a run: the learner's own of its last fit, if there was one, and good ones.

    Attributes
    ----------
    own : list of float
        One a step of the last fit.
    good : float
        For Adam.
    boost : float
        What good rates are multiplied by for the learner's own optimizer.
    """

    own: List[float]
    good: float
    boost: float = 1.0

    def list_own(self, steps: int) -> List[float]:
        """List the last fit's rates for fewer steps: raised so that they add up to the same, not above good ones."""
        picked = [self.own[min(len(self.own) - 1, i * len(self.own) // steps)] for i in range(steps)]
        total, highest = sum(picked), max(picked)
        if not total > 0 or not math.isfinite(total):
            return picked
        factor = max(1.0, min(sum(self.own) / total, self.good / highest))
        return [rate * factor for rate in picked]

    def list_good(self, steps: int) -> List[float]:
        """List good rates: a short warm-up, then one rate."""
        warm = max(1, min(10, steps // 5))
        return [self.good * self.boost * min(1.0, (i + 1) / warm) for i in range(steps)]


class StandInLoss(nn.Module):
    """The known-good loss of whatever batch is running."""

    def __init__(self, runner: "Runner"):
        super().__init__()
        self._runner = [runner]  # no module, and not copied as one

    def forward(self, output: Any, *targets: Any) -> Tensor:
        runner = self._runner[0]
        if runner.current is None:
            raise OutOfTimeError("no batch is running")
        return runner.signal.compute_loss(output, runner.current)

    def __deepcopy__(self, memo: Any) -> "StandInLoss":
        return self


class Runner:
    """Makes planted runs of one learner.

    Parameters
    ----------
    adapter : LearnerAdapter
    loop : PlantedLoop
    signal : Signal
    batches : list of Batch
        The learner's own.
    budget : Budget
    """

    def __init__(
        self, adapter: LearnerAdapter, loop: PlantedLoop, signal: Signal, batches: List[Batch], budget: Budget
    ):
        self.adapter, self.loop, self.signal, self.batches, self.budget = adapter, loop, signal, batches, budget
        self.current: Optional[Planted] = None
        self.runs = 0
        self.step_seconds = 0.0

    def run(self, parts: Sequence[Part], rates: Rates, steps: int, after: Any = None) -> PlantedRun:
        """Train with `parts` replaced, and judge what was learned; the learner is what it was.

        Parameters
        ----------
        parts : sequence of Part
        rates : Rates
        steps : int
        after : callable, optional
            Called with nothing at the end, while the trained learner is still there.
        """
        record = PlantedRun([part.shown.label for part in parts])
        names = ", ".join(record.replaced)
        self.budget.begin(f"replaced: {names}" if names else "the learner as it is")
        self.runs += 1
        with self.adapter.preserve():
            self.adapter.seed(0)
            self.adapter.learn.model = unwrap_ddp(self.adapter.learn.model)
            arm = Arm(self.adapter.learn, self.loop.list_callbacks())
            with arm.stack:
                try:
                    self._set_up(arm, parts, rates)
                    self._train(arm, rates, steps, record)
                    record.score, record.gap = self._judge(arm)
                    if after is not None:
                        after()
                except OutOfTimeError:
                    raise
                except Exception as error:
                    record.error = format_error(error)
        return record

    def _set_up(self, arm: Arm, parts: Sequence[Part], rates: Rates) -> None:
        for part in parts:
            part.apply(arm)
        if arm.uses_adam:
            self.loop.use_adam(rates.good)
        elif arm.renews_optimizer or not self.loop.has_optimizer():
            self.loop.renew_optimizer(rates.good, arm.has_new_model)
        if arm.uses_good_loss:
            arm.learn.loss_func = StandInLoss(self)
        if arm.needs_bridge and not any(self.loop.is_bridge(cb) for cb in arm.callbacks):
            arm.callbacks = [self.loop.make_bridge(), *arm.callbacks]

    def _train(self, arm: Arm, rates: Rates, steps: int, record: PlantedRun) -> None:
        good = arm.uses_good_rates or arm.uses_adam or not rates.own
        listed = rates.list_good(steps) if good else rates.list_own(steps)
        if arm.uses_adam:
            listed = [rate / rates.boost for rate in listed] if good else listed
        record.lr = max(listed)
        generator = torch.Generator().manual_seed(0)
        batches = self._list_batches(arm)
        planted = [self.signal.plant(batches[i % len(batches)], generator) for i in range(steps)]
        planted = [p._replace(batch=self._change(arm, p.batch)) for p in planted]
        waiting, scores = iter(zip(planted, listed)), []

        def before_step(batch: Batch) -> None:
            self.current, rate = next(waiting)
            self.adapter.optimizer.set_learning_rate(rate)
            self.budget.check()

        def on_output(output: Any, loss: Any) -> bool:
            record.costs.append(self._read_cost(output, loss))
            scores.append(self._is_sure(output))
            return len(scores) > SURE_BATCHES and all(scores[-SURE_BATCHES:])

        cuts = [len(planted) * k // EPOCHS for k in range(EPOCHS + 1)]
        epochs = [[p.batch for p in planted[a:b]] for a, b in zip(cuts, cuts[1:]) if a < b]
        self.adapter.callbacks = self.loop.copy_callbacks(arm.callbacks)
        started = self.budget.clock()
        try:
            self.loop.run_fit(epochs, self.adapter.callbacks, before_step, on_output)
        finally:
            self.current = None
            self.step_seconds = (self.budget.clock() - started) / max(1, len(record.costs))
        record.steps = self.loop.count_steps()

    def _change(self, arm: Arm, batch: Batch) -> Batch:
        for change in arm.changes:
            batch = change(batch)
        return batch

    def _read_cost(self, output: Any, loss: Any) -> float:
        assert self.current is not None
        with torch.no_grad():
            try:
                return float(self.signal.costs(output, self.current).mean())
            except Exception:
                return float(loss.detach().float().mean()) if isinstance(loss, Tensor) else float("nan")

    def _is_sure(self, output: Any) -> bool:
        """Return whether the batch's sides are told apart by far."""
        assert self.current is not None
        with torch.no_grad():
            try:
                compared = [self._compare(output, self.current)]
                return compute_score(compared) >= SURE and compute_gap(compared) >= SURE_GAP
            except Exception:
                return False

    # -- what was learned --------------------------------------------------------------------------------------------

    def _list_batches(self, arm: Arm) -> List[Batch]:
        if not arm.cleans_inputs:
            return self.batches
        generator = torch.Generator().manual_seed(2)
        return [draw_inputs(self.signal.layout, batch, generator) for batch in self.batches]

    def plant_held_out(self, batches: List[Batch]) -> List[Planted]:
        """Plant the signal in batches, in another way than any run was trained on."""
        found: List[Planted] = []
        generator, rows = torch.Generator().manual_seed(1), 0
        while len(found) < HELD_OUT_BATCHES and rows < HELD_OUT_ROWS:
            found.append(self.signal.plant(batches[-1 - len(found) % len(batches)], generator))
            rows += count_rows(found[-1].batch.xb)
        return found

    def _judge(self, arm: Arm) -> Tuple[float, float]:
        """Compute score and gap on what is newly planted."""
        self.adapter.callbacks = self.loop.copy_callbacks(arm.callbacks)
        held_out = self.plant_held_out(self._list_batches(arm))
        held_out = [p._replace(batch=self._change(arm, p.batch)) for p in held_out]
        try:
            compared = [self._compare(self.compute_output(p), p) for p in held_out]
        except OutOfTimeError:
            raise
        except Exception:
            compared = self._compare_own_losses(held_out)
        return compute_score(compared), compute_gap(compared)

    def compute_output(self, planted: Planted) -> Any:
        """Compute what reaches the loss in eval mode."""
        self.budget.check()
        return capture_output(self.adapter, planted.batch, with_graph=False)[0]

    def _compare(self, output: Any, planted: Planted) -> "Compared":
        right, wrong = self.signal.costs(output, planted), self.signal.costs(output, planted, other=True)
        return Compared(right, wrong, planted.sides)

    def _compare_own_losses(self, held_out: List[Planted]) -> List["Compared"]:
        """Compare the learner's own loss of each row, where the output is of no known form."""
        compared = []
        for planted in held_out:
            for row in range(min(count_rows(planted.batch.xb), 8)):
                self.budget.check()
                losses = [self._compute_own_loss(take_row(one, row)) for one in (planted.batch, planted.other)]
                compared.append(Compared(torch.tensor(losses[:1]), torch.tensor(losses[1:]), None))
        return compared

    def _compute_own_loss(self, batch: Any) -> float:
        loss = self.adapter.run_batch(Batch(*batch), self.adapter.learn.loss_func, with_graph=False, validates=False)
        return float(loss.detach().float().mean())


class Compared(NamedTuple):
    """What the planted targets of one batch cost, what those of the other side do, and the sides if there are any."""

    right: Tensor
    wrong: Tensor
    sides: Optional[Tensor]

    @property
    def gaps(self) -> Tensor:
        gaps = (self.wrong - self.right).detach().float().reshape(-1).cpu()
        return torch.where(torch.isfinite(gaps), gaps, torch.zeros_like(gaps))


def compute_score(compared: Sequence[Compared]) -> float:
    """Compute how well outputs tell the sides.

    Returns
    -------
    float
        The area under the ROC curve over sides, which no preference for one side raises; of pairs the share that is
        right. 0.5 is chance.
    """
    gaps = torch.cat([one.gaps for one in compared])
    if len(gaps) == 0:
        return 0.5
    if all(one.sides is not None for one in compared):
        sides = torch.cat([one.sides.detach().reshape(-1).cpu().bool() for one in compared if one.sides is not None])
        margins = torch.where(sides, gaps, -gaps)
        apart = margins[sides][:, None] - margins[~sides][None]
    else:
        apart = gaps
    return float((apart > 0).float().mean() + 0.5 * (apart == 0).float().mean()) if apart.numel() else 0.5


def compute_gap(compared: Sequence[Compared]) -> float:
    """Compute by how much the planted targets cost less, as a part of the mean of both."""
    gaps = torch.cat([one.gaps for one in compared])
    both = torch.cat([((one.wrong + one.right) / 2).detach().float().reshape(-1).cpu() for one in compared])
    size = float(both[torch.isfinite(both)].abs().mean()) if bool(torch.isfinite(both).any()) else 0.0
    return float(gaps.mean()) / size if len(gaps) and size > 0 else 0.0
