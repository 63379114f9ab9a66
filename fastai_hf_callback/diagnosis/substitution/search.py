"""The whole search: plant a signal, fit, and replace parts until it is learned. Imports torch."""

from itertools import islice
from typing import Any, Dict, List, Optional, Sequence, Tuple

from torch import nn

from fastai_hf_callback.diagnosis.learner_adapter import LearnerAdapter
from fastai_hf_callback.diagnosis.learning_rates import is_range_test
from fastai_hf_callback.diagnosis.probes.batches import Batch, truncate_batch
from fastai_hf_callback.diagnosis.probes.forward_calls import record_arguments, record_embedding_calls
from fastai_hf_callback.diagnosis.probes.inputs import TokenView, build_token_view, unify_padding
from fastai_hf_callback.diagnosis.training_steps import capture_output
from fastai_hf_callback.results.evidence import Wiring
from fastai_hf_callback.results.substitution import PlantedRun, Substitution
from fastai_hf_callback.utils.distributed import unwrap_ddp

from .budget import Budget
from .kinds import choose_signal
from .layout import BatchLayout, find_layout
from .loop import PlantedLoop
from .minimize import minimize
from .parts import TIERS, list_parts
from .placed_signals import (
    ChoiceSignal,
    NextTokenSignal,
    SegmentationSignal,
    SequenceSignal,
    SpanSignal,
    TokenSignal,
)
from .runs import Part, Rates, Runner
from .signals import CannotPlantError, Signal, read_logits

__all__ = ["search"]

OWN_BATCHES = 8
FEWEST_STEPS, MOST_STEPS = 24, 120
LONG_RUN = 8.0  # seconds; a run that takes less is made longer where it comes some way
_GRADUAL = {"inputs", "weights", "head", "dropout", "optimizer"}  # with another one, sound learners are quicker, too
STEP_SHARE = 0.08  # of the seconds, for one run
SLOW_SCORE = 0.7  # what comes this far may only take longer than there is time for
# Of the good rate: below and above, no fit of any length would get far.
LOWEST_OWN_RATE, HIGHEST_OWN_RATE = 0.002, 3.0


class _Prepared:
    """What is known before the first run."""

    def __init__(self, signal: Signal, layout: BatchLayout, batches: List[Batch], outputs: int):
        self.signal, self.layout, self.batches, self.outputs = signal, layout, batches, outputs


def search(adapter: LearnerAdapter, loop: PlantedLoop, budget: Budget, result: Substitution) -> None:
    """Find the smallest set of parts that have to be replaced before the learner learns a planted signal.

    Parameters
    ----------
    adapter : LearnerAdapter
    loop : PlantedLoop
    budget : Budget
    result : Substitution
        Written to, so that what was found is there when the time is over.

    Raises
    ------
    CannotPlantError
        Where no signal suits the learner, or even known-good parts do not learn it.
    """
    _Search(adapter, loop, budget, result).run()


