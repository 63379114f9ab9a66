"""``layer_groups`` for fastai 1: the argument of ``learn.split``."""

from typing import List, Optional

from fastai.torch_core import ParameterModule, no_wd_types
from torch import nn

from fastai_hf_callback.model.layer_groups import ModuleOrParameter, build_layer_groups

__all__ = ["layer_groups"]


def layer_groups(model: nn.Module, n: Optional[int] = None) -> List[List[nn.Module]]:
    """Split a Hugging Face model for ``learn.split``: embeddings, the encoder's layers in even groups, head.

    Parameters
    ----------
    model : nn.Module
        A Hugging Face model with a head, bare or in ``HFModel``, or any model whose encoder is a list of layers.
    n : int, optional
        How many groups: 2 are body and head; with at least 3 the first is the embeddings. By default five, the encoder
        in three, as fastai splits its own transformers; fewer where the model has fewer layers.

    Returns
    -------
    list of list of nn.Module
        Flattened modules, as fastai wants them. Every parameter is in exactly one group.

    Raises
    ------
    InputError
        When `model` is no module, has no repeated layers or no head, or cannot be split into `n` groups.

    Notes
    -----
    ``learn.split(layer_groups)``, or ``learn.split(partial(layer_groups, n=3))``; then ``freeze``, ``freeze_to``,
    ``unfreeze``, ``slice(lr)`` and ``bn_wd=False`` as in fastai's own text models. As there, an output layer that is
    tied to the embedding puts it into the last group; where no other embeddings remain (T5's language model),
    the first group is the encoder's first. Norms and biases of every class are in the optimizer's groups without
    decay, also of classes that fastai does not know, such as ``T5LayerNorm`` and GPT-2's ``Conv1D``; and what is frozen
    stays as it is, where fastai's own groups let the optimizer decay the biases of frozen ``nn.Linear``. Of a model
    with adapters (``peft``) the last group holds what is trained, and the others nothing: the base stays frozen.

    Examples
    --------
    >>> [len(group) for group in layer_groups(model, n=3)]
    [4, 28, 4]
    >>> learn = Learner(data, HFModel(model, inputs=data.inputs), callbacks=[HFCallback()]).split(layer_groups)
    >>> learn.freeze()
    >>> next(model.bert.encoder.parameters()).requires_grad, model.classifier.weight.requires_grad
    (False, True)
    """
    return [_flatten_group(group) for group in build_layer_groups(model, n)]


def _flatten_group(group: List[ModuleOrParameter]) -> List[nn.Module]:
    leaves, seen = [], set()
    for part in group:
        for leaf in _split_by_decay(part):
            own = {id(p) for p in leaf.parameters()}
            leaves += [] if own <= seen else [leaf]
            seen |= own
    return leaves


def _split_by_decay(part: ModuleOrParameter) -> List[nn.Module]:
    """Return `part` itself where all its parameters decay or none does; else a leaf for each parameter.

    Also where fastai could tell weight and bias apart itself: it would pass a frozen ``bias`` to the optimizer, which
    then decays it.
    """
    if isinstance(part, nn.Parameter):
        return [_wrap_parameter(part)]
    parameters = list(part.parameters())
    if isinstance(part, no_wd_types) or all(p.dim() > 1 for p in parameters):
        return [part]
    return [_wrap_parameter(p) for p in parameters]


def _wrap_parameter(parameter: nn.Parameter) -> nn.Module:
    return _NoDecayParameter(parameter) if parameter.dim() <= 1 else ParameterModule(parameter)


class _NoDecayParameter(nn.LayerNorm):
    """A lone norm or bias. fastai decides by class what does not decay, so this has one that it knows."""

    def __init__(self, parameter: nn.Parameter):
        nn.Module.__init__(self)
        self.val = parameter

    def forward(self, x):
        return x

    def extra_repr(self) -> str:
        return str(tuple(self.val.shape))
