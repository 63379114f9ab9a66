"""Masks, a class for every pixel, in figures that a regression can predict: which classes lie where. Imports torch."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["is_mask_of_classes", "summarize_masks"]

CLASSES, GRID = 8, 4


def is_mask_of_classes(target: Tensor) -> bool:
    """Return whether there is a class for every pixel: whole numbers, (rows, height, width)."""
    return target.dim() == 3 and not target.is_floating_point()


def summarize_masks(target: Tensor) -> Tensor:
    """Compute the share of each class in each cell of a grid, float32 (rows, classes x cells).

    Classes beyond the first few count as one, with what is left out of the loss.
    """
    classes = target.detach().cpu().long()
    classes = torch.where((classes < 0) | (classes >= CLASSES), torch.full_like(classes, CLASSES), classes)
    layers = functional.one_hot(classes, CLASSES + 1).permute(0, 3, 1, 2).float()
    return functional.adaptive_avg_pool2d(layers, GRID).flatten(1)
