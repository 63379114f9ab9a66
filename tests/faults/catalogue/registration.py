"""What should unwrap the output is not where all of fastai's paths find it, or is nowhere."""

from typing import Any, Callable, List

from torch import Tensor

from tests.faults.fault import OTHERS, SOME, fault
from tests.faults.stacks import stack
from tests.faults.tasks import ALL, learner

Learner = stack.Learner
Build = Callable[[str], Learner]


class OnlyLogits(stack.ChangesOutput):
    def changed(self, output: Any) -> Tensor:
        return output[0]


def with_callbacks(make: Callable[[], List[Any]], task: str = "classes") -> Build:
    return lambda architecture: learner(architecture, task, callbacks=make())


def fit_with_its_own(learn: Learner) -> None:
    stack.fit_with(learn, 2, 1e-3, [OnlyLogits()])


NOT = ("output-not-unwrapped", "unwrapping-in-callback-fns")

FAULTS = [
    fault(
        "unwrapped-per-fit",
        (*NOT[::-1], "unwrapping-per-fit"),
        with_callbacks(list),
        OTHERS,
        fit_with_its_own,
        fitted=True,
        loud=True,
        cure=True,
    ),
    fault("nothing-unwraps", NOT, with_callbacks(list), ALL, loud=True, cure=True),
    fault("nothing-unwraps-labels", NOT, with_callbacks(list, "labels"), OTHERS, loud=True, cure=True),
    fault("unwrapped-too-early", NOT, with_callbacks(lambda: [stack.LooksTooEarly()]), SOME, loud=True, cure=True),
]
