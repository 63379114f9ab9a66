"""Predictions in length-bucketed batches, returned in the caller's row order."""

from pathlib import Path
from typing import Any, Callable, Optional

from fastai.data.load import DataLoader
from fastai.learner import Learner
from torch.utils.data import DataLoader as TorchDataLoader

from fastai_hf_callback.errors import InvalidInputError
from fastai_hf_callback.fastai2.compat.learner_state import preserve_attributes, preserve_learner

from .loaders import TextLoader, TextLoaders

__all__ = ["ordered_preds"]

_LOADER_POSITIONS = {"train": 0, "valid": 1, "test": 2}


def ordered_preds(
    learn: Learner,
    ds: Any = "valid",
    act: Optional[Callable[..., Any]] = None,
    with_input: bool = False,
    with_loss: bool = False,
    with_decoded: bool = False,
    dl: Optional[TextLoader] = None,
) -> tuple:
    """Predict in batches of similar length, and return the rows in the caller's order: a faster ``get_preds``.

    Parameters
    ----------
    learn : Learner
        Its data made by ``text_data``.
    ds : str, int, loader or texts
        ``"valid"``, ``"test"``, ``"train"`` (whose rows come in the caller's order too), a position among
        ``dls.loaders``, a loader that ``dls.test_dl`` made, or what that takes: a list of texts or anything like one
        (an array, a Series, a column of a Hugging Face dataset), a DataFrame, the path of a CSV file.
    act, with_input, with_loss, with_decoded
        As in ``Learner.get_preds``.
    dl : loader, optional
        In the place of `ds`, as ``Learner.get_preds`` has it.

    Returns
    -------
    tuple
        As of ``Learner.get_preds``: predictions and targets (None without labels), each with as many rows as the set.
        With a label per word the targets are labels at the words' first pieces and -100 elsewhere.

    Raises
    ------
    InvalidInputError
        When the learner's data were not made by ``text_data``, or there is no such set.

    Examples
    --------
    >>> predictions, targets = ordered_preds(learn, "valid")
    >>> len(predictions) == len(targets) == len(learn.dls.valid_ds)
    True
    >>> ordered_preds(learn, ["a fox sees an oak", "the old wren"])[0].shape
    torch.Size([2, 2])
    """
    if not isinstance(learn, Learner):
        raise InvalidInputError(f"{type(learn).__name__} was given; expected a fastai Learner: ordered_preds(learn)")
    loader = _find_loader(learn, ds if dl is None else dl)
    # In fastai `get_preds` begins like a fit, which empties the last fit's recorder.
    with preserve_learner(learn), preserve_attributes(list(learn.cbs)):
        return learn.get_preds(
            dl=loader.sort_longest_first(),
            act=act,
            with_input=with_input,
            with_loss=with_loss,
            with_decoded=with_decoded,
        )


def _find_loader(learn: Learner, ds: Any) -> TextLoader:
    loader, name = _resolve_loader(learn, ds)
    if not isinstance(loader, TextLoader):
        raise InvalidInputError(
            f"{type(loader).__name__} was given, whose rows have no lengths; expected data of "
            f"text_data: learn.get_preds keeps their order as it is"
        )
    if not len(loader.dataset):
        raise InvalidInputError(f"{name} has no rows, as that of load_learner; write ordered_preds(learn, texts)")
    return loader


def _resolve_loader(learn: Learner, ds: Any) -> Any:
    if isinstance(learn.dls, TextLoaders) and _are_texts(ds):
        return learn.dls.test_dl(ds), "the list of texts"
    if hasattr(ds, "__iter__") and not isinstance(ds, str):
        return ds, "the loader"
    if isinstance(ds, str) and ds not in _LOADER_POSITIONS and Path(ds).is_file():
        return _resolve_loader(learn, Path(ds))
    at = _LOADER_POSITIONS.get(ds, ds) if isinstance(ds, str) else ds
    if isinstance(at, bool) or not isinstance(at, int) or at < 0:
        raise InvalidInputError(
            f"ordered_preds of {ds!r} was asked for; expected 'valid', 'test', 'train', texts or a "
            f"loader of them; for one text write learn.predict(text)"
        )
    name = next((name for name, place in _LOADER_POSITIONS.items() if place == at), str(at))
    if at >= len(learn.dls.loaders):
        raise InvalidInputError(
            f"these data have no {name} set; write text_data(..., test=frame), or ordered_preds(learn, texts)"
        )
    return learn.dls.loaders[at], f"the {name} set"


def _are_texts(ds: Any) -> bool:
    """Return whether `ds` is anything to read texts from, as a table, a file or a column of a dataset, and no loader; a
    single str is a set's name."""
    if isinstance(ds, (str, TextLoader, DataLoader, TorchDataLoader)):
        return False
    return isinstance(ds, Path) or hasattr(ds, "columns") or hasattr(ds, "__iter__")
