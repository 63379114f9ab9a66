"""Fixes that can be applied, each tried on copies first: what does not mend the fault there is advice, in words."""

import math
import time
from dataclasses import replace
from typing import Any, Dict, List, NamedTuple

from torch import Tensor

from fastai_hf_callback.errors import describe_exception
from fastai_hf_callback.results.evidence import Evidence
from fastai_hf_callback.results.finding import SEVERITIES, Finding
from fastai_hf_callback.utils.distributed import unwrap_ddp

from .checks import EXPLAINED_BY
from .diagnosis import Diagnosis, build_diagnosis
from .examination import Examination
from .learner_adapter import LearnerAdapter
from .probes.batches import Batch, truncate_batch
from .training_steps import PROBING_LR

__all__ = ["try_fixes", "withhold_fixes"]

# Enough for a metric to move on 64 rows; MiniLM's size takes about 4 s for it on two cores.
TRIAL_EPOCHS, TRIAL_BATCHES = 3, 4
SECONDS_FOR_ALL = 30.0
# What a freeze is the fault itself of; any other leaves what is frozen as it is.
FREEZE_IS_THE_FAULT = ("everything-frozen", "untrained-body-frozen")


class Trial(NamedTuple):
    """What a trial of a fix has come to; `breaks` where the learner would be worse off with it."""

    worked: bool
    seen: str
    breaks: bool = False


class FailedTrialError(Exception):
    """A fix did not stand its trial; the message says why, and `breaks` whether it does harm."""

    def __init__(self, message: str, breaks: bool = True):
        super().__init__(message)
        self.breaks = breaks


def try_fixes(adapter: LearnerAdapter, diagnosis: Diagnosis) -> Diagnosis:
    """Try every fix that can be applied, and keep as such those that mend the fault and let a fit end.

    Parameters
    ----------
    adapter : LearnerAdapter
        Outside of its ``preserve``; the learner stays unchanged.
    diagnosis : Diagnosis

    Returns
    -------
    Diagnosis
        The same findings, each with what was `tried`.
    """
    started = time.perf_counter()
    deadline = started + SECONDS_FOR_ALL
    findings = [_try_finding(adapter, finding, diagnosis, deadline) for finding in diagnosis.findings]
    if diagnosis.evidence is not None and any(finding.can_apply for finding in diagnosis.findings):
        diagnosis.evidence.trial_seconds = time.perf_counter() - started
    return Diagnosis(findings, diagnosis.evidence)


def withhold_fixes(diagnosis: Diagnosis, reason: str) -> Diagnosis:
    """Return the same findings, without anything to apply."""
    findings = [
        replace(f, fix_function=None, tried=f"not tried: {reason}") if f.can_apply else f for f in diagnosis.findings
    ]
    return Diagnosis(findings, diagnosis.evidence)


def _try_finding(adapter: LearnerAdapter, finding: Finding, diagnosis: Diagnosis, deadline: float) -> Finding:
    if not finding.can_apply:
        return finding
    if time.perf_counter() > deadline:
        return replace(finding, fix_function=None, tried="not tried: the others took all the time there is")
    trial = _try_fix(adapter, finding, diagnosis)
    if trial.worked:
        return replace(finding, tried=f"tried on a copy: {trial.seen}")
    fix = f"By hand: the usual fix ({finding.fix}) does not go with this learner" if trial.breaks else finding.fix
    return replace(finding, fix=fix, fix_function=None, tried=f"tried on a copy, and not offered: {trial.seen}")


def _try_fix(adapter: LearnerAdapter, finding: Finding, diagnosis: Diagnosis) -> Trial:
    try:
        with adapter.preserve():
            adapter.seed(0)
            adapter.learn.model = unwrap_ddp(adapter.learn.model)
            return Trial(True, _FixTrial(adapter, finding, diagnosis).run())
    except FailedTrialError as reason:
        return Trial(False, str(reason), reason.breaks)
    except MemoryError:
        return Trial(False, "there is no memory for a copy")
    except Exception as error:
        return Trial(False, f"it raises {describe_exception(error)}"[:200], breaks=True)


