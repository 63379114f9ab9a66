"""``export_learner`` for fastai 1: fastai's own export, into a file that is there as a whole or not at all."""

import pickle
from pathlib import Path
from typing import Any, Dict, Union

from fastai.basic_train import Learner
from fastai.torch_core import rank_distrib

from fastai_hf_callback.model.capture_hooks import without_capture_hooks
from fastai_hf_callback.utils.atomic_file import replace_file
from fastai_hf_callback.utils.pickling import raise_if_unpicklable

__all__ = ["export_learner"]

_EXPORTED = ("opt_func", "loss_func", "metrics", "model_dir", "callback_fns", "model")


def export_learner(learn: Learner, file: Union[str, Path] = "export.pkl") -> Path:
    """Write a learner to a file that ``load_learner`` reads, as ``learn.export`` does, and without its faults.

    The file is written next to its place and moved there: whatever fails, an older one stays as it was. The learner
    stays as it was, too. What transformers keeps in a model that was asked for attentions is left out.

    Parameters
    ----------
    learn : Learner
    file : str or Path
        Relative to ``learn.path``; its folder is made if it is not there.

    Returns
    -------
    Path
        Where it was written. In a process other than the first of several nothing is written.

    Raises
    ------
    ExportError
        When something of the learner cannot be pickled; the message names it and says what to write.

    Examples
    --------
    >>> learn = Learner(data, HFModel(model, inputs=data.inputs), callbacks=[HFCallback()])
    >>> export_learner(learn, "models/first.pkl").name
    'first.pkl'
    """
    path = Path(learn.path) / file
    if rank_distrib():
        return path
    with replace_file(path) as temporary, without_capture_hooks(learn.model):
        try:
            learn.export(temporary.absolute())
        except Exception as error:
            raise_if_unpicklable(_exported_parts(learn), error, pickle)
            raise
    return path


def _exported_parts(learn: Learner) -> Dict[str, Any]:
    """Return what fastai's export stores, by where it is."""
    parts = {f"learn.{name}": getattr(learn, name) for name in _EXPORTED}
    for at, callback in enumerate(learn.callbacks):
        parts.update({f"learn.callbacks[{at}].{name}": value for name, value in callback.get_state().items()})
    return {**parts, "learn.data": learn.data.valid_ds.get_state()}
