"""What the doctor says of a seeded fault or a healthy run, beside two baselines: a row of plain numbers each."""

import copy
import warnings
from typing import Any, Dict, List, Optional, Tuple

import torch

from fastai_hf_callback import Diagnosis, diagnose, explain
from tests.faults.fault import USUAL, Fault
from tests.faults.healthy_runs import Control
from tests.faults.stacks import stack

Row = Dict[str, Any]
Learner = stack.Learner


def evaluate_fault(fault: Fault, architecture: str) -> Row:
    """Ask `diagnose` when its user would, `Doctor` during the fit, `explain` where something raises.

    Returns
    -------
    dict
        ``diagnose``, ``doctor`` and ``explain`` hold causes, most probable first, of the severity the fault asks for.
    """
    row: Row = {
        "fault": fault.name,
        "architecture": architecture,
        "causes": list(fault.causes),
        "loud": fault.loud,
        "severity": fault.severity,
        "cure": None,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            row["diagnose"], row["says"] = _diagnose(fault, architecture)
            row["doctor"], row["explain"], row["changed"], row["flat"] = _fit_under_doctor(fault, architecture)
            if fault.cure:
                row["cure"] = is_cured(fault, architecture)
        finally:
            if fault.undo:
                fault.undo()
    return row


def evaluate_control(control: Control) -> Row:
    """Ask before the fit and after it, and watch it; whatever is worse than a note is a false alarm."""
    row: Row = {"spec": dict(control.spec)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        learn, said = control.build(), []
        before = diagnose(learn)
        with stack.watched_by_doctor(learn, said.append) as doctor:
            weights, first = _weights(learn), _metric(learn)
            with stack.no_progress(learn):
                control.fit(learn)
        after = diagnose(learn)
    row["alarms"] = {"before": _causes(before), "watching": _causes(doctor.diagnosis), "after": _causes(after)}
    row["said"] = len(said) - (not doctor.diagnosis.healthy)
    row["missed looks"] = [x for d in (before, doctor.diagnosis, after) for x in d.evidence.skipped]
    row["changed"], row["flat"] = _changed(learn, weights), _flat(first, _metric(learn))
    return row


def is_cured(fault: Fault, architecture: str) -> Optional[bool]:
    """Apply the first right finding that can be; whether the learner then moves."""
    learn = fault.build(architecture)
    if fault.fitted:
        _fit(fault, learn)
    found = [f for f in diagnose(learn).findings if f.cause in fault.causes and f.can_apply]
    if not found:
        return None
    try:
        found[0].apply(learn)
        before = stack.evaluate(learn)
        with stack.no_progress(learn):
            USUAL(learn)
        after = stack.evaluate(learn)
    except Exception:  # a cure after which the fit still fails is none
        return False
    return moved(before.epoch, after.epoch, sum(t.numel() for t in after.targets))


def moved(before: Any, after: Any, targets: int) -> bool:
    """Whether the loss fell by a hundredth, or a metric went by more than one prediction."""
    excursions = [abs(after.metrics[name] - value) for name, value in before.metrics.items()]
    return after.valid_loss < 0.99 * before.valid_loss or any(e > 1.5 / targets for e in excursions)


def _diagnose(fault: Fault, architecture: str) -> Tuple[List[str], Optional[Dict[str, str]]]:
    learn = fault.build(architecture)
    if fault.fitted:
        _fit(fault, learn)
    diagnosis = diagnose(learn)
    right = next((f for f in diagnosis.findings if f.cause in fault.causes), None)
    return _causes(diagnosis, fault.severity), right and {
        "message": right.message,
        "fix": right.fix,
        "cause": right.cause,
        "severity": right.severity,
    }


def _fit_under_doctor(fault: Fault, architecture: str) -> Tuple[List[str], List[str], bool, bool]:
    learn = fault.build(architecture)
    with stack.watched_by_doctor(learn, lambda text: None) as doctor:
        weights, first = _weights(learn), _metric(learn)
        failure = _fit(fault, learn)
        last = _metric(learn)
        if failure is None and fault.loud:
            failure = _failure_of(lambda: learn.validate())
    classify_exception = [] if failure is None else explain(failure).causes
    seen = [] if doctor.diagnosis is None else _causes(doctor.diagnosis, fault.severity)
    return seen, classify_exception, _changed(learn, weights), _flat(first, last)


def _fit(fault: Fault, learn: Learner) -> Optional[Exception]:
    with stack.no_progress(learn):
        return _failure_of(lambda: fault.fit(learn))


def _failure_of(run: Any) -> Optional[Exception]:
    try:
        run()
    except Exception as error:
        return error
    return None


def _causes(diagnosis: Diagnosis, severity: str = "warning") -> List[str]:
    return [finding.cause for finding in diagnosis.at_least(severity)]


# -- the baselines -----------------------------------------------------------------------------------------------


def _weights(learn: Learner) -> Dict[str, Any]:
    return copy.deepcopy(learn.model.state_dict())


def _changed(learn: Learner, before: Dict[str, Any]) -> bool:
    after = learn.model.state_dict()
    return any(key not in before or not torch.equal(before[key], value) for key, value in after.items())


def _metric(learn: Learner) -> Optional[Tuple[float, float]]:
    """The first metric and one prediction's worth of it."""
    try:
        seen = stack.evaluate(learn)
        return next(iter(seen.epoch.metrics.values())), 1.5 / sum(t.numel() for t in seen.targets)
    except Exception:  # no metric, or a path that raises: nothing to see
        return None


def _flat(before: Optional[Tuple[float, float]], after: Optional[Tuple[float, float]]) -> bool:
    return before is not None and after is not None and abs(after[0] - before[0]) <= after[1]
