"""Healthy runs, as many and as different as one likes: whoever finds a fault here is mistaken."""

import copy
import io
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fastai_hf_callback import ColumnwiseAUC, ConstantBaseline, HFCallback, HFModel, unwrap
from fastai_hf_callback.utils.rng import seed_everything
from tests.faults import tasks
from tests.faults.fault import Reader, body_for, hidden_states, position_for
from tests.faults.healthy_specs import Spec, specs
from tests.faults.stacks import stack
from tests.faults.tasks import LABEL_WORDS, PAD, TASKS, Texts, bare_model, head_and_body, of_today, padded

ROWS, IGNORE_INDEX, LONGEST = 256, -100, 30
Learner = stack.Learner


@dataclass(frozen=True)
class Control:
    spec: Spec

    def build(self, seed: int = 0) -> Learner:
        """The same learner each time."""
        seed_everything(seed)
        return _learner(self.spec)

    def fit(self, learn: Learner) -> None:
        """The user's own fit."""
        _fit(learn, self.spec)


def controls(seed: int, n: int) -> List[Control]:
    """`n` controls, no two alike."""
    return [Control(spec) for spec in specs(seed, n)]


# -- data ---------------------------------------------------------------------------------------------------------

LENGTHS = {"usual": (6, 20), "tiny": (3, 5), "long": (LONGEST, 36), "unpadded": (12, 12)}
SHARES = {"90/10": (0.9, 0.1), "96 % zeros": (0.04,) * 6}
UNEVEN = {"classes": (0.6, 0.3, 0.1)}


def _texts(spec: Spec, n: int) -> Texts:
    shares = UNEVEN.get(spec["task"]) if spec["shares"] == "uneven" else SHARES.get(spec["shares"])
    task = "classes" if spec["task"] == "tokens" else spec["task"]
    made = tasks.texts(task, n, LENGTHS[spec["texts"]], shares)
    rows = [row if len(row) <= LONGEST else row[: LONGEST - 1] + row[-1:] for row in made.rows]
    return Texts(rows, made.targets.squeeze(1) if spec["loss"] == "flat mse on flat targets" else made.targets)


def _tensors(spec: Spec, part: Texts) -> List[Tensor]:
    ids, mask = padded(part.rows, front=spec["mask"] == "in front", length=min(LENGTHS[spec["texts"]][1], LONGEST))
    targets = _kinds_of_words(ids) if spec["task"] == "tokens" else part.targets
    masks = {
        "none": [],
        "from pad_token_id": [],
        "bool": [mask.bool()],
        "float": [mask.float()],
        "with token types": [mask, torch.zeros_like(mask)],
    }
    return [ids, *masks.get(spec["mask"], [mask]), targets]


