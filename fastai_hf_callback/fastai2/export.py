"""``export_learner`` for fastai 2: fastai's own export, into a file that is there as a whole or not at all."""

import inspect
from pathlib import Path
from typing import Any, Dict, Union

from fastai.learner import Learner
from fastai.torch_core import rank_distrib

from fastai_hf_callback.fastai2.compat.learner_state import preserve_learner
from fastai_hf_callback.model.capture_hooks import without_capture_hooks
from fastai_hf_callback.utils.atomic_file import replace_file
from fastai_hf_callback.utils.pickling import raise_if_unpicklable

__all__ = ["export_learner"]


def export_learner(learn: Learner, file: Union[str, Path] = "export.pkl") -> Path:
    """Write a learner to a file that ``load_learner`` reads, as ``learn.export`` does, and without its faults.

    The file is written next to its place and moved there: whatever fails, an older one stays as it was. The learner
    stays as it was, too. (fastai's own export, when it fails, leaves it without rows and optimizer.)
    What transformers keeps in a model that was asked for attentions is left out.

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
    >>> learn = Learner(data, HFModel(model, inputs=data.inputs), cbs=[HFCallback()])
    >>> export_learner(learn, "models/first.pkl").name
    'first.pkl'
    """
    path = Path(learn.path) / file
    if rank_distrib():
        return path
    with replace_file(path) as temporary, preserve_learner(learn), without_capture_hooks(learn.model):
        try:
            learn.export(temporary.absolute())
        except Exception as error:  # the learner is now what could not be pickled: without rows and optimizer
            raise_if_unpicklable(_exported_parts(learn), error, _find_pickle_module(learn), skip=[learn])
            raise
    return path


def _exported_parts(learn: Learner) -> Dict[str, Any]:
    """Return what fastai's export stores, by where it is; its data last, which hold the loss, too."""
    state = dict(learn.__getstate__())
    data = state.pop("dls", None)
    return {**{f"learn.{name}": value for name, value in state.items()}, "learn.dls": data}


def _find_pickle_module(learn: Learner) -> Any:
    """Return what fastai's export pickles with: cloudpickle, in today's."""
    return inspect.signature(learn.export).parameters["pickle_module"].default
