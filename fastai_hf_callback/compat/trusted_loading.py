"""``trusted``: full pickles from named files only, while a block runs. Imports torch."""

import inspect
import os
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ContextManager, Iterator, List, Optional
from unittest.mock import patch

import torch

from fastai_hf_callback.errors import InvalidInputError

from .patching import apply_once

__all__ = ["trusted"]


def trusted(*paths: Any) -> ContextManager[None]:
    """Let ``torch.load`` read full pickles from these files while a block runs; fastai's ``load_learner`` needs that.

    So do fastai 1's ``load_data`` and ``purge``.

    A pickle can do whatever a program can: name only files of whose origin you are sure.

    Parameters
    ----------
    *paths : str or Path
        Files, or folders, which stand for all in them (``purge`` writes into ``learn.model_dir``); links are followed.

    Returns
    -------
    context manager
        Usable as a decorator too.

    Raises
    ------
    InvalidInputError
        When no path is given, or something that is no path.

    Notes
    -----
    Every other file, and what is no file on disk, is loaded as torch does by default. Where the caller of
    ``torch.load`` says ``weights_only``, that holds. torch 1.4 has no such argument: every file is a full pickle there.
    """
    if not paths:
        raise InvalidInputError(
            "trusted() names no file; expected the files whose pickles may run, as in trusted('models/export.pkl')"
        )
    return _trust_paths([_resolve_path(path) for path in paths])


_TRUSTED_PATHS: List[Path] = []


@contextmanager
def _trust_paths(paths: List[Path]) -> Iterator[None]:
    with apply_once("torch.load", _patch_torch_load):
        _TRUSTED_PATHS.extend(paths)
        try:
            yield
        finally:
            for path in paths:
                _TRUSTED_PATHS.remove(path)


def _patch_torch_load() -> Optional[ContextManager[Any]]:
    if "weights_only" not in inspect.signature(torch.serialization.load).parameters:
        return None
    original = torch.load

    @wraps(original)
    def load(f: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("weights_only") is None and _is_trusted(f):
            kwargs["weights_only"] = False
        return original(f, *args, **kwargs)

    return patch.object(torch, "load", load)


def _is_trusted(file: Any) -> bool:
    path = _get_file_path(file)
    return path is not None and any(path == one or one in path.parents for one in _TRUSTED_PATHS)


def _get_file_path(file: Any) -> Optional[Path]:
    """Return the path of a file on disk, given by path or opened; None where there is none."""
    try:
        if isinstance(file, (str, os.PathLike)):
            return Path(file).resolve()
        if os.path.samestat(os.fstat(file.fileno()), os.stat(file.name)):  # its name may have passed to another file
            return Path(file.name).resolve()
    except (AttributeError, OSError, TypeError, ValueError):
        pass
    return None


def _resolve_path(path: Any) -> Path:
    if not isinstance(path, (str, os.PathLike)) or not str(path):
        raise InvalidInputError(f"trusted was given {path!r}; expected paths of files or folders")
    return Path(path).resolve()
