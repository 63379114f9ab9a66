"""The output of a Hugging Face model -> the tensor the loss needs. Imports torch and ``errors`` only.

Nothing here copies, casts or detaches: the tensor that comes out is the object the model made.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Callable, Dict, Iterator, Optional, Sequence, Tuple, Union

from torch import Tensor

from fastai_hf_callback.errors import OutputError

__all__ = ["Element", "unwrap", "describe", "tensors_in"]

Element = Union[None, int, str, Callable[[Any], Any], Sequence[Union[int, str]]]


def unwrap(output: Any, element: Element = None) -> Union[Tensor, Tuple[Tensor, ...]]:
    """Return the logits inside what a model returned, as the very object the model made.

    Parameters
    ----------
    output : Tensor, tuple, list, mapping (``ModelOutput`` included), namedtuple or dataclass
        What ``model(...)`` returned, of any shape, dtype and device.
    element : int, str, callable or sequence of int and str, optional
        Which part is the logits. By default: a tensor is itself; a tuple or list gives its first
        element, or the second where the first is a loss (0-dimensional, or one value per device,
        because labels were passed to the model); anything with names gives ``logits``, or its only
        tensor. An int is a position (where there are names, among the values that are not ``None``, as
        ``ModelOutput`` counts), a str is a name, a callable is given the output and returns a tensor, and a sequence of
        names or positions gives a tuple of tensors, for losses that take several.

    Returns
    -------
    Tensor or tuple of Tensor
        The same object as in `output`: nothing is copied, cast or detached. A tensor is returned
        unchanged whatever `element` is, so unwrapping twice changes nothing.

    Raises
    ------
    OutputError
        When `output` holds no tensor there, or several and none is called ``logits``. The message
        lists what there was, with shapes, and what to write.

    Examples
    --------
    >>> logits, hidden = torch.zeros(8, 2), torch.zeros(8, 5, 16)
    >>> unwrap((logits, hidden)) is logits
    True
    >>> unwrap({"last_hidden_state": hidden, "pooler_output": logits}, element="pooler_output") is logits
    True
    """
    if isinstance(output, Tensor):
        return output
    if element is None:
        if type(output) is tuple and output and isinstance(output[0], Tensor) and output[0].dim() > 1:
            return output[0]  # what nearly every model of 2019 returns, in every batch: the fast path
        return _find_logits(output, output)
    if callable(element):
        return _select_by_callable(output, element)
    if isinstance(element, (list, tuple)) and element:
        return tuple(_select(output, part) for part in element)
    return _select(output, element)


def describe(output: Any, depth: int = 3) -> str:
    """Describe a nested output in one line: types, names, dtypes and shapes, never values.

    Parameters
    ----------
    output : any
        A tensor or a nest of containers.
    depth : int
        How many levels of containers are written out.

    Returns
    -------
    str
        For example ``tuple(float32 (8, 2), tuple of 13)``.
    """
    if isinstance(output, Tensor):
        return f"{str(output.dtype).replace('torch.', '')} {tuple(output.shape)}"
    name = type(output).__name__
    named = _named_values(output)
    if named is not None:
        if depth == 0:
            return f"{name} of {len(named)}"
        return f"{name}({', '.join(f'{k}: {describe(v, depth - 1)}' for k, v in named.items())})"
    if isinstance(output, (list, tuple)):
        if depth == 0 or len(output) > 6:
            return f"{name} of {len(output)}"
        return f"{name}({', '.join(describe(v, depth - 1) for v in output)})"
    return name if output is not None else "None"


def _find_logits(output: Any, whole: Any) -> Tensor:
    if isinstance(output, Tensor):
        return output
    named = _named_values(output)
    if named is not None:
        return _logits_by_name(output, named, whole)
    if isinstance(output, (list, tuple)):
        return _logits_by_position(output, whole)
    raise OutputError(
        f"The model returned {describe(whole)}; expected a tensor, tuple, list, mapping, namedtuple or "
        f"dataclass that holds the logits. Write element=lambda output: ... to pick them.",
        "no-tensor-in-output",
    )


def _logits_by_name(output: Any, named: Dict[Any, Any], whole: Any) -> Tensor:
    if named.get("logits") is not None:
        return _find_logits(named["logits"], whole)
    tensors = list(tensors_in(output))
    if len(tensors) == 1 and tensors[0] is named.get("loss"):
        raise _loss_only_error(whole)
    if len(tensors) == 1:
        return tensors[0]
    given = [k for k, v in named.items() if v is not None]
    if not tensors:
        raise OutputError(
            f"The model returned {describe(whole)}: no tensor in it. Expected the logits; check what forward returns.",
            "no-tensor-in-output",
        )
    raise OutputError(
        f"The model returned {describe(whole)}: {len(tensors)} tensors and none is called 'logits'. Training on "
        f"a hidden state would go unnoticed, so say which one the loss needs: element={given[0]!r} for one of "
        f"{given}, or element={tuple(given[:2])!r} for a loss that takes several"
        f"{_head_hint(given)}.",
        "ambiguous-output",
    )


def _head_hint(names: Sequence[Any]) -> str:
    if "start_logits" in names and "end_logits" in names:
        return "; element=span_logits (of this package) puts both into one tensor, as fastai's predictions need it"
    headless = "last_hidden_state" in names
    return "; a model with a head (…ForSequenceClassification) returns logits" if headless else ""


def _logits_by_position(output: Sequence[Any], whole: Any) -> Tensor:
    values = [v for v in output if v is not None]
    if not values:
        raise OutputError(
            f"The model returned {describe(whole)}: nothing in it. Expected the logits; check what forward returns.",
            "no-tensor-in-output",
        )
    if not _is_loss(values[0], values[1] if len(values) > 1 else None):
        return _find_logits(values[0], whole)
    if len(values) == 1:
        raise _loss_only_error(whole)
    return _find_logits(values[1], whole)


def _loss_only_error(whole: Any) -> OutputError:
    return OutputError(
        f"The model returned {describe(whole)}: a loss and no logits. Call the model without labels and let "
        f"the Learner's loss_func compute the loss, or write element=0 to take what is there.",
        "only-a-loss",
    )


def _is_loss(first: Any, second: Any) -> bool:
    """Return whether element 0 is a loss: 0-dimensional, or one value per device (DataParallel).

    The latter differs from flattened logits in being shorter than the batch of the element after it.
    """
    if not isinstance(first, Tensor):
        return False
    if first.dim() == 0:
        return True
    rows = second.shape[0] if isinstance(second, Tensor) and second.dim() > 0 else 0
    return first.dim() == 1 and first.is_floating_point() and first.shape[0] < rows


def _select(output: Any, element: Union[int, str, Sequence[Any]]) -> Tensor:
    if isinstance(element, bool) or not isinstance(element, (int, str)):
        raise OutputError(
            f"element={element!r} ({type(element).__name__}) was given; expected a name, a position, "
            f"a callable, or a sequence of names and positions.",
            "bad-element",
        )
    value = _select_by_name(output, element) if isinstance(element, str) else _select_by_position(output, element)
    return _expect_tensor(value, output, f"element={element!r}")


def _select_by_name(output: Any, name: str) -> Any:
    named = _named_values(output)
    if named is None:
        raise OutputError(
            f"element={name!r} was given, but the model returned {describe(output)}, which has no "
            f"names. Write a position instead: element=0.",
            "bad-element",
        )
    if named.get(name) is None:
        there = [k for k, v in named.items() if v is not None]
        raise OutputError(
            f"element={name!r} was given, but the model returned {describe(output)}. Write one of {there}.",
            "bad-element",
        )
    return named[name]


def _select_by_position(output: Any, position: int) -> Any:
    named = _named_values(output)
    values = output if named is None else [v for v in named.values() if v is not None]
    if not isinstance(values, (list, tuple)):
        raise OutputError(
            f"element={position} was given, but the model returned {describe(output)}, which has no "
            f"positions. Write element=lambda output: ... instead.",
            "bad-element",
        )
    if not -len(values) <= position < len(values):
        raise OutputError(
            f"element={position} was given, but the model returned {describe(output)}; expected "
            f"a position below {len(values)}, counted from 0.",
            "bad-element",
        )
    return values[position]


def _select_by_callable(output: Any, element: Callable[[Any], Any]) -> Union[Tensor, Tuple[Tensor, ...]]:
    value, how = element(output), f"element={getattr(element, '__name__', 'the callable')}"
    if isinstance(value, (list, tuple)) and value:
        return tuple(_expect_tensor(v, output, how) for v in value)
    return _expect_tensor(value, output, how)


def _expect_tensor(value: Any, output: Any, how: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    raise OutputError(
        f"{how} gave {describe(value)} out of {describe(output)}; expected a tensor. To reach deeper "
        f"write a callable, for example element=lambda output: output['hidden_states'][-1].",
        "bad-element",
    )


def _named_values(output: Any) -> Optional[Dict[Any, Any]]:
    """Return names and values of whatever has names (a ``ModelOutput`` is a mapping), else None."""
    if isinstance(output, Mapping):
        return {k: output[k] for k in output}
    if isinstance(output, tuple) and hasattr(output, "_fields"):
        return dict(zip(output._fields, output))
    if is_dataclass(output) and not isinstance(output, type):
        return {f.name: getattr(output, f.name) for f in fields(output)}
    return None


def tensors_in(output: Any) -> Iterator[Tensor]:
    """Yield all tensors of a nested output or batch, in order."""
    if isinstance(output, Tensor):
        yield output
        return
    named = _named_values(output)
    inner = named.values() if named is not None else output if isinstance(output, (list, tuple)) else ()
    for value in inner:
        yield from tensors_in(value)
