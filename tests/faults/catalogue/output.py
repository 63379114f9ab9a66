"""What reaches the loss is not the logits, or the loss is not what it should be."""

from typing import Any, Callable, List, Optional

import torch
from torch import Tensor, nn

from fastai_hf_callback import HFCallback, HFModel
from tests.faults.fault import BERTS, OTHERS, SOME, THIRD, Reader, fault, hidden_states, reader
from tests.faults.stacks import stack
from tests.faults.tasks import (
    ALL,
    MASKED,
    PAD,
    TASKS,
    bare_model,
    both,
    databunch,
    learner,
    padded,
    task_tensors,
    wrapped,
)

Learner = stack.Learner
Build = Callable[[str], Learner]
functional = nn.functional

# -- squashed twice ----------------------------------------------------------------------------------------------


class Then(nn.Module):
    """A model, and what a user put behind it."""

    def __init__(self, net: nn.Module, last: Callable[[Tensor], Tensor]):
        super().__init__()
        self.net, self.last = net, last

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.last(self.net(*tensors)[0])


class Probabilities(stack.ChangesOutput):
    def changed(self, output: Any) -> Tensor:
        return torch.sigmoid(output[0])


def followed_by(last: Any, task: str, **settings: Any) -> Build:
    def build(architecture: str) -> Learner:
        net = wrapped(bare_model(architecture, TASKS[task].n_outputs), architecture)
        return learner(architecture, task, model=Then(net, last), callbacks=[], **settings)

    return build


def softmax(output: Tensor) -> Tensor:
    return functional.softmax(output, dim=-1)


def with_callback(make: Callable[[], Any], task: str, **settings: Any) -> Build:
    return lambda architecture: learner(architecture, task, callbacks=[make()], **settings)


# -- the model was given the labels ------------------------------------------------------------------------------


class TakeFirst(stack.ChangesOutput):
    def changed(self, output: Any) -> Tensor:
        return output[0]


def labelled(task: str, **settings: Any) -> Build:
    """The targets are in the batch twice: for the model, and for fastai."""

    def build(architecture: str) -> Learner:
        parts = [[*padded(part.rows, length=20), part.targets, part.targets] for part in both(task)]
        net = HFModel(bare_model(architecture, TASKS[task].n_outputs), ("input_ids", "attention_mask", "labels"), PAD)
        given = dict(model=net, data=databunch(*parts), callbacks=[TakeFirst()])
        return learner(architecture, task, **{**given, **settings})

    return build


def mean_squares(output: Tensor, target: Tensor) -> Tensor:
    """A metric, and a loss, that never looks at shapes."""
    return ((output - target) ** 2).mean()


def focal(output: Tensor, target: Tensor) -> Tensor:
    """A user's own loss for rare labels; it never looks at shapes."""
    chance = torch.sigmoid(output)
    right = chance * target + (1 - chance) * (1 - target)
    return -((1 - right) ** 2 * right.clamp(min=1e-6).log()).mean()


class Twice(stack.ChangesOutput):
    def changed(self, output: Any) -> Tensor:
        return output[0][0]


class OverRows(stack.ChangesOutput):
    def changed(self, output: Any) -> Tensor:
        return output[0].mean(0)


def quiet_hfcallback(element: Any) -> Callable[[], HFCallback]:
    return lambda: HFCallback(element=element, check=False)


# -- hidden states -----------------------------------------------------------------------------------------------


class Headless(Reader):
    """The last linear layer was forgotten."""

    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return self.features(ids, mask)


class Averaged(Reader):
    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return hidden_states(self.body, ids, mask).mean(1)


class Pooled(Reader):
    """BERT's pooler was taken for its classifier."""

    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return self.body(ids, attention_mask=mask)[1]


def without_head(kind: Any, task: str, **settings: Any) -> Build:
    return lambda architecture: learner(
        architecture, task, model=reader(architecture, task, kind), callbacks=[], **settings
    )


# -- shapes and signs --------------------------------------------------------------------------------------------


def flat_targets(loss: Any, callbacks: Callable[[], List[Any]]) -> Build:
    """``(bs, 1)`` against ``(bs,)``."""

    def build(architecture: str) -> Learner:
        parts = [[*inputs, target.squeeze(1)] for *inputs, target in task_tensors(architecture, "number")]
        return learner(architecture, "number", data=databunch(*parts), loss_func=loss, callbacks=callbacks())

    return build


def squeezed(output: Tensor) -> Tensor:
    return output.squeeze(-1)


def log_likelihood(output: Tensor, target: Tensor) -> Tensor:
    """Without its minus."""
    return functional.log_softmax(output, 1).gather(1, target[:, None]).mean()


class Negative(nn.Module):
    def __init__(self, score: nn.Module):
        super().__init__()
        self.score = score

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return -self.score(output, target)


class Reward(stack.ChangesLoss):
    def changed(self, loss: Tensor) -> Tensor:
        return -loss


def weights(of_classes: List[float]) -> Any:
    """As ``counts.min() // counts`` makes them, which is 0 but for the rarest."""
    return nn.CrossEntropyLoss(torch.tensor(of_classes))


def yeses_unweighted() -> Any:
    """``(n - positives) // positives``, where a label is common."""
    return nn.BCEWithLogitsLoss(pos_weight=torch.tensor([0.0, 3.0, 3.0, 3.0, 3.0, 3.0]))


