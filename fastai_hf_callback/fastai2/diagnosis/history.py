"""What earlier fits left in a fastai 2 learner: losses, metrics, learning rates; part of ``probe``."""

from typing import Any, Dict, List, Optional

from fastai.learner import Learner

from fastai_hf_callback.diagnosis.learning_rates import compute_near_zero_lr_share, is_range_test
from fastai_hf_callback.results.evidence import History, HyperParams

__all__ = ["read_history", "read_hyperparameters", "set_learning_rate"]


def read_history(learn: Learner) -> Optional[History]:
    """The last fit's losses, as fastai smooths them, and its metrics; None after ``validate``, which forgets them."""
    recorder = vars(learn).get("recorder")
    losses = [float(v) for v in getattr(recorder, "losses", [])]
    if not losses:
        return None
    names = [name for name in recorder.metric_names if name not in ("epoch", "train_loss", "time")]
    rows = [[None if v is None else float(v) for v in row] for row in recorder.values]
    return History(losses, _group_by_name(names, [row[-len(names) :] for row in rows if names]), smoothed=True)


def read_hyperparameters(learn: Learner) -> HyperParams:
    """Rates of the last fit; they are judged only where one has put them in force."""
    recorder, optimizer = vars(learn).get("recorder"), learn.opt
    decays = [float(hyper.get("wd", 0.0) or 0.0) for hyper in optimizer.hypers] if optimizer is not None else []
    wd, steps, kind = max(decays, default=0.0), len(learn.dls.train), _get_optimizer_name(optimizer)
    rates = [float(v) for v in getattr(recorder, "lrs", [])]
    if not rates or is_range_test(rates):
        return HyperParams(None, None, wd, None, steps, "no fit yet" if not rates else "only a range test so far", kind)
    highest = max(rates)
    return HyperParams(
        highest,
        min(rates),
        wd,
        highest * wd,
        steps,
        "the highest of the last fit",
        kind,
        compute_near_zero_lr_share(rates),
    )


def set_learning_rate(optimizer: Any, lr: float) -> None:
    """The highest rate again, the groups in the proportions they have now."""
    rates = [float(hyper["lr"]) for hyper in optimizer.hypers]
    top = rates[-1] if rates and rates[-1] > 0 else None
    optimizer.set_hyper("lr", [lr * rate / top if top else lr for rate in rates])


def _get_optimizer_name(optimizer: Any) -> str:
    inner = vars(optimizer).get("opt") if optimizer is not None else None
    return "" if optimizer is None else type(optimizer if inner is None else inner).__name__


def _group_by_name(names: List[str], rows: List[List[Optional[float]]]) -> Dict[str, List[float]]:
    return {name: [row[i] for row in rows if i < len(row) and row[i] is not None] for i, name in enumerate(names)}
