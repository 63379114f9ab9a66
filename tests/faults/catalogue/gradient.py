"""The gradient does not get from the loss to the weights, or the step is not made of it."""

from typing import Any, Optional

import torch
from torch import Tensor, nn

from fastai_hf_callback import HFCallback, HFModel
from tests.faults.fault import OTHERS, SOME, THIRD, Reader, body_for, fault, hidden_states, position_for, reader
from tests.faults.stacks import stack
from tests.faults.tasks import ALL, TASKS, bare_model, learner, wrapped

# -- the output is cut from the model ----------------------------------------------------------------------------


class Unpack(stack.ChangesOutput):
    """What users write when they mean HFCallback."""

    def changed(self, output: Any) -> Tensor:
        return output[0]


class FreshLogits(stack.ChangesOutput):
    def changed(self, output: Any) -> Tensor:
        return output[0].detach().requires_grad_()


class AsTensor(stack.ChangesOutput):
    def changed(self, output: Any) -> Tensor:
        return torch.tensor(output[0].tolist(), requires_grad=True)


class Rounded(stack.ChangesOutput):
    """After another callback has unwrapped the output."""

    def changed(self, output: Tensor) -> Tensor:
        return torch.from_numpy(output.detach().numpy().round(4)).requires_grad_()


class DataOf(nn.Module):
    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, *tensors: Tensor) -> Tensor:
        out = self.net(*tensors)[0].data
        out.requires_grad = True
        return out


class ThroughNumpy(DataOf):
    def forward(self, *tensors: Tensor) -> Tensor:
        return torch.from_numpy(self.net(*tensors)[0].detach().cpu().numpy()).requires_grad_()


class Inference(DataOf):
    def forward(self, *tensors: Tensor) -> Tensor:
        with torch.no_grad():
            scores = self.net(*tensors)[0]
        return scores.requires_grad_()


def with_callbacks(*kinds: Any, task: str = "classes") -> Any:
    return lambda architecture: learner(architecture, task, callbacks=[kind() for kind in kinds])


def inside(kind: Any, task: str = "classes", **settings: Any) -> Any:
    def build(architecture: str) -> Any:
        net = wrapped(bare_model(architecture, TASKS[task].n_outputs), architecture)
        return learner(architecture, task, model=kind(net), **settings)

    return build


# -- the model is cut within -------------------------------------------------------------------------------------


