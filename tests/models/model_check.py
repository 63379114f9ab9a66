"""One class of transformers: built tiny, trained through both arms, its layers grouped, the learner diagnosed."""

import time
from collections import Counter
from functools import partial
from typing import Any, Callable, Dict, List, Optional

import fastai.callback.schedule  # noqa: F401  fit_one_cycle and its like
import torch
import transformers
from fastai.callback.progress import ProgressCallback
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from torch import nn

from fastai_hf_callback import Comparison, HFCallback, HFModel, compare, diagnose, layer_groups
from tests.models.inputs import names_of_inputs, rows_for
from tests.models.result_rows import CANNOT, FAILED, PASSED
from tests.models.special_cases import special_for
from tests.models.tasks import task_for
from tests.models.tiny_configs import PAD, tiny_config

__all__ = [
    "row_of",
    "build",
    "trained_alone",
    "make_learner",
    "compared",
    "fault_of",
    "groups_of",
    "faults_of_groups",
    "alarms",
]

BATCH, STEPS = 8, 2
ROWS_TO_DIAGNOSE = 48


def row_of(name: str) -> Dict[str, Any]:
    """Everything the page says of one class.

    Returns
    -------
    dict
        ``name``; ``outcome`` (passed, cannot, FAILED) with ``why``; ``groups`` and ``doctor``, each empty where it
        was not asked; ``special``; ``seconds``. ``cannot`` is said only of a model that cannot be built, or cannot
        be trained a step without any of this package.
    """
    started = time.process_time()
    row = {"name": name, "outcome": CANNOT, "why": "", "groups": "", "doctor": "", "special": special_for(name).why}
    try:
        trained_alone(name)
    except Exception as error:
        row["why"] = _said(error)
    else:
        row["why"] = _answer(lambda: fault_of(compared(name)))
        row["outcome"] = FAILED if row["why"] else PASSED
        row["groups"] = _answer(lambda: groups_of(build(name)))
        row["doctor"] = _answer(lambda: ", ".join(alarms(make_learner(name, ROWS_TO_DIAGNOSE))) or "silent")
    row["seconds"] = round(time.process_time() - started, 1)
    return row


def _answer(question: Callable[[], Optional[str]]) -> str:
    """The answer, or the exception as one."""
    try:
        return question() or ""
    except Exception as error:
        return _said(error)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


# -- the model -------------------------------------------------------------------------------------------------------


def build(name: str) -> nn.Module:
    """A tiny model of the class `name`, the same each time."""
    kind, outputs = getattr(transformers, name), task_for(name).outputs
    torch.manual_seed(0)
    settings = {"pad_token_id": PAD, **({"num_labels": outputs} if outputs else {})}
    return kind(tiny_config(kind.config_class, **{**settings, **special_for(name).config})).train()


def trained_alone(name: str) -> None:
    """One step and one prediction without fastai and without this package: whether the model can do it at all."""
    model, task, special = build(name), task_for(name), special_for(name)
    rows = rows_for(model, task, special, 4, seed=0)
    inputs = dict(zip(names_of_inputs(model, special), rows.tensors))
    loss = task.loss()(task.picked(model(**inputs)), *rows.tensors[rows.n_inp :])
    if not torch.isfinite(loss):
        raise ValueError(f"its loss is {loss.item()}")
    loss.backward()
    with torch.no_grad():
        model.eval()(**inputs)


# -- the learner -----------------------------------------------------------------------------------------------------


def make_learner(name: str, rows: int = BATCH * STEPS, callback: Optional[HFCallback] = None) -> Learner:
    """A new learner on a new model, with as many rows to train on."""
    task, special, model = task_for(name), special_for(name), build(name)
    part = partial(rows_for, model, task, special)
    dls = DataLoaders.from_dsets(part(rows, 0), part(BATCH, 1), bs=BATCH, num_workers=0, device=torch.device("cpu"))
    learn = Learner(
        dls,
        HFModel(model, inputs=names_of_inputs(model, special)),
        loss_func=task.loss(),
        metrics=[task.metric()] if task.metric else [],
        cbs=[callback or HFCallback(task.element)],
    )
    learn.remove_cb(ProgressCallback)
    learn.logger = _no_table
    return learn


def _no_table(*args: Any) -> None:
    pass


# -- the questions ---------------------------------------------------------------------------------------------------


def compared(name: str, callback: Optional[HFCallback] = None) -> Comparison:
    """Two steps through the callback, the patched loop and the broken arm."""

    def fit(learn: Learner) -> Any:
        learn.fit(1, 1e-3)
        return learn.get_preds(reorder=task_for(name).predicts_rows)

    return compare(lambda: make_learner(name, callback=callback), fit, progress=False)


def fault_of(comparison: Comparison) -> Optional[str]:
    """What is wrong with the arms, or None."""
    callback = comparison.traces["callback"]
    if not comparison.identical:
        return str(comparison.difference) + (" (and two patched runs differ as well)" if comparison.noise else "")
    if not comparison.broken_arm_differs or callback.returned == comparison.traces["broken"].returned:
        return "the broken arm did not differ"
    if len(callback.steps) != STEPS:
        return f"{len(callback.steps)} steps instead of {STEPS}"
    return "no weight changed" if callback.final_weights == callback.initial_weights else None


def groups_of(model: nn.Module) -> str:
    """How many groups ``layer_groups`` makes, and what is wrong with them, if anything is."""
    groups = layer_groups(HFModel(model))
    return ", ".join([str(len(groups)), *faults_of_groups(groups, model)])


def faults_of_groups(groups: List[List[nn.Parameter]], model: nn.Module) -> List[str]:
    """Every parameter of the model is to be in one group, and no group empty."""
    given, expected = Counter(id(p) for group in groups for p in group), {id(p) for p in model.parameters()}
    counts = {
        "in two groups": sum(times > 1 for times in given.values()),
        "in none": len(expected - set(given)),
        "of another model": len(set(given) - expected),
        "groups empty": sum(not group for group in groups),
    }
    return [f"{count} {what}" for what, count in counts.items() if count]


def alarms(learn: Learner) -> List[str]:
    """The causes of all warnings and errors."""
    return [finding.cause for finding in diagnose(learn).findings if finding.severity != "note"]
