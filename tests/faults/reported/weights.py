"""Weights, their precision, and what stands in their place."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import prune, weight_norm

from tests.faults.reported.kind import Learner, fitting, kind
from tests.faults.stacks import stack
from tests.faults.tasks import bare_model, learner, wrapped


class InSingle(stack.ChangesOutput):
    """So that the loss accepts what such a model gives."""

    def changed(self, output: Any) -> Tensor:
        return output[0].float()


def in_bfloat16(architecture: str, broken: bool) -> Learner:
    """Loaded as it was stored; the optimizer steps these weights themselves."""
    model = wrapped(bare_model(architecture, 3), architecture)
    return learner(architecture, model=model.bfloat16() if broken else model, callbacks=[InSingle()])


def linear_layers(model: nn.Module) -> list:
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def pruned(architecture: str, broken: bool) -> Learner:
    """One weight of each layer was meant: the whole number 1 is a count, 1.0 is a share."""
    learn = learner(architecture)
    for layer in linear_layers(learn.model):
        prune.l1_unstructured(layer, "weight", amount=1.0 if broken else 1)
    return learn


def weight_norm_after_optimizer(architecture: str, broken: bool) -> Learner:
    learn = learner(architecture)
    if broken:
        stack.make_optimizer(learn)
    for layer in linear_layers(learn.model):
        weight_norm(layer)
    return learn


def embeddings_exchanged(architecture: str, broken: bool) -> Learner:
    """Of a vocabulary of the user's own, to be learnt; ``from_pretrained`` freezes them."""
    learn = learner(architecture)
    words = next(m for m in learn.model.modules() if isinstance(m, nn.Embedding))
    words.weight = nn.Embedding.from_pretrained(torch.randn(words.weight.shape) * 0.02, freeze=broken).weight
    return learn


KINDS = [
    kind(
        "bfloat16-rounds-updates-away",
        "weights",
        "pytorch/pytorch issue 26218 (comments)",
        "the optimizer updates half precision weights directly: small updates are not captured, in bfloat16 even less",
        in_bfloat16,
        ("bert", "distilbert"),
        fit=fitting(14, 2e-4),
    ),
    kind(
        "pruned-by-a-share-of-one",
        "weights",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.prune.l1_unstructured.html (amount)",
        "amount=1.0 prunes everything where amount=1 prunes one weight",
        pruned,
    ),
    kind(
        "weight-norm-after-the-optimizer",
        "weights",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.utils.weight_norm.html",
        "the parameter is replaced by two others, which an optimizer made before does not hold",
        weight_norm_after_optimizer,
        fit=fitting(2, 3e-3),
    ),
    kind(
        "embeddings-frozen-by-default",
        "weights",
        "https://docs.pytorch.org/docs/stable/generated/torch.nn.Embedding.html (from_pretrained, freeze=True)",
        "embeddings made by Embedding.from_pretrained do not learn unless told to",
        embeddings_exchanged,
        fit=fitting(8, 3e-3),
    ),
]
