"""Where a function's ``**kwargs`` go, read from its source: the names that it takes out, the calls that get the rest.

Nothing is called and nothing is imported: expressions such as ``self.model`` are looked up on the very object that
``forward`` belongs to. What cannot be followed is told as opaque, never guessed.
"""

import ast
import functools
import inspect
import textwrap
from types import FunctionType, MethodType
from typing import Any, Dict, FrozenSet, Iterator, List, NamedTuple, Optional, Tuple, Union

__all__ = ["KeywordFlow", "KeywordUse", "follow_keywords", "read_keyword_use"]

_READING_METHODS = ("get", "pop", "setdefault", "__getitem__", "__contains__")
_HARMLESS_CALLS = ("len", "bool", "print", "repr", "str", "list", "sorted", "isinstance")
_PASS_ELEMENTS_ON = ("enumerate", "zip", "reversed", "list", "tuple", "iter", "sorted")


class _Call(NamedTuple):
    """A call that gets ``**kwargs``: what is called, its arguments by place (``*args`` not counted), names given."""

    called: ast.expr
    places: Tuple[ast.expr, ...]
    names: FrozenSet[str]


class KeywordUse(NamedTuple):
    """What one function does with its ``**kwargs``, as its source has it.

    Parameters
    ----------
    keys : tuple of ast.expr
        What it looks up: mostly constants, as in ``kwargs.pop("labels")``.
    calls : tuple
        The calls that get ``**kwargs``.
    opaque : bool
        Whether it does something else with them, or has no source.
    locals : dict
        What its local names are assigned: the expression, and whether its elements are meant (a loop).
    own_name : str, optional
        What it calls the object that it belongs to: ``self``.
    """

    keys: Tuple[ast.expr, ...] = ()
    calls: Tuple[_Call, ...] = ()
    opaque: bool = False
    locals: Dict[str, List[Tuple[ast.expr, bool]]] = {}
    own_name: Optional[str] = None


class KeywordFlow(NamedTuple):
    """A ``KeywordUse`` with its expressions looked up: ``names`` taken, ``(object, places, names)`` called."""

    names: FrozenSet[str]
    calls: Tuple[Tuple[Any, int, FrozenSet[str]], ...]
    opaque: bool


@functools.lru_cache(maxsize=1024)
def read_keyword_use(code: Any, kwargs: str) -> KeywordUse:
    """Read what the function of a code object does with the ``**kwargs`` that it calls by this name.

    Parameters
    ----------
    code : types.CodeType
    kwargs : str
        The name without stars.
    """
    function = _parse(code)
    if function is None:  # every word in it may be a name that it takes
        words = [word for word in code.co_consts if isinstance(word, str) and word.isidentifier()]
        return KeywordUse(tuple(ast.Constant(word) for word in words), opaque=True)
    reader = _Reader(kwargs)
    for statement in function.body if isinstance(function.body, list) else [function.body]:
        reader.visit(statement)
    arguments = [*getattr(function.args, "posonlyargs", ()), *function.args.args]
    return KeywordUse(
        tuple(reader.keys),
        tuple(reader.calls),
        reader.opaque,
        reader.locals,
        arguments[0].arg if arguments else None,
    )


def _parse(code: Any) -> Optional[Union[ast.FunctionDef, ast.Lambda]]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(code)))
    except (OSError, TypeError, SyntaxError, IndentationError, ValueError):
        return None  # no source (a prompt, exec), or a lambda inside a longer statement
    wanted = (ast.Lambda,) if code.co_name == "<lambda>" else (ast.FunctionDef,)
    found = [node for node in ast.walk(tree) if isinstance(node, wanted)]
    return None if not found or wanted == (ast.Lambda,) and len(found) > 1 else found[0]


