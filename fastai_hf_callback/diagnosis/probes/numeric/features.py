"""A few hundred figures of each row of numbers, from which a ridge regression may predict its label. Imports torch."""

from typing import List, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .inputs import IMAGE_CHANNELS, infer_kind, move_channels

__all__ = ["compute_features"]

GRID, BANDS, SEGMENTS, MAX_SIDE = 8, 32, 16, 64
MAX_COLUMNS, MAX_CROSSED, MAX_CODES = 256, 16, 32


def compute_features(tensor: Tensor) -> np.ndarray:
    """Compute features of every row, float32 (rows, features).

    Of pixels and spectrograms, means and standard deviations in the cells of a grid, and how strong which wavelengths
    are; of waveforms, the strength of frequency bands and the loudness over time; of a table, the values and their
    products, and which code of each column of codes.
    """
    if not tensor.is_floating_point() and tensor.dim() < 3:
        return _describe_codes(tensor.detach().cpu()).numpy()
    numbers = tensor.detach().float().cpu()
    numbers = torch.where(torch.isfinite(numbers), numbers, torch.zeros_like(numbers))
    kind = infer_kind(numbers.shape[1:])
    parts: Sequence[Tensor]
    if kind == "waveforms":
        parts = _describe_waves(numbers)
    elif kind == "features":
        parts = _describe_columns(numbers.reshape(len(numbers), -1))
    else:
        parts = _describe_pictures(_channels_first(numbers))
    return torch.cat([part.reshape(len(numbers), -1) for part in parts], 1).numpy()


def _describe_columns(columns: Tensor) -> List[Tensor]:
    few = columns[:, :MAX_CROSSED]
    return [columns[:, :MAX_COLUMNS], few[:, :, None] * few[:, None, :]]


def _describe_codes(codes: Tensor) -> Tensor:
    """Describe each of a few columns of codes by which code it holds."""
    columns = codes.reshape(len(codes), -1)[:, :MAX_CROSSED].long()
    return functional.one_hot(columns.clamp(0, MAX_CODES - 1), MAX_CODES).float().flatten(1)


def _channels_first(rows: Tensor) -> Tensor:
    if rows.dim() == 3:
        return rows[:, None]
    if rows.shape[1] not in IMAGE_CHANNELS and rows.shape[-1] in IMAGE_CHANNELS:
        rows = move_channels(rows, 1)
    return rows.reshape(len(rows), -1, *rows.shape[-2:])[:, : MAX_COLUMNS // GRID]


def _describe_pictures(pictures: Tensor) -> List[Tensor]:
    if max(pictures.shape[-2:]) > MAX_SIDE:
        pictures = functional.adaptive_avg_pool2d(pictures, MAX_SIDE)
    cells = functional.adaptive_avg_pool2d(pictures, GRID)
    squares = functional.adaptive_avg_pool2d(pictures**2, GRID)
    waves = _fourier(pictures).abs().log1p()
    overall = pictures.flatten(2)
    return [
        cells,
        (squares - cells**2).clamp(min=0).sqrt(),
        functional.adaptive_avg_pool2d(waves, GRID // 2),
        overall.mean(2),
        overall.std(2),
        overall.max(2)[0],
    ]


def _describe_waves(waves: Tensor) -> List[Tensor]:
    strength = _fourier(waves[:, None]).abs()
    return [
        functional.adaptive_avg_pool1d(strength, BANDS).log1p(),
        functional.adaptive_avg_pool1d(waves.abs()[:, None], SEGMENTS),
        waves.std(1, keepdim=True),
    ]


def _fourier(rows: Tensor) -> Tensor:
    """Return the magnitudes of the Fourier transform over the last axis, and for pictures over the last two."""
    found = np.fft.rfft2(rows.numpy()) if rows.dim() == 4 else np.fft.rfft(rows.numpy())  # torch 1.4 has no torch.fft
    return torch.from_numpy(np.abs(found).astype(np.float32))
