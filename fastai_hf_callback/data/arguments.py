"""Checks of the arguments of ``text_data`` other than the data, before reading these. Imports torch and ``errors``."""

import os
from numbers import Integral
from typing import Any

import torch

from fastai_hf_callback.errors import InvalidInputError

__all__ = ["check_arguments"]


def check_arguments(bs: Any, val_bs: Any, num_workers: Any, path: Any, device: Any) -> None:
    """Refuse batch sizes, a folder or a device that cannot be used.

    Raises
    ------
    InvalidInputError
    """
    sizes = {"bs": (bs, 1), "val_bs": (bs if val_bs is None else val_bs, 1), "num_workers": (num_workers, 0)}
    for name, (value, minimum) in sizes.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < minimum:
            raise InvalidInputError(f"{name}={value!r} was given; expected a whole number, at least {minimum}")
    if not isinstance(path, (str, os.PathLike)):
        raise InvalidInputError(f"path={path!r} was given; expected a folder: path='.'")
    try:
        torch.zeros((), device="cpu" if device is None else device)
    except (RuntimeError, TypeError, AssertionError) as error:
        raise InvalidInputError(
            f"device={device!r} was given, and torch cannot use it ({str(error).splitlines()[0]}); "
            f"expected 'cpu', 'cuda' or a torch.device"
        ) from None
