"""``Fix``: a row of a fastai's table of fixes; an action of a finding -> that fastai's line of code and function."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Callable, Mapping, NamedTuple, Optional

from fastai_hf_callback.results.finding import Finding

__all__ = ["Fix", "FixTable", "read_code", "resolve_fix"]


class Fix(NamedTuple):
    """How an action is written on one fastai, and what does it.

    Attributes
    ----------
    line : str
        The code to write, in the form of ``str.format``: the action's arguments stand in braces.
    apply : callable or None
        Called with the learner and the action's arguments; None where the fix takes a person.
    """

    line: str
    apply: Optional[Callable[..., Any]] = None


# By an action's name. An action without a row cannot be needed on that fastai: its cause does not exist there.
FixTable = Mapping[str, Fix]


def resolve_fix(finding: Finding, fixes: Optional[FixTable]) -> Finding:
    """The finding with the fix that its action has in `fixes`; without a table the action's name stands for it."""
    action = finding.action
    if action is None:
        return finding
    if fixes is None:
        return replace(finding, fix=str(action))
    fix = fixes[action.name]
    function = None if fix.apply is None else partial(fix.apply, **action.arguments)
    return replace(finding, fix=action.comment_on(fix.line.format(**action.arguments)), fix_function=function)


def read_code(module: ModuleType, *names: str) -> CodeType:
    """The code of a function, by the names that lead to it, as the module's file has it."""
    file = Path(str(module.__file__))
    code = compile(file.read_text(encoding="utf-8"), str(file), "exec", dont_inherit=True)
    for name in names:
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == name)
    return code