class OnFeatures(Reader):
    def features(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        with torch.no_grad():
            return super().features(ids, mask)


class OnCopies(Reader):
    def features(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return super().features(ids, mask).detach()


class Decorated(Reader):
    @torch.no_grad()
    def features(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return hidden_states(self.body, ids, mask).mean(1)


class InAList(nn.Module):
    def __init__(self, body: nn.Module, n_outputs: int, position: int):
        super().__init__()
        self.parts = [body]
        self.top = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, n_outputs))
        self.position = position

    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return self.top(hidden_states(self.parts[0], ids, mask)[:, self.position])


class InADict(nn.Module):
    def __init__(self, body: nn.Module, n_outputs: int, position: int):
        super().__init__()
        self.nets = {"encoder": body, "head": nn.Linear(16, 16)}
        self.out, self.position = nn.Linear(16, n_outputs), position

    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        states = hidden_states(self.nets["encoder"], ids, mask)[:, self.position]
        return self.out(torch.relu(self.nets["head"](states)))


class Borrowed(nn.Module):
    """Its forward calls a model that it only knows by a function."""

    def __init__(self, encode: Any, n_outputs: int):
        super().__init__()
        self.encode, self.decide = encode, nn.Linear(16, n_outputs)

    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return self.decide(self.encode(ids, mask).mean(1))


def layers_in_a_list(architecture: str) -> Any:
    model = bare_model(architecture, 3)
    encoder = model.bert.encoder if hasattr(model, "bert") else model.roberta.encoder
    kept = list(encoder.layer)
    del encoder.layer
    encoder.layer = kept
    return learner(architecture, model=wrapped(model, architecture))


def own_model(kind: Any, task: str = "classes") -> Any:
    return lambda architecture: learner(architecture, task, model=reader(architecture, task, kind))


def borrowed(architecture: str) -> Any:
    body = body_for(architecture)
    return learner(architecture, "labels", model=Borrowed(lambda ids, mask=None: hidden_states(body, ids, mask), 6))


def in_hf_model(architecture: str) -> Any:
    """HFModel around a user's classifier whose body runs without gradients."""

    class Classifier(OnFeatures):
        def forward(self, input_ids: Tensor, attention_mask: Optional[Tensor] = None) -> Any:
            return (super().forward(input_ids, attention_mask),)

    net = Classifier(body_for(architecture), 2, position_for(architecture))
    return learner(architecture, "two classes", model=HFModel(net, inputs=("input_ids", "attention_mask")))


# -- the loss is cut ---------------------------------------------------------------------------------------------


class Smoothed(stack.ChangesLoss):
    """Means to hand fastai a smooth loss."""

    def fit_begins(self) -> None:
        self.running = 0.0

    def changed(self, loss: Tensor) -> Tensor:
        self.running = 0.9 * self.running + 0.1 * loss.item()
        return torch.tensor(self.running, requires_grad=True)


class Separate(stack.ChangesLoss):
    def changed(self, loss: Tensor) -> Tensor:
        return loss.detach().clone().requires_grad_()


def loss_from_item(output: Tensor, target: Tensor) -> Tensor:
    value = nn.functional.cross_entropy(output, target).item()
    return torch.tensor(value, requires_grad=True)


class OnValues(nn.Module):
    """A loss that makes leaves of what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.bce = nn.BCEWithLogitsLoss()

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        return self.bce(output.detach().clone().requires_grad_(), target)


def with_loss(loss: Any, task: str = "classes", kinds: Any = (HFCallback,)) -> Any:
    return lambda architecture: learner(architecture, task, loss_func=loss, callbacks=[kind() for kind in kinds])


# -- the events say: not this step -------------------------------------------------------------------------------


class Guard(stack.SkipsStep):
    """Means to leave out steps whose loss is not finite."""

    def unwanted(self, loss: Tensor) -> bool:
        return bool(torch.isfinite(loss))


class NoBackward(stack.SkipsBackward):
    pass


class OnlyHardBatches(stack.SkipsBackward):
    """Means to leave out batches that are already easy; no loss is ever as large as it asks."""

    def unwanted(self, loss: Tensor) -> bool:
        return bool(loss < 100)


NONE_IN_MODEL = ("no-gradient-in-model", "output-detached")

FAULTS = [
    fault("callback-detaches-output", "output-detached", with_callbacks(FreshLogits), ALL),
    fault("callback-detaches-labels", "output-detached", with_callbacks(FreshLogits, task="labels"), OTHERS),
    fault("callback-rebuilds-output", "output-detached", with_callbacks(AsTensor, task="number"), SOME),
    fault("callback-rounds-unwrapped", "output-detached", with_callbacks(Unpack, Rounded), THIRD),
    fault(
        "callback-rounds-beside-hfcallback",
        "output-detached",
        with_callbacks(HFCallback, Rounded),
        ("bert", "xlm"),
        loud=True,
    ),
    fault("model-returns-data", "output-detached", inside(DataOf, callbacks=[]), ALL),
    fault("model-through-numpy", "output-detached", inside(ThroughNumpy, "labels", callbacks=[]), OTHERS),
    fault("model-under-hfcallback-returns-data", "output-detached", inside(DataOf), ("roberta", "gpt2"), loud=True),
    fault("model-in-no-grad", NONE_IN_MODEL, inside(Inference, callbacks=[]), ALL),
    fault("model-in-no-grad-number", NONE_IN_MODEL, inside(Inference, "number", callbacks=[]), THIRD),
    fault("body-in-no-grad", NONE_IN_MODEL, own_model(OnFeatures), ALL),
    fault("body-features-detached", NONE_IN_MODEL, own_model(OnCopies, "labels"), SOME),
    fault("body-decorated", NONE_IN_MODEL, own_model(Decorated, "number"), OTHERS),
    fault("body-in-no-grad-in-hfmodel", NONE_IN_MODEL, in_hf_model, ("bert", "distilbert", "xlm")),
    fault("body-in-a-list", "parameters-hidden", own_model(InAList), ALL),
    fault("body-in-a-dict", "parameters-hidden", own_model(InADict, "labels"), OTHERS),
    fault("body-behind-a-function", "parameters-hidden", borrowed, SOME),
    fault("layers-in-a-list", "parameters-hidden", layers_in_a_list, ("bert", "roberta")),
    fault(
        "callback-replaces-loss",
        "loss-detached",
        with_callbacks(HFCallback, Separate),
        ALL,
        loud=stack.CHECKS_WHAT_IS_PROPAGATED,
    ),
    fault("callback-smooths-loss", "loss-detached", with_callbacks(Unpack, Smoothed, task="labels"), SOME),
    fault("loss-from-item", "loss-detached", with_loss(loss_from_item, kinds=[Unpack]), OTHERS),
    fault(
        "loss-detaches-output", ("loss-detached", "output-detached"), with_loss(OnValues(), "labels", [Unpack]), THIRD
    ),
    fault("loss-from-item-under-hfcallback", "loss-detached", with_loss(loss_from_item), ("xlnet", "gpt2"), loud=True),
    fault("guard-turned-round", "step-skipped", with_callbacks(HFCallback, Guard), ALL),
    fault("dry-run-left-in", "step-skipped", with_callbacks(HFCallback, stack.DryRun, task="labels"), OTHERS),
    fault("backward-skipped", "backward-skipped", with_callbacks(HFCallback, NoBackward), ALL),
    fault("only-hard-batches", "backward-skipped", with_callbacks(HFCallback, OnlyHardBatches, task="number"), SOME),
    fault("gradients-kept", "gradients-never-zeroed", with_callbacks(HFCallback, stack.KeepsGradients), ALL),
    fault(
        "gradients-kept-labels",
        "gradients-never-zeroed",
        with_callbacks(HFCallback, stack.LeavesGradients, task="labels"),
        THIRD,
    ),
]