class _Search:
    def __init__(self, adapter: LearnerAdapter, loop: PlantedLoop, budget: Budget, result: Substitution):
        self.adapter, self.loop, self.budget, self.result = adapter, loop, budget, result
        self.learn = adapter.learn
        self.found: List[Part] = []
        self.best_score = 0.0  # of what was not enough

    def run(self) -> None:
        self.budget.begin("planting a signal")
        prepared = self._prepare()
        result, self.prepared = self.result, prepared
        result.signal = prepared.signal.description
        self.runner = Runner(self.adapter, self.loop, prepared.signal, prepared.batches, self.budget)
        self.rates = Rates(self._read_own_rates(), choose_rate(self.learn.model))
        self.parts = self._list_parts()
        result.parts = [part.shown for part in self.parts]
        self.steps = FEWEST_STEPS
        try:
            self._search()
        finally:
            result.runs = self.runner.runs

    # -- before the first run ----------------------------------------------------------------------------------------

    def _prepare(self) -> _Prepared:
        with self.adapter.preserve():
            self.adapter.seed(0)
            self.learn.model = unwrap_ddp(self.learn.model)
            batches = [truncate_batch(b) for b in islice(self.adapter.iterate_batches(train=True), OWN_BATCHES)]
            if not batches:
                raise CannotPlantError("the training loader gives no batch")
            self.adapter.prepare_callbacks(Wiring())
            output, arguments, view = self._look_at(batches)
            layout = find_layout(batches, self.learn.model, arguments, view)
            signal = choose_signal(layout, batches, output, self.learn.model)
        return _Prepared(signal, layout, batches, _count_outputs(signal, layout, output, batches))

    def _look_at(self, batches: List[Batch]) -> Tuple[Any, Dict[str, Any], Optional[TokenView]]:
        output: Any = None
        arguments: Dict[str, Any] = {}
        views: List[Optional[TokenView]] = []
        for batch in batches:
            with record_embedding_calls(self.learn.model) as calls, record_arguments(self.learn.model) as given:
                try:
                    found = capture_output(self.adapter, batch, with_graph=False)[0]
                    output = found if output is None else output
                except Exception:  # what the runs will name
                    found = None
            arguments = arguments or (given[0] if given else {})
            views.append(build_token_view(calls, batch.xb))
        known = [view for view in views if view is not None]
        return output, arguments, unify_padding(known)[0] if known and views[0] is not None else None

    def _read_own_rates(self) -> List[float]:
        rates = [float(rate) for rate in self.adapter.read_last_fit().rates]
        return [] if is_range_test(rates) else rates

    def _list_parts(self) -> List[Part]:
        with self.adapter.preserve():
            self.learn.model = unwrap_ddp(self.learn.model)
            form = _name_form(self.prepared.signal)
            parts = list_parts(
                self.learn, self.loop, self.prepared.signal, self.prepared.layout, form, self.prepared.outputs
            )
        return [part for part in parts if part.shown.kind != "rate" or self.rates.own]

    # -- the runs ----------------------------------------------------------------------------------------------------

    def _search(self) -> None:
        own = self.result.own = self._run_as_it_is()
        if own.learned or self._is_only_slow(own):
            return
        tier, cured = self._find_tier()
        self.steps = max(FEWEST_STEPS, min(self.steps, 3 * len(cured.costs)))  # it would be learned by then
        wanted = [part for part in self.parts if part.tier <= tier]
        self._keep(wanted, cured)
        minimize(wanted, self._works)
        self.result.is_smallest = True
        self._prefer_rates()
        self._clear_optimizer(own)
        self._judge()

    def _works(self, chosen: Tuple[Part, ...]) -> bool:
        run = self._run(chosen)
        if run.learned and len(chosen) <= len(self.result.found):
            self._keep(chosen, run)
        return run.learned

    def _keep(self, parts: Sequence[Part], run: PlantedRun) -> None:
        self.found, self.result.found, self.result.cured = list(parts), [part.shown for part in parts], run

    def _run(self, parts: Sequence[Part]) -> PlantedRun:
        return self.runner.run(parts, self.rates, self.steps)

    def _get(self, kind: str) -> List[Part]:
        return [part for part in self.parts if part.shown.kind == kind]

    def _run_as_it_is(self) -> PlantedRun:
        """Run the learner as it is: as long as its speed allows, then at higher rates where few weights move."""
        self.runner.run([], self.rates, 4)
        self.steps = self.budget.count_steps(self.runner.step_seconds, STEP_SHARE, FEWEST_STEPS, MOST_STEPS)
        self.own_steps, run = self.steps, self._run([])
        if not run.learned and 0 < run.steps < 0.6 * len(run.costs):  # gradients are accumulated
            self.own_steps = self.steps = min(4 * self.steps, len(run.costs) * len(run.costs) // run.steps)
            run = self._run([])
        if not run.learned and self._may_take_longer(run):
            self.own_steps = self.steps = 3 * self.steps
            run = self._run([])
        if run.learned or run.error or self.rates.own or not self._get("freezing"):
            return run
        return self._try_boosts(run, [5.0, 25.0])

    def _may_take_longer(self, run: PlantedRun) -> bool:
        """Return whether a run came some way and its steps are cheap enough to be made longer, once."""
        is_cheap = self.runner.step_seconds * len(run.costs) < LONG_RUN and self.steps <= MOST_STEPS
        return not run.error and run.score >= SLOW_SCORE and is_cheap

    def _try_boosts(self, run: PlantedRun, boosts: Sequence[float]) -> PlantedRun:
        """Try good rates of the learner's own optimizer that are higher or lower; return the run that learns."""
        rates = self._get("rate")
        for boost in boosts:
            self.rates.boost = boost
            again = self._run(rates)
            if again.is_on_its_way:
                return again
        self.rates.boost = 1.0
        return run

    def _is_only_slow(self, own: PlantedRun) -> bool:
        """Return whether it goes the right way at its own rates, and learns at higher ones that are not far off."""
        if own.error or own.score < SLOW_SCORE or not self.rates.own:
            return False
        again = self._run(self._get("rate"))
        return again.learned and max(self.rates.own) >= LOWEST_OWN_RATE * again.lr

    def _find_tier(self) -> Tuple[int, PlantedRun]:
        """Replace as little as possible, everything around the model first, until it learns."""
        last = None
        for tier in TIERS:
            parts = [part for part in self.parts if part.tier <= tier]
            for factor in (1.0, 3.0, 0.3):
                good, self.rates.good = self.rates.good, self.rates.good * factor
                last = self._run(parts)
                if not last.learned and self._may_take_longer(last):
                    self.steps *= 3
                    last = self._run(parts)
                if last.learned:
                    return tier, last
                self.best_score = max(self.best_score, last.score)
                self.rates.good = good
        reason = last.error if last is not None and last.error else f"score {0.5 if last is None else last.score:.2f}"
        raise CannotPlantError(f"even with known-good parts the planted signal is not learned ({reason})")

    def _prefer_rates(self) -> None:
        """Name the rates in place of the optimizer, where they are enough."""
        others = [part for part in self.found if part.shown.kind != "optimizer"]
        rates = self._get("rate")
        if rates and len(others) < len(self.found) and rates[0] not in others:
            self._works((*rates, *others))

    def _clear_optimizer(self, own: PlantedRun) -> None:
        """Take back that the optimizer is to blame, where it learns at another rate and no fit has set one."""
        if [part.shown.kind for part in self.found] != ["optimizer"] or self.rates.own:
            return
        self.steps = self.own_steps
        again = self._try_boosts(own, [10.0, 100.0, 1000.0, 0.3])
        if again.is_on_its_way:
            self.result.own, self.result.cured, self.result.found = again, None, []

    def _judge(self) -> None:
        """Judge whether what was found may be on purpose."""
        kinds = [part.kind for part in self.result.found]
        if kinds == ["rate"] and self.result.cured is not None:
            highest, needed = max(self.rates.own), self.result.cured.lr
            self.result.proves_fault = not LOWEST_OWN_RATE * needed <= highest <= HIGHEST_OWN_RATE * needed
        elif kinds == ["freezing"]:
            last = list(self.learn.model.parameters())[-2:]
            self.result.proves_fault = not any(p.requires_grad for p in last)
        elif "model" in kinds:
            self.result.proves_fault = self.best_score < SLOW_SCORE
        elif set(kinds) <= _GRADUAL and self.result.own is not None:
            self.result.proves_fault = self.result.own.error != "" or self.result.own.score < SLOW_SCORE


def choose_rate(model: nn.Module) -> float:
    """Choose a rate for Adam: the lower, the wider the model is."""
    widths = [p.shape[-1] for p in model.parameters() if p.dim() > 1]
    width = sorted(widths)[len(widths) // 2] if widths else 64
    return min(max(0.064 / max(width, 1), 1e-4), 5e-3)


def _name_form(signal: Signal) -> str:
    forms = (
        (SegmentationSignal, "pixels"),
        (SequenceSignal, "text"),
        (SpanSignal, "spans"),
        (ChoiceSignal, "choices"),
        ((TokenSignal, NextTokenSignal), "places"),
    )
    return next((form for kinds, form in forms if isinstance(signal, kinds)), "rows")


def _count_outputs(signal: Signal, layout: BatchLayout, output: Any, batches: List[Batch]) -> int:
    """Count the outputs of a row or place: as many as the model has, and as the targets need."""
    from .layout import flatten

    needed = 1
    for side in getattr(signal, "pair", ()):
        needed = max(needed, side.numel() if side.is_floating_point() else int(side.max()) + 1)
    if isinstance(signal, NextTokenSignal):
        needed = max(signal.words.rare[:4]) + 1
    if isinstance(signal, SpanSignal):
        return 2
    target = flatten(batches[0])[layout.targets[0]]
    if not target.is_floating_point() and not isinstance(signal, (NextTokenSignal, ChoiceSignal)):
        needed = max(needed, int(target.max()) + 1)
    try:
        logits = read_logits(output)
        shown = logits.shape[1] if logits.dim() == 4 else logits.shape[-1] if logits.dim() > 1 else 1
    except Exception:
        shown = 0
    is_sized = not (isinstance(signal, ChoiceSignal) or shown > 4 * needed and shown > 100000)
    return max(needed, int(shown) if is_sized and not target.is_floating_point() else needed)