class _FixTrial:
    """One trial, inside ``adapter.preserve()``."""

    def __init__(self, adapter: LearnerAdapter, finding: Finding, diagnosis: Diagnosis):
        self.adapter, self.finding, self.diagnosis = adapter, finding, diagnosis
        self.learn = adapter.learn

    def run(self) -> str:
        """Apply the fix, examine again, fit, and return in words what was seen."""
        before, frozen = self.adapter.list_metric_names(), self._copy_frozen_weights()
        self.finding.apply(self.learn)
        added = [name for name in self.adapter.list_metric_names() if name not in before]
        self._require(set(before) <= set(self.adapter.list_metric_names()), "it takes away metrics of yours")
        gone = self._examine_again(added)
        train, valid = self._read_batches()
        figures = self._fit(train, valid)
        self._require_frozen(frozen)
        return f"{gone}; {self._describe_movement(figures, added, len(train), len(valid))}"

    def _require(self, holds: bool, reason: str, breaks: bool = True) -> None:
        if not holds:
            raise FailedTrialError(reason, breaks)

    # -- what is frozen on purpose -----------------------------------------------------------------------------

    def _copy_frozen_weights(self) -> List[Any]:
        if self.finding.cause in FREEZE_IS_THE_FAULT:
            return []
        named = self.learn.model.named_parameters()
        return [(name, p, p.detach().clone()) for name, p in named if not p.requires_grad and not self._is_head(name)]

    def _is_head(self, name: str) -> bool:
        arguments = self.finding.action.arguments if self.finding.action is not None else {}
        return self.finding.cause == "head-frozen" and name.startswith(f"{arguments.get('module')}.")

    def _require_frozen(self, frozen: List[Any]) -> None:
        moved = [name for name, parameter, weights in frozen if not _is_same(parameter, weights)]
        self._require(not moved, f"{len(moved)} frozen parameters would move ({', '.join(moved[:2])})")

    # -- whether the fault is gone -----------------------------------------------------------------------------

    def _examine_again(self, added: List[str]) -> str:
        """Return in words that the fault is gone, or that added metrics see what the others do not."""
        with self.adapter.preserve():
            examination = Examination(self.adapter, TRIAL_BATCHES // 2)
            examination.skipped = {"targets", "fitting one batch", *(() if self._is_about_metrics else ("metrics",))}
            evidence = examination.run()
        if self.diagnosis.evidence is not None:
            evidence.labels = self.diagnosis.evidence.labels
        again = build_diagnosis(evidence, self.adapter.fixes)
        new = [f.cause for f in again.at_least("error") if f.cause not in self.diagnosis.causes]
        new = [cause for cause in new if self.finding.cause not in EXPLAINED_BY.get(cause, ())]  # was there, and hidden
        self._require(not new, f"then there is {', '.join(new)}")
        if added:
            self._require_metrics(evidence, added)
            return f"{', '.join(added)} tells right outputs from contrary ones"
        worst = SEVERITIES.index(self.finding.severity)
        left = [f for f in again.findings if f.cause == self.finding.cause and SEVERITIES.index(f.severity) >= worst]
        left = [f for f in left if not self._is_about_metrics or f.message == self.finding.message]
        self._require(not left, "the fault is still there", breaks=False)
        return f"{self.finding.cause} is gone"

    @property
    def _is_about_metrics(self) -> bool:
        return self.finding.cause.startswith("metric-")

    def _require_metrics(self, evidence: Evidence, added: List[str]) -> None:
        measured = {metric.name: metric for metric in evidence.metrics}
        for name in added:
            metric = measured.get(name)
            self._require(
                metric is not None and not metric.error and metric.value is not None, f"{name} has no value here"
            )
            assert metric is not None
            signal = metric.at_ideal is not None and metric.at_ideal != metric.at_worst
            self._require(signal, f"{name} is the same for right outputs and for contrary ones")

    # -- whether a fit ends, and what it moves -------------------------------------------------------------------

    def _read_batches(self) -> List[List[Batch]]:
        """Read a few batches of each set, cut to the rows that an examination takes."""
        found = []
        for train in (True, False):
            batches: List[Batch] = []
            for batch in self.adapter.iterate_batches(train) if self.adapter.has_rows(train) else ():
                batches.append(truncate_batch(batch))
                if len(batches) == TRIAL_BATCHES:
                    break
            found.append(batches)
        return found

    def _fit(self, train: List[Batch], valid: List[Batch]) -> Dict[str, List[float]]:
        hyper = None if self.diagnosis.evidence is None else self.diagnosis.evidence.hyper
        lr = hyper.lr if hyper is not None and hyper.lr else PROBING_LR * 10
        try:
            return self.adapter.fit_briefly(train, valid, TRIAL_EPOCHS, lr)
        except Exception as error:
            raise FailedTrialError(f"a fit of a few steps ends in {describe_exception(error)}"[:250]) from error

    def _describe_movement(self, figures: Dict[str, List[float]], added: List[str], steps: int, valid: int) -> str:
        losses = figures.get("valid_loss") or figures.get("train_loss") or []
        self._require(bool(losses) and all(map(math.isfinite, losses)), "the loss of a few steps is no finite number")
        self._require(all(figures.get(name) for name in added), f"{', '.join(added)} gave no number")
        moved = {name: values for name, values in figures.items() if values and max(values) > min(values)}
        kept = {name: values for name, values in moved.items() if name != "train_loss" or not valid}
        self._require(bool(kept), f"in {TRIAL_EPOCHS} short epochs neither the loss nor a metric moved", breaks=False)
        shown = ", ".join(f"{name} {values[0]:.4g} > {values[-1]:.4g}" for name, values in list(kept.items())[:3])
        return f"{TRIAL_EPOCHS} epochs of {steps} short batches and their validation ran to the end, {shown}"


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Return whether the numbers are the same to the bit; a wider type holds them too."""
    one, other = one.detach().double(), other.double()
    return one.shape == other.shape and bool(((one == other) | (one != one)).all())
