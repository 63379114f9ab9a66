"""Losses as users bring them, none of which says how its outputs become predictions."""

from functools import partial

import torch
from torch import nn
from torch.nn import functional

N_CLASSES = 3


class FocalLoss(nn.Module):
    """One of a user's own, without a ``reduction``."""

    def __init__(self, gamma=2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, logits, targets):
        losses = functional.cross_entropy(logits, targets, reduction="none")
        return ((1 - torch.exp(-losses)) ** self.gamma * losses).mean()


class LabelFocalLoss(FocalLoss):
    """The same for several labels."""

    def forward(self, logits, targets):
        losses = functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        return ((1 - torch.exp(-losses)) ** self.gamma * losses).mean()


def my_cross_entropy(logits, targets):
    return functional.cross_entropy(logits, targets)


def my_label_loss(logits, targets):
    return functional.binary_cross_entropy_with_logits(logits, targets)


def soft_cross_entropy(logits, targets):
    """Several labels a row that share one probability; torch's own takes them since 1.10."""
    return -(targets * logits.log_softmax(-1)).sum(-1).mean()


def one_against_rest(logits, targets):
    """A sigmoid for each class, where one is right."""
    wanted = functional.one_hot(targets, logits.shape[-1]).to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits, wanted)


def my_number_loss(outputs, targets):
    """It makes the shapes equal by itself."""
    return functional.l1_loss(outputs[:, 0] if outputs.dim() > 1 and outputs.shape[1] == 1 else outputs, targets)


def build_class_losses(n_classes=N_CLASSES):
    weights = torch.linspace(1, 2, n_classes)
    return {
        "weighted": nn.CrossEntropyLoss(weight=weights),
        "smoothed": nn.CrossEntropyLoss(label_smoothing=0.1) if _has_label_smoothing() else nn.CrossEntropyLoss(),
        "ignoring a class": nn.CrossEntropyLoss(ignore_index=0),
        "summed": nn.CrossEntropyLoss(reduction="sum"),
        "margins": nn.MultiMarginLoss(),
        "function": functional.cross_entropy,
        "partial": partial(functional.cross_entropy, weight=weights),
        "own function": my_cross_entropy,
        "own module": FocalLoss(),
    }


def build_label_losses(n_labels):
    weights = torch.linspace(1, 2, n_labels)
    return {
        "weighted": nn.BCEWithLogitsLoss(pos_weight=weights),
        "soft margin": nn.MultiLabelSoftMarginLoss(),
        "function": functional.binary_cross_entropy_with_logits,
        "partial": partial(functional.binary_cross_entropy_with_logits, pos_weight=weights),
        "own function": my_label_loss,
        "own module": LabelFocalLoss(),
    }


def build_number_losses():
    found = {
        "squared": nn.MSELoss(),
        "absolute": nn.L1Loss(),
        "smooth": nn.SmoothL1Loss(),
        "function": functional.mse_loss,
        "partial": partial(functional.smooth_l1_loss, reduction="sum"),
        "own function": my_number_loss,
    }
    return {**found, "huber": nn.HuberLoss()} if hasattr(nn, "HuberLoss") else found


LOSSES_BY_TASK = {
    "single_label_classification": build_class_losses,
    "token-classification": lambda n: {
        name: loss for name, loss in build_class_losses(n).items() if name not in ("summed", "ignoring a class")
    },
    "multi_label_classification": build_label_losses,
    "regression": lambda n: build_number_losses(),
}


def _has_label_smoothing():
    return "label_smoothing" in nn.CrossEntropyLoss.__init__.__code__.co_varnames
