"""``Fix``: a row of a fastai's table of fixes, which gives an action that fastai's line of code and function."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Callable, Dict, Mapping, NamedTuple, Optional

from fastai_hf_callback.results.finding import Finding
from fastai_hf_callback.utils.protocols import LearnerLike

__all__ = ["Fix", "FixTable", "build_shared_fixes", "read_code", "resolve_fix"]


class Fix(NamedTuple):
    """How an action is written on one fastai, and the function that applies it.

    Attributes
    ----------
    line : str
        The code to write, as a template of ``str.format`` for the action's arguments.
    apply : callable or None
        Called with the learner and the action's arguments; None where the fix has to be made by hand.
    """

    line: str
    apply: Optional[Callable[..., Any]] = None


# By an action's name. An action without a row is never needed on that fastai: its cause does not exist there.
FixTable = Mapping[str, Fix]


def resolve_fix(finding: Finding, fixes: Optional[FixTable]) -> Finding:
    """Return the finding with the fix of its action in `fixes`; without a table the fix is the action's name."""
    action = finding.action
    if action is None:
        return finding
    if fixes is None:
        return replace(finding, fix=str(action))
    fix = fixes[action.name]
    function = None if fix.apply is None else partial(fix.apply, **action.arguments)
    return replace(finding, fix=action.comment_on(fix.line.format(**action.arguments)), fix_function=function)


def build_shared_fixes(
    restore_loop: Callable[..., Any],
    unfreeze: Callable[..., Any],
    unfreeze_module: Callable[..., Any],
    set_weight_decay: Callable[..., Any],
    auc_metric: Callable[[], Any],
) -> Dict[str, Fix]:
    """Build the rows whose lines are the same on both fastais."""
    return {
        "restore-loop": Fix(
            "finding.apply(learn)  # fastai's own loop again, and HFCallback() where none unwraps; or restart the "
            "kernel without the patch",
            restore_loop,
        ),
        "unfreeze": Fix("learn.unfreeze()", unfreeze),
        "unfreeze-module": Fix(
            "learn.model.get_submodule({module!r}).requires_grad_(True); learn.create_opt()", unfreeze_module
        ),
        "set-weight-decay": Fix("learn.wd = {wd}", set_weight_decay),
        "add-auc-metric": Fix("learn.metrics.append(ColumnwiseAUC())", partial(_add_metric, auc_metric)),
    }


def _add_metric(make_metric: Callable[[], Any], learn: LearnerLike) -> None:
    learn.metrics = [*learn.metrics, make_metric()]


def read_code(module: ModuleType, *names: str) -> CodeType:
    """Read a function's code from the module's file, by the names that lead to it."""
    file = Path(str(module.__file__))
    code = compile(file.read_text(encoding="utf-8"), str(file), "exec", dont_inherit=True)
    for name in names:
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name)
    return code