IGNORES = "loss-ignores-a-target"
SIGMOID, SOFTMAX = "sigmoid-before-logits-loss", "softmax-before-cross-entropy"
NLL = "no-log-softmax-before-nll"
IS_LOSS = ("output-is-the-loss", "loss-broadcasts", "batch-dimension-lost")
LOST = ("batch-dimension-lost", "loss-broadcasts")
HIDDEN = "hidden-state-as-logits"
BROADCASTS = "loss-broadcasts"

FAULTS = [
    fault(
        "class-weight-nought", IGNORES, with_callback(HFCallback, "classes", loss_func=weights([0.0, 1.0, 1.0])), ALL
    ),
    fault(
        "class-weights-nought-but-one",
        IGNORES,
        with_callback(HFCallback, "two classes", loss_func=weights([0.0, 1.0])),
        OTHERS,
    ),
    fault(
        "class-taken-for-padding",
        IGNORES,
        with_callback(HFCallback, "classes", loss_func=nn.CrossEntropyLoss(ignore_index=0)),
        SOME,
    ),
    fault("label-weight-nought", IGNORES, with_callback(HFCallback, "labels", loss_func=yeses_unweighted()), OTHERS),
    fault("sigmoid-in-the-model", SIGMOID, followed_by(torch.sigmoid, "labels"), ALL),
    fault("sigmoid-in-a-callback", SIGMOID, with_callback(Probabilities, "labels"), OTHERS),
    fault("sigmoid-under-flat-loss", SIGMOID, followed_by(torch.sigmoid, "labels", loss_func=stack.FlatBCE()), SOME),
    fault(
        "sigmoid-by-element", SIGMOID, with_callback(lambda: HFCallback(lambda out: out[0].sigmoid()), "labels"), THIRD
    ),
    fault("softmax-in-the-model", SOFTMAX, followed_by(softmax, "classes"), ALL),
    fault("softmax-of-two", SOFTMAX, followed_by(softmax, "two classes", loss_func=stack.FlatCrossEntropy()), OTHERS),
    fault("softmax-before-bce", (SOFTMAX, SIGMOID), followed_by(softmax, "labels"), SOME),
    fault("nll-of-logits", NLL, with_callback(HFCallback, "classes", loss_func=nn.NLLLoss()), ALL),
    fault("nll-of-probabilities", NLL, followed_by(softmax, "two classes", loss_func=nn.NLLLoss()), OTHERS),
    fault("labels-to-the-model", IS_LOSS, labelled("number", metrics=[mean_squares]), MASKED),
    fault("labels-to-the-model-l1", IS_LOSS, labelled("number", loss_func=nn.L1Loss(), metrics=[]), BERTS),
    fault("labels-to-the-model-loud", IS_LOSS, labelled("classes"), ("bert", "distilbert"), loud=True),
    fault("unwrapped-twice", LOST, with_callback(Twice, "number", metrics=[mean_squares]), ALL),
    fault("unwrapped-twice-l1", LOST, with_callback(Twice, "number", loss_func=nn.SmoothL1Loss(), metrics=[]), OTHERS),
    fault("unwrapped-twice-focal", LOST, with_callback(Twice, "labels", loss_func=focal, metrics=[]), SOME),
    fault("averaged-over-rows", LOST, with_callback(OverRows, "number", metrics=[mean_squares]), THIRD),
    fault(
        "unwrapped-twice-in-hfcallback",
        LOST,
        with_callback(quiet_hfcallback(lambda out: out[0][0]), "number", metrics=[mean_squares]),
        THIRD,
    ),
    fault("unwrapped-twice-loud", LOST, with_callback(Twice, "classes"), ("xlnet", "bert"), loud=True),
    fault("first-state-as-logits", HIDDEN, without_head(Headless, "classes"), ALL),
    fault("mean-state-as-logits", HIDDEN, without_head(Averaged, "two classes"), OTHERS),
    fault("pooled-state-as-logits", HIDDEN, without_head(Pooled, "classes"), stack.POOLED),
    fault("state-as-a-number", (HIDDEN, BROADCASTS), without_head(Headless, "number", metrics=[mean_squares]), SOME),
    fault("flat-targets", BROADCASTS, flat_targets(nn.MSELoss(), lambda: [HFCallback(check=False)]), ALL),
    fault("flat-targets-own-callback", BROADCASTS, flat_targets(nn.L1Loss(), lambda: [TakeFirst()]), OTHERS),
    fault("flat-targets-own-loss", BROADCASTS, flat_targets(mean_squares, lambda: [TakeFirst()]), THIRD),
    fault("flat-outputs", BROADCASTS, followed_by(squeezed, "number"), SOME),
    fault(
        "flat-targets-loud", BROADCASTS, flat_targets(nn.MSELoss(), lambda: [HFCallback()]), ("bert", "gpt2"), loud=True
    ),
    fault(
        "likelihood-without-minus",
        "loss-sign-flipped",
        with_callback(HFCallback, "classes", loss_func=log_likelihood),
        ALL,
    ),
    fault(
        "score-for-a-loss",
        "loss-sign-flipped",
        with_callback(HFCallback, "number", loss_func=Negative(nn.MSELoss())),
        SOME,
    ),
    fault(
        "negative-bce",
        "loss-sign-flipped",
        with_callback(HFCallback, "labels", loss_func=Negative(nn.BCEWithLogitsLoss())),
        OTHERS,
    ),
    fault(
        "reward-in-a-callback",
        "loss-sign-flipped",
        lambda architecture: learner(architecture, "classes", callbacks=[HFCallback(), Reward()]),
        THIRD,
    ),
]
