"""What earlier fits left in a fastai 1 learner: losses, metrics, learning rates; part of ``probe``."""

from typing import Dict, List, Optional

from fastai.basic_train import Learner
from fastai.callback import OptimWrapper

from fastai_hf_callback.diagnosis.learning_rates import compute_near_zero_lr_share, is_range_test
from fastai_hf_callback.results.evidence import History, HyperParams

__all__ = ["read_history", "read_hyperparameters", "set_learning_rate"]


def read_history(learn: Learner) -> Optional[History]:
    """The last fit's losses, as fastai smooths them, and its metrics."""
    recorder = vars(learn).get("recorder")
    losses = [float(v) for v in getattr(recorder, "losses", [])] if recorder is not None else []
    if not losses:
        return None
    names = list(getattr(recorder, "metrics_names", []))
    rows = [[float(v) for v in row] for row in getattr(recorder, "metrics", [])]
    metrics: Dict[str, List[float]] = {n: [row[i] for row in rows if i < len(row)] for i, n in enumerate(names)}
    return History(losses, metrics, smoothed=True)


def read_hyperparameters(learn: Learner) -> HyperParams:
    recorder, optimizer = vars(learn).get("recorder"), vars(learn).get("opt")
    wd = float(optimizer.wd) if optimizer else float(learn.wd)
    steps = len(learn.data.train_dl)
    kind = type(getattr(optimizer, "opt", None)).__name__ if optimizer else ""
    rates = [float(v) for v in getattr(recorder, "lrs", [])] if recorder is not None else []
    if not rates or is_range_test(rates):
        return HyperParams(None, None, wd, None, steps, "no fit yet" if not rates else "only a range test so far", kind)
    highest = max(rates)
    wd = max(wd, 0.0)
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


def set_learning_rate(optimizer: OptimWrapper, lr: float) -> None:
    """The highest rate again, the groups in the proportions they have now."""
    # create_opt may have been called with fastai's default, a slice, which only fit turns into numbers.
    rates = [float(r) if isinstance(r, (int, float)) else 0.0 for r in optimizer._lr]
    top = rates[-1] if rates and rates[-1] > 0 else None
    optimizer.lr = [lr * r / top if top else lr for r in rates]