def _kinds_of_words(ids: Tensor) -> Tensor:
    """0 for most words, 1 and 2 for those that tell, and padding is not asked for."""
    kinds = sum((k // 3 + 1) * (ids[:, :, None] == LABEL_WORDS[k]).any(2).long() for k in range(6))
    return torch.where(ids == PAD, torch.full_like(ids, IGNORE_INDEX), kinds)


def _names(spec: Spec) -> Tuple[str, ...]:
    more = {"none": (), "from pad_token_id": (), "with token types": ("attention_mask", "token_type_ids")}
    return ("input_ids", *more.get(spec["mask"], ("attention_mask",)))


def _collate(spec: Spec) -> Callable[..., Any]:
    def collate(rows: Any) -> Any:
        inputs, target = tasks.inputs_and_target(rows)
        if spec["task"] == "tokens":
            target = target.view(-1)
        if spec["batch"] == "dict":
            inputs = dict(zip(_names(spec), inputs if isinstance(inputs, list) else [inputs]))
        return inputs, target

    return collate


def _data(spec: Spec) -> Any:
    parts = [_tensors(spec, part) for part in (_texts(spec, ROWS), _validation_texts(spec))]
    return tasks.databunch(*parts, bs=spec["bs"], collate=_collate(spec))


def _validation_texts(spec: Spec) -> Texts:
    """However few, they are of more than one class."""
    while True:
        found = _texts(spec, spec["valid_rows"])
        if len(found.targets.unique()) > 1:
            return found


# -- models -------------------------------------------------------------------------------------------------------


class Tagger(Reader):
    """A label for each token, flattened as its targets are."""

    def forward(self, ids: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        return self.score(hidden_states(self.body, ids, mask)).view(-1, self.score.out_features)


class Behind(nn.Module):
    """A model, and what its loss wants behind it."""

    def __init__(self, inner: nn.Module, last: Callable[[Tensor], Tensor]):
        super().__init__()
        self.inner, self.last = inner, last

    def forward(self, *batch: Any) -> Tensor:
        return self.last(unwrap(self.inner(*batch)))


class Recomputed(nn.Module):
    """Reentrant checkpointing: the only kind there was, and opaque to whoever walks the graph."""

    def __init__(self, layer: nn.Module):
        super().__init__()
        self.layer = layer

    def forward(self, *args: Any) -> Any:
        try:
            return checkpoint(self.layer, *args, use_reentrant=True)
        except ValueError:  # torch 1.4 knows no other kind, and no name for it
            return checkpoint(self.layer, *args)


def _model(spec: Spec) -> nn.Module:
    n_outputs, architecture = TASKS.get(spec["task"], TASKS["classes"]).n_outputs, spec["architecture"]
    pretrained = spec["weights"] != "from scratch"
    if spec["unwraps"] == "own head":
        kind = Tagger if spec["task"] == "tokens" else Reader
        body = body_for(architecture, pretrained)
        return kind(body if pretrained else _spread(body), n_outputs, position_for(architecture))
    bare = bare_model(architecture, n_outputs, pretrained)
    model = HFModel(bare if pretrained else _spread(bare), inputs=_names(spec), pad_token_id=PAD)
    if spec["recomputed"]:
        _recompute(bare, architecture)
    last = {"nll after log_softmax": partial(nn.functional.log_softmax, dim=-1), "bce after sigmoid": torch.sigmoid}
    return Behind(model, last[spec["loss"]]) if spec["loss"] in last else model


def _spread(model: nn.Module) -> nn.Module:
    """First weights that suit so narrow a model: it is to learn from nothing within a few epochs."""
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(6)
    return model


def _recompute(bare: nn.Module, architecture: str) -> None:
    if of_today(architecture):
        bare.gradient_checkpointing_enable({"use_reentrant": True})
        return
    encoder = tasks.body_of(bare).encoder
    encoder.layer = nn.ModuleList([Recomputed(layer) for layer in encoder.layer])


# -- losses, metrics, callbacks -----------------------------------------------------------------------------------


def _loss(spec: Spec) -> Any:
    weights = torch.tensor([1.0, 1.5, 2.5])[: TASKS.get(spec["task"], TASKS["classes"]).n_outputs]
    makers: Dict[str, Callable[[], Any]] = {
        "cross entropy": nn.CrossEntropyLoss,
        "weighted cross entropy": lambda: nn.CrossEntropyLoss(weights),
        "label smoothing": stack.LabelSmoothing,
        "flat cross entropy": stack.FlatCrossEntropy,
        "nll after log_softmax": nn.NLLLoss,
        "bce with logits": nn.BCEWithLogitsLoss,
        "bce with pos_weight": lambda: nn.BCEWithLogitsLoss(pos_weight=torch.full((6,), 3.0)),
        "flat bce": stack.FlatBCE,
        "bce after sigmoid": nn.BCELoss,
        "mse": nn.MSELoss,
        "flat mse on flat targets": stack.FlatMSE,
        "smooth l1": nn.SmoothL1Loss,
        "l1": nn.L1Loss,
    }
    return makers[spec["loss"]]()


def token_accuracy(output: Tensor, target: Tensor) -> Tensor:
    asked = target != IGNORE_INDEX
    return (output.argmax(1) == target)[asked].float().mean()


def _metrics(spec: Spec) -> List[Any]:
    if spec["metrics"] == "none":
        return []
    if spec["metrics"] == "auc":
        return [ColumnwiseAUC()]
    if spec["task"] == "tokens":
        return [token_accuracy]
    if spec["task"] == "labels":
        thresholded = partial(stack.accuracy_multi, thresh=0.25, sigmoid=spec["loss"] != "bce after sigmoid")
        return [thresholded, ColumnwiseAUC()] + [ConstantBaseline(stack.accuracy_multi)] * (
            spec["metrics"] == "several"
        )
    usual = TASKS[spec["task"]].make_metrics()
    return usual + (
        [ConstantBaseline(stack.accuracy)] if spec["metrics"] == "several" and usual == [stack.accuracy] else []
    )


class FirstOfTuple(stack.ChangesOutput):
    """A user's own, and right."""

    def changed(self, output: Any) -> Tensor:
        return output[0]


class WarmUp(stack.KnowsLearner):
    full, steps = 1e-3, 8

    def batch_begins(self, learn: Learner, iteration: int) -> None:
        stack.set_rate(learn, self.full * min(1.0, (iteration + 1) / self.steps))


def _warming_up(full: float) -> Any:
    return type("WarmUp", (WarmUp,), {"full": full})


def _callbacks(spec: Spec) -> List[Any]:
    unwrapping = {"HFCallback": [HFCallback()], "own callback": [FirstOfTuple()], "own head": []}[spec["unwraps"]]
    return unwrapping + ([stack.accumulating(spec["accumulate"], spec["bs"])] if spec["accumulate"] else [])


def _knowing(spec: Spec) -> List[Any]:
    return ([stack.clipping(spec["clip"])] if spec["clip"] else []) + (
        [_warming_up(spec["lr"])] if spec["schedule"] == "warm-up" else []
    )


# -- learners and fits --------------------------------------------------------------------------------------------


def _learner(spec: Spec) -> Learner:
    model, data = _model(spec), _data(spec)
    if spec["weights"] in ("converged", "reloaded"):
        model = _trained_before(spec, model, data)
    learn = stack.learner_of(
        data, model, _callbacks(spec), _knowing(spec), loss_func=_loss(spec), metrics=_metrics(spec), wd=spec["wd"]
    )
    if spec["frozen"] in ("body", "discriminative rates", "gradual"):
        stack.split(learn, lambda net: list(head_and_body(net))[::-1])
    if spec["frozen"] in ("body", "gradual"):
        learn.freeze()
    if spec["frozen"] == "body by hand":
        for leaf in head_and_body(learn.model)[1]:
            for weight in leaf.parameters():
                weight.requires_grad = False
    return stack.mixed(learn) if spec["precision"] == "half" else learn


def _trained_before(spec: Spec, model: nn.Module, data: Any) -> nn.Module:
    """Its loss is low by now; "reloaded" comes from a file into a new object, after a shorter run."""
    first = stack.learner_of(data, model, _callbacks({**spec, "accumulate": None}), loss_func=_loss(spec))
    with stack.no_progress(first):
        first.fit_one_cycle(8 if spec["weights"] == "converged" else 2, 3e-3)
    if spec["weights"] == "converged":
        return model
    kept, again = io.BytesIO(), _model(spec)
    torch.save(model.state_dict(), kept)
    kept.seek(0)
    again.load_state_dict(torch.load(kept))
    return again


def _fit(learn: Learner, spec: Spec) -> None:
    lr = slice(spec["lr"] / 10, spec["lr"]) if spec["frozen"] == "discriminative rates" else spec["lr"]
    epochs = 3 if spec["accumulate"] or spec["weights"] == "from scratch" else 2
    if spec["frozen"] == "gradual":
        learn.fit(1, lr)
        learn.unfreeze()
        learn.fit(1, slice(lr / 10, lr))
    elif spec["schedule"] == "one cycle":
        learn.fit_one_cycle(epochs, lr)
    elif spec["schedule"] == "two fits":
        learn.fit(1, lr)
        learn.fit(1, slice(spec["lr"] / 30, spec["lr"] / 3) if isinstance(lr, slice) else lr / 3)
    else:
        learn.fit(epochs, lr)


def training_loss(learn: Learner) -> float:
    """Over all training rows, in eval mode and in single precision; the learner is not touched."""
    model = copy.deepcopy(learn.model).float().eval()

    def loss_of(inputs: List[Any], target: Tensor) -> float:
        inputs = [part.float() if torch.is_tensor(part) and part.is_floating_point() else part for part in inputs]
        return float(learn.loss_func(unwrap(model(*inputs)), target))

    with torch.no_grad():
        losses = stack.loss_of_batches(learn, loss_of)
    return sum(losses) / len(losses)
