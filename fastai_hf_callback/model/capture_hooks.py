"""transformers' hooks that collect hidden states and attentions, left out of a pickle. Imports torch.

After one forward that was asked for them, transformers 5 leaves functions in the model that cannot be pickled, and a
mark that they are there. It sets them anew where the mark is missing, so an export needs neither.
"""

from contextlib import contextmanager
from types import FunctionType
from typing import Any, Callable, Dict, Iterator, Optional, Tuple

from torch import nn

__all__ = ["drop_left_out_hooks", "leave_hooks_out_of_pickles", "without_capture_hooks"]

_MARK = "_output_capturing_hooks_installed"


class _CaptureHook:
    """Calls a hook of transformers; in a pickle, nothing but the place where it was."""

    def __init__(self, hook: Optional[Callable[..., Any]] = None):
        self.hook = hook

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return None if self.hook is None else self.hook(*args, **kwargs)

    def __deepcopy__(self, memo: Dict[int, Any]) -> "_CaptureHook":
        return self  # as with any function

    def __reduce__(self) -> Tuple[type, Tuple[()]]:
        return _CaptureHook, ()


def leave_hooks_out_of_pickles(model: nn.Module) -> None:
    """Let a pickle of the model go without transformers' hooks; the model itself keeps them, and works on.

    Every other hook stays as it is: it may be part of what the model computes.
    """
    if not any(_MARK in vars(module) for module in model.modules()):
        return
    for module in model.modules():
        hooks = module._forward_hooks
        for key, hook in list(hooks.items()):
            if _belongs_to_transformers(hook):
                hooks[key] = _CaptureHook(hook)


def _belongs_to_transformers(hook: Any) -> bool:
    is_local = isinstance(hook, FunctionType) and "<locals>" in hook.__qualname__
    return is_local and hook.__module__.partition(".")[0] == "transformers"


def drop_left_out_hooks(model: nn.Module) -> None:
    """Remove the places of hooks that a pickle went without, and the mark, so that transformers sets them anew."""
    left_out = [
        (module._forward_hooks, key)
        for module in model.modules()
        for key, hook in module._forward_hooks.items()
        if isinstance(hook, _CaptureHook) and hook.hook is None
    ]
    for hooks, key in left_out:
        del hooks[key]
    if left_out:
        for module in model.modules():
            vars(module).pop(_MARK, None)


@contextmanager
def without_capture_hooks(model: nn.Module) -> Iterator[None]:
    """Take transformers' hooks and the mark out of the model, and put them back on leaving."""
    marks = [(vars(module), vars(module)[_MARK]) for module in model.modules() if _MARK in vars(module)]
    hooks = [(module._forward_hooks, module._forward_hooks.copy()) for module in model.modules() if marks]
    try:
        for attributes, _ in marks:
            del attributes[_MARK]
        for live, before in hooks:
            for key, hook in before.items():
                if isinstance(hook, _CaptureHook) or _belongs_to_transformers(hook):
                    del live[key]
        yield
    finally:
        for attributes, mark in marks:
            attributes[_MARK] = mark
        for live, before in hooks:
            live.clear()
            live.update(before)
