"""What a model's ``forward`` takes, read where it is really taken: through wrappers, decorators and ``**kwargs``.

Most models of transformers 5 and most modules around a model let ``forward`` take any name, and a misspelt one goes
nowhere without a word. So the names are followed to those who name them. Imports torch.
"""

import functools
import inspect
import sys
from difflib import get_close_matches
from types import FunctionType, MethodType
from typing import Any, Callable, Dict, FrozenSet, Iterable, Iterator, List, NamedTuple, Optional, Tuple, cast

from torch import nn

from .keyword_flow import follow_keywords

__all__ = ["ForwardSignature", "find_pretrained", "main_input_name", "read_forward_signature", "unwrap_model"]

_NAMED = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_DEEPEST = 16  # calls that hand the keywords on; peft around a wrapper around a model needs 8


class ForwardSignature(NamedTuple):
    """What a model takes by name.

    Parameters
    ----------
    named : tuple of str
        Parameters that ``forward`` names, its own first, then those that whoever gets its ``**kwargs`` names.
    required : tuple of str
        Those of the first ``forward`` with named parameters that have no default.
    documented : frozenset of str
        Names that are taken out of ``**kwargs``, or that their annotation (a TypedDict) lists.
    takes_any : bool
        Whether any other name may be right, since nothing tells where the ``**kwargs`` go.
    """

    named: Tuple[str, ...]
    required: Tuple[str, ...] = ()
    documented: FrozenSet[str] = frozenset()
    takes_any: bool = False

    def takes(self, name: str) -> bool:
        """Return whether this name is right, as far as can be told."""
        return self.takes_any or self.knows(name)

    def knows(self, name: str) -> bool:
        """Return whether somebody takes this very name."""
        return name in self.named or name in self.documented

    def describe_nearest(self, unknown: Iterable[str]) -> str:
        """Format a question about the names that look most like the unknown ones."""
        known = [*self.named, *sorted(self.documented.difference(self.named))]
        near = [get_close_matches(name, known, n=1, cutoff=0.5) or [k for k in known if name in k] for name in unknown]
        names = [repr(found[0]) for found in near if found]
        return f" Did you mean {' and '.join(dict.fromkeys(names))}?" if names else ""


def read_forward_signature(model: nn.Module) -> ForwardSignature:
    """Read what ``model(**batch)`` takes; up to a tenth of a second for the first model of a class, so keep the answer.

    Parameters
    ----------
    model : nn.Module
        Bare or in any wrapper: ``DataParallel``, ``torch.compile``, peft's, a head of one's own.

    Examples
    --------
    >>> read_forward_signature(nn.Linear(3, 2)).named
    ('input',)
    """
    model = unwrap_model(model)
    reader = _SignatureReader(_attribute(find_pretrained(model), "config"))
    taken_open = reader.read(model, 0, frozenset(), 0)
    return ForwardSignature(tuple(reader.named), tuple(reader.required), frozenset(reader.documented), taken_open)


def unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model inside (Distributed)DataParallel (``module``) and ``torch.compile`` (``_orig_mod``)."""
    while True:
        name = "module" if isinstance(model, nn.DataParallel) or _is_ddp(model) else "_orig_mod"
        if name not in model._modules:  # a scripted model's have no `get`
            return model
        model = cast(nn.Module, model._modules[name])


def _is_ddp(model: nn.Module) -> bool:
    return type(model).__name__ == "DistributedDataParallel"


def find_pretrained(model: nn.Module) -> nn.Module:
    """Return the outermost module with a ``config``, breadth first; `model` itself where none has one."""
    level = [unwrap_model(model)]
    while level:
        found = next((module for module in level if _attribute(module, "config") is not None), None)
        if found is not None:
            return found
        level = [child for module in level for child in module.children()]
    return unwrap_model(model)


def main_input_name(model: nn.Module, signature: ForwardSignature) -> Optional[str]:
    """Return what the model, or the one inside it, calls its main input, if `signature` takes that; else None."""
    model = unwrap_model(model)
    declared = (_attribute(module, "main_input_name") for module in [model, *_inner_models(model)])
    return next((name for name in declared if isinstance(name, str) and signature.knows(name)), None)


def _attribute(module: Any, name: str) -> Any:
    try:
        return getattr(module, name, None)
    except Exception:  # a property of the user's own may raise whatever it likes
        return None


class _SignatureReader:
    """Follows keywords from ``forward`` to ``forward``, and collects the names on the way."""

    def __init__(self, config: Any):
        self.config = config
        self.named: Dict[str, None] = {}
        self.required: List[str] = []
        self.documented: Dict[str, None] = {}
        self.seen: Dict[Tuple[Any, ...], bool] = {}

    def read(self, called: Any, places: int, given: FrozenSet[str], depth: int) -> bool:
        """Collect what `called` takes by name besides what is given; return whether it may take any other."""
        function = called.forward if isinstance(called, nn.Module) else called
        key = (id(getattr(function, "__self__", None)), id(getattr(function, "__func__", function)), places, given)
        if key not in self.seen:
            self.seen[key] = False  # a circle adds nothing
            self.seen[key] = depth < _DEEPEST and self._read_function(called, function, places, given, depth)
        return self.seen[key]

    def _read_function(self, called: Any, function: Any, places: int, given: FrozenSet[str], depth: int) -> bool:
        try:
            parameters = list(inspect.signature(function).parameters.values())
        except (TypeError, ValueError):  # compiled or scripted: nothing can be read
            return True
        self._collect(parameters, places, given)
        keywords = next((p for p in parameters if p.kind is p.VAR_KEYWORD), None)
        if keywords is None or isinstance(function, type):
            return False
        listed = _names_of_annotation(function, keywords)
        self.documented.update(dict.fromkeys(name for name in listed if name not in given))
        is_open = self._follow(function, given, depth)
        if listed or not is_open:
            return False
        inner = _inner_models(called) if isinstance(called, nn.Module) else []
        read = [self.read(model, 0, given, depth + 1) for model in inner]  # all of them, whatever the first says
        return not _declares_inputs(called) and (not inner or any(read))

    def _collect(self, parameters: List[inspect.Parameter], places: int, given: FrozenSet[str]) -> None:
        is_first_to_name = not self.named  # or only wrappers have been before it, which name nothing
        for parameter in [p for p in parameters if p.kind in _NAMED][places:]:
            if parameter.name not in given and parameter.kind is not parameter.POSITIONAL_ONLY:
                self.named[parameter.name] = None
                if is_first_to_name and parameter.default is parameter.empty:
                    self.required.append(parameter.name)

    def _follow(self, function: Any, given: FrozenSet[str], depth: int) -> bool:
        """Follow the keywords through the function and its decorators; return whether they may go anywhere else."""
        is_open = False
        layers = list(_layers_of(function))
        for layer, owner in layers:
            keywords = _name_of_keywords(layer)
            if keywords is None:
                continue
            flow = follow_keywords(layer, owner, keywords, self.config)
            self.documented.update(dict.fromkeys(name for name in flow.names if name not in given))
            is_open = is_open or flow.opaque
            for target, places, names in flow.calls:
                if (getattr(target, "__func__", target), getattr(target, "__self__", owner)) not in layers:
                    is_open = self._hand_on(target, places, names | given, depth) or is_open
        return is_open

    def _hand_on(self, target: Any, places: int, given: FrozenSet[str], depth: int) -> bool:
        while isinstance(target, functools.partial):
            target, given = target.func, given | frozenset(target.keywords)
        return callable(target) and self.read(target, places, given, depth + 1)


def _layers_of(function: Any) -> Iterator[Tuple[FunctionType, Any]]:
    """Yield a function and what its decorators wrap, each with the object that it is bound to."""
    owner = None
    seen = 0
    while function is not None and seen < _DEEPEST:
        seen += 1
        if isinstance(function, MethodType):
            owner, function = function.__self__, function.__func__
        elif isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, FunctionType):
            yield function, owner
            function = getattr(function, "__wrapped__", None)
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            call = vars(type(function)).get("__call__")
            function = MethodType(call, function) if isinstance(call, FunctionType) else None


def _name_of_keywords(function: FunctionType) -> Optional[str]:
    code = function.__code__
    if not code.co_flags & inspect.CO_VARKEYWORDS:
        return None
    at = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
    return code.co_varnames[at]


def _names_of_annotation(function: Callable[..., Any], keywords: inspect.Parameter) -> Tuple[str, ...]:
    """Return the keys of ``**kwargs: Unpack[SomeTypedDict]``, written as such or as a string."""
    annotation = keywords.annotation
    if isinstance(annotation, str):
        name = annotation.strip()
        name = name[name.find("[") + 1 : name.rfind("]")] if "[" in name else name
        home = getattr(inspect.unwrap(function), "__module__", "")
        listed = getattr(sys.modules.get(home), name, None)
        return _keys_of(listed)
    held = getattr(annotation, "__args__", ()) or ()
    return tuple(name for typed in held for name in _keys_of(typed))


def _keys_of(typed: Any) -> Tuple[str, ...]:
    if not (isinstance(typed, type) and issubclass(typed, dict)):
        return ()
    inherited = [*getattr(typed, "__required_keys__", ()), *getattr(typed, "__optional_keys__", ())]
    return tuple(dict.fromkeys([*getattr(typed, "__annotations__", ()), *inherited]))


def _declares_inputs(module: Any) -> bool:
    """Return whether the model says itself what its main input is called: its parameters are all it takes."""
    return isinstance(module, nn.Module) and isinstance(_attribute(module, "main_input_name"), str)


def _inner_models(module: nn.Module) -> List[nn.Module]:
    """Return the nearest modules inside that declare their inputs."""
    found: List[nn.Module] = []
    level = list(module.children())
    while level:
        found += [child for child in level if _declares_inputs(child)]
        level = [inner for child in level if not _declares_inputs(child) for inner in child.children()]
    return found
