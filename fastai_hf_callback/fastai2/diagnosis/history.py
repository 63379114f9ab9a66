"""What earlier fits left in a fastai 2 learner: losses, metrics, learning rates; part of ``probe``."""
from typing import Any, Dict, List, Optional

from fastai.learner import Learner

from fastai_hf_callback.results.evidence import History, Hyper
from fastai_hf_callback.diagnosis.learning_rates import is_range_test, share_without_rate

__all__ = ["history_of", "hyper_of", "put_in_force"]


def history_of(learn: Learner) -> Optional[History]:
    """The last fit's losses, as fastai smooths them, and its metrics; None after ``validate``, which forgets them."""
    recorder = vars(learn).get("recorder")
    losses = [float(v) for v in getattr(recorder, "losses", [])]
    if not losses:
        return None
    names = [name for name in recorder.metric_names if name not in ("epoch", "train_loss", "time")]
    rows = [[None if v is None else float(v) for v in row] for row in recorder.values]
    return History(losses, _by_name(names, [row[-len(names):] for row in rows if names]), smoothed=True)


def hyper_of(learn: Learner) -> Hyper:
    """Rates of the last fit; they are judged only where one has put them in force."""
    recorder, optimizer = vars(learn).get("recorder"), learn.opt
    decays = [float(hyper.get("wd", 0.0) or 0.0) for hyper in optimizer.hypers] if optimizer is not None else []
    wd, steps, kind = max(decays, default=0.0), len(learn.dls.train), _kind_of(optimizer)
    rates = [float(v) for v in getattr(recorder, "lrs", [])]
    if not rates or is_range_test(rates):
        return Hyper(None, None, wd, None, steps, "no fit yet" if not rates else "only a range test so far", kind)
    highest = max(rates)
    return Hyper(highest, min(rates), wd, highest * wd, steps, "the highest of the last fit", kind,
                 share_without_rate(rates))


def put_in_force(optimizer: Any, lr: float) -> None:
    """The highest rate again, the groups in the proportions they have now."""
    rates = [float(hyper["lr"]) for hyper in optimizer.hypers]
    top = rates[-1] if rates and rates[-1] > 0 else None
    optimizer.set_hyper("lr", [lr * rate / top if top else lr for rate in rates])


def _kind_of(optimizer: Any) -> str:
    inner = vars(optimizer).get("opt") if optimizer is not None else None
    return "" if optimizer is None else type(optimizer if inner is None else inner).__name__


def _by_name(names: List[str], rows: List[List[Optional[float]]]) -> Dict[str, List[float]]:
    return {name: [row[i] for row in rows if i < len(row) and row[i] is not None] for i, name in enumerate(names)}
