"""What a seeded fault is, and what the families of the catalogue share."""

from dataclasses import dataclass
from functools import wraps
from typing import Any, Callable, List, Optional, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback.utils.rng import seed_everything
from tests.faults.stacks import stack
from tests.faults.tasks import TASKS, bare_model, body_of

NEWEST, BERTS = stack.NEWEST, stack.BERTS
SOME = ("bert", "xlnet", "gpt2")
OTHERS = ("roberta", "xlm", NEWEST)
THIRD = ("distilbert", "gpt2", NEWEST)


@dataclass(frozen=True)
class Fault:
    """A mistake in a learner, as somebody might have made it."""

    name: str
    causes: Tuple[str, ...]  # any of them names it rightly, the best first
    build: Callable[..., stack.Learner]
    fit: Callable[[stack.Learner], None]
    architectures: Tuple[str, ...]
    fitted: bool = False  # the fault is in the arguments of the fit: ask after it
    loud: bool = False  # fit or validate raises
    severity: str = "warning"
    cure: bool = False
    undo: Optional[Callable[[], None]] = None  # what `build` left in fastai itself is taken back

    def ask(self, architecture: str) -> stack.Learner:
        """The learner when its user would ask: after the fit, where the fault is in the fit's arguments."""
        learn = self.build(architecture)
        if self.fitted:
            with stack.no_progress(learn):
                self.fit(learn)
        return learn


def fitting(epochs: int = 2, lr: Any = 1e-3, one_cycle: bool = False, **kwargs: Any) -> Callable[[Any], None]:
    """A user's fit."""

    def fit(learn: stack.Learner) -> None:
        (learn.fit_one_cycle if one_cycle else learn.fit)(epochs, lr, **kwargs)

    return fit


USUAL = fitting()


def seeded(build: Callable[[str], stack.Learner]) -> Callable[..., stack.Learner]:
    """`build`, the same at each call."""

    @wraps(build)
    def run(architecture: str, seed: int = 0) -> stack.Learner:
        seed_everything(seed)
        return build(architecture)

    return run


def fault(
    name: str,
    causes: Any,
    build: Callable[[str], stack.Learner],
    architectures: Tuple[str, ...],
    fit: Callable[[stack.Learner], None] = USUAL,
    **kwargs: Any,
) -> Fault:
    causes = (causes,) if isinstance(causes, str) else tuple(causes)
    return Fault(name, causes, seeded(build), fit, tuple(map(stack.named, architectures)), **kwargs)


LAST_WORD = "the last that is no padding"


class Reader(nn.Module):
    """A user's own head on a Hugging Face body: one position's hidden state, and a linear layer."""

    def __init__(self, body: nn.Module, n_outputs: int, position: Any = 0):
        super().__init__()
        self.body, self.position, self.score = body, position, nn.Linear(16, n_outputs)

    def features(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return states_at(self.position, hidden_states(self.body, ids, mask), mask)

    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return self.score(self.features(ids, mask))


def hidden_states(body: nn.Module, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
    return (body(ids) if mask is None else body(ids, attention_mask=mask))[0]


def states_at(position: Any, states: Tensor, mask: Optional[Tensor] = None) -> Tensor:
    """One state a row."""
    if position != LAST_WORD:
        return states[:, position]
    return states[:, -1] if mask is None else states[torch.arange(len(states)), mask.sum(1).long() - 1]


def body_for(architecture: str, pretrained: bool = True) -> nn.Module:
    return body_of(bare_model(architecture, 2, pretrained))


def position_for(architecture: str) -> Any:
    """Where a text is read: at its first position, by models that read in one direction at its last."""
    if architecture.startswith("gpt2 "):  # of transformers 5, which is given padded texts
        return LAST_WORD
    return -1 if architecture.split()[0] in ("gpt2", "xlnet") else 0


def reader(architecture: str, task: str, kind: Any = Reader, **kwargs: Any) -> nn.Module:
    return kind(body_for(architecture), TASKS[task].n_outputs, position_for(architecture), **kwargs)


def where_half_runs(architectures: Tuple[str, ...]) -> Tuple[str, ...]:
    return architectures if stack.half_runs_on_cpu() else ()


def joined(*families: List[Fault]) -> List[Fault]:
    found = [one for family in families for one in family]
    names = [one.name for one in found]
    assert len(set(names)) == len(names), "two faults of one name"
    return found