class _Reader(ast.NodeVisitor):
    """Collects the uses of one name; every use that no rule knows makes it opaque."""

    def __init__(self, kwargs: str):
        self.kwargs = kwargs
        self.keys: List[ast.expr] = []
        self.calls: List[_Call] = []
        self.locals: Dict[str, List[Tuple[ast.expr, bool]]] = {}
        self.opaque = False

    def _is_kwargs(self, node: Optional[ast.AST]) -> bool:
        return isinstance(node, ast.Name) and node.id == self.kwargs

    def visit_Name(self, node: ast.Name) -> None:
        self.opaque = self.opaque or self._is_kwargs(node) and isinstance(node.ctx, ast.Load)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Attribute) and self._is_kwargs(function.value):
            self._visit_method(function.attr, node)
            return
        plain = isinstance(function, ast.Name) and function.id in _HARMLESS_CALLS
        self.visit(function)
        for argument in node.args:
            if not (plain and self._is_kwargs(argument)):
                self.visit(argument)
        for keyword in node.keywords:
            if keyword.arg is not None or not self._is_kwargs(keyword.value):
                self.visit(keyword.value)
            else:
                self.calls.append(_Call(function, _by_place(node), _given_names(node)))

    def _visit_method(self, method: str, node: ast.Call) -> None:
        if method in _READING_METHODS and node.args:
            self.keys.append(node.args[0])
        elif method in ("items", "copy"):
            self.opaque = True
        for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
            self.visit(argument)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if not self._is_kwargs(node.value):
            self.generic_visit(node)
            return
        if isinstance(node.ctx, ast.Load):
            self.keys.append(_index_of(node))
        self.visit(_index_of(node))

    def visit_Compare(self, node: ast.Compare) -> None:
        left = node.left
        for operator, right in zip(node.ops, node.comparators):
            if isinstance(operator, (ast.In, ast.NotIn)) and self._is_kwargs(right):
                self.keys.append(left)
            else:
                self.visit(right)
            left = right
        self.visit(node.left)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        """``{k: v for k, v in kwargs.items() if k not in self.mine}``: the names in ``self.mine`` are taken, too."""
        for generator in node.generators:
            for test in generator.ifs:
                for compare in (n for n in ast.walk(test) if isinstance(n, ast.Compare)):
                    if isinstance(compare.ops[0], (ast.In, ast.NotIn)):
                        self.keys.append(ast.Starred(compare.comparators[0], ast.Load()))
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.locals.setdefault(target.id, []).append((node.value, False))
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name) and node.value is not None:
            self.locals.setdefault(node.target.id, []).append((node.value, False))
        if node.value is not None:
            self.visit(node.value)

    def visit_For(self, node: ast.For) -> None:
        self._bind_loop(node.target, node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node: ast.comprehension) -> None:
        self._bind_loop(node.target, node.iter)
        self.generic_visit(node)

    def _bind_loop(self, target: ast.expr, iterated: ast.expr) -> None:
        for name in (n for n in ast.walk(target) if isinstance(n, ast.Name)):
            self.locals.setdefault(name.id, []).append((iterated, True))


def _index_of(node: ast.Subscript) -> ast.expr:
    index = node.slice
    return index.value if type(index).__name__ == "Index" else index  # type: ignore[attr-defined]  # Python 3.8's


def _by_place(node: ast.Call) -> Tuple[ast.expr, ...]:
    return tuple(argument for argument in node.args if not isinstance(argument, ast.Starred))


def _given_names(node: ast.Call) -> FrozenSet[str]:
    return frozenset(keyword.arg for keyword in node.keywords if keyword.arg is not None)


# -- looking up on the object itself ------------------------------------------------------------------------------


def follow_keywords(function: FunctionType, owner: Any, kwargs: str, config: Any = None) -> KeywordFlow:
    """Follow the ``**kwargs`` of one function, not further than its own source.

    Parameters
    ----------
    function : function
        Not bound, not unwrapped: a decorator's own function is one of its own.
    owner : object
        What its first argument will be.
    kwargs : str
        What it calls them.
    config : object, optional
        Where a name is put together (``f"output_{k}"``), the attributes of this object that match are meant.
    """
    use = read_keyword_use(function.__code__, kwargs)
    scope = _Scope(function, owner, use)
    names, opaque = set(), use.opaque
    for key in use.keys:
        found = [value for value in scope.names_of(key, config) if isinstance(value, str)]
        names.update(found)
        opaque = opaque or not found
    calls: List[Tuple[Any, int, FrozenSet[str]]] = []
    for call in use.calls:
        targets = scope.values_of(call.called)
        opaque = opaque or not targets
        calls += [(*scope.bind(target, call.places), call.names) for target in targets]
    return KeywordFlow(frozenset(names), tuple(calls), opaque)


class _Scope:
    """The values that an expression of a function's source may have, as far as they can be looked up."""

    def __init__(self, function: FunctionType, owner: Any, use: KeywordUse):
        self.owner, self.use = owner, use
        self.outer = {**function.__globals__, **_closure_of(function)}
        self.running: List[str] = []  # local names being looked up: x = x.module is no circle without end

    def bind(self, target: Any, places: Tuple[ast.expr, ...]) -> Tuple[Any, int]:
        """Return what is called and how many arguments it gets by place; ``function(self, ...)`` is a method's call."""
        is_self = bool(places) and isinstance(places[0], ast.Name) and places[0].id == self.use.own_name
        if is_self and self.owner is not None and isinstance(target, FunctionType):
            return MethodType(target, self.owner), len(places) - 1
        return target, len(places)

    def names_of(self, key: ast.expr, config: Any) -> List[Any]:
        if isinstance(key, ast.JoinedStr):
            fixed = [str(part.value) for part in key.values if isinstance(part, ast.Constant)]
            return [name for name in dir(config) if fixed and name.startswith(fixed[0]) and name.endswith(fixed[-1])]
        if isinstance(key, ast.Starred):
            return [name for held in self.values_of(key.value) for name in _elements(held)]
        return self.values_of(key)

    def values_of(self, node: ast.expr) -> List[Any]:
        """Return what `node` may be; nothing where that cannot be told."""
        method = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        return [] if method is None else list(method(node))

    def _of_constant(self, node: ast.Constant) -> List[Any]:
        return [node.value]

    def _of_list(self, node: Union[ast.List, ast.Tuple, ast.Set]) -> List[Any]:
        return [[value for element in node.elts for value in self.values_of(element)]]

    _of_tuple = _of_set = _of_list

    def _of_name(self, node: ast.Name) -> Iterator[Any]:
        if node.id == self.use.own_name and self.owner is not None:
            yield self.owner
        elif node.id in self.use.locals and node.id not in self.running:
            self.running.append(node.id)
            for assigned, is_loop in self.use.locals[node.id]:
                yield from self._elements_of(assigned) if is_loop else self.values_of(assigned)
            self.running.pop()
        elif node.id in self.outer and node.id not in self.use.locals:
            yield self.outer[node.id]

    def _of_attribute(self, node: ast.Attribute) -> Iterator[Any]:
        for value in self.values_of(node.value):
            yield from _attribute(value, node.attr)

    def _of_ifexp(self, node: ast.IfExp) -> List[Any]:
        return self.values_of(node.body) + self.values_of(node.orelse)

    def _of_boolop(self, node: ast.BoolOp) -> List[Any]:
        return [value for part in node.values for value in self.values_of(part)]

    def _of_subscript(self, node: ast.Subscript) -> Iterator[Any]:
        for value in self.values_of(node.value):
            if isinstance(node.slice, ast.Slice):
                yield value
            else:
                yield from _elements(value)

    def _of_call(self, node: ast.Call) -> Iterator[Any]:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name == "super" and "__class__" in self.outer and self.owner is not None:
            yield super(self.outer["__class__"], self.owner)
        elif name == "getattr" and len(node.args) >= 2:
            for value in self.values_of(node.args[0]):
                for attribute in self.values_of(node.args[1]):
                    yield from _attribute(value, attribute)

    def _elements_of(self, node: ast.expr) -> Iterator[Any]:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _PASS_ELEMENTS_ON:
            for argument in node.args:
                yield from self._elements_of(argument)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "values":
            for value in self.values_of(node.func.value):
                yield from value.values() if hasattr(value, "values") else ()
        else:
            for value in self.values_of(node):
                yield from _elements(value)


def _closure_of(function: FunctionType) -> Dict[str, Any]:
    held = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or ()):
        try:
            held[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return held


def _attribute(value: Any, name: Any) -> List[Any]:
    try:
        return [getattr(value, name)]
    except Exception:  # a property may raise whatever it likes; then it cannot be told
        return []


def _elements(value: Any) -> List[Any]:
    """Return the elements of a list or a list of modules; of a string, a tensor or a module, none."""
    if isinstance(value, (list, tuple, set, frozenset)) or type(value).__name__ in ("ModuleList", "Sequential"):
        return list(value)
    return []
