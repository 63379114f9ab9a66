"""``layer_groups`` for fastai 2: the argument of ``Learner(splitter=...)``."""

from typing import List, Optional

from torch import nn

from fastai_hf_callback.model.layer_groups import ModuleOrParameter, build_layer_groups

__all__ = ["layer_groups"]


def layer_groups(model: nn.Module, n: Optional[int] = None) -> List[List[nn.Parameter]]:
    """Split a Hugging Face model for ``splitter``: embeddings, the encoder's layers in even groups, head.

    Parameters
    ----------
    model : nn.Module
        A Hugging Face model with a head, bare or in ``HFModel``, or any model whose encoder is a list of layers.
    n : int, optional
        How many groups: 2 are body and head; with at least 3 the first is the embeddings. By default five, the encoder
        in three, as fastai splits its own transformers; fewer where the model has fewer layers.

    Returns
    -------
    list of list of nn.Parameter
        Every parameter is in exactly one group.

    Raises
    ------
    InputError
        When `model` is no module, has no repeated layers or no head, or cannot be split into `n` groups.

    Notes
    -----
    ``Learner(..., splitter=layer_groups)``, or ``splitter=partial(layer_groups, n=3)``; then ``freeze``,
    ``freeze_to``, ``unfreeze``, ``fine_tune`` and ``slice(lr)`` as with fastai's own text models. An output layer that
    is tied to the embedding puts it into the last group; where no other embeddings remain (T5's language
    model), the first group is the encoder's first. fastai 2 itself decides, by a module's class, what does not decay
    and which norms go on training in a frozen group: every ``nn.LayerNorm``, unless ``Learner(train_bn=False)``. Of a
    model with adapters (``peft``) the last group holds what is trained, and the others nothing: the base stays frozen.

    Examples
    --------
    >>> [len(group) for group in layer_groups(model, n=3)]
    [5, 32, 4]
    >>> learn = Learner(data, HFModel(model, inputs=data.inputs), splitter=layer_groups, cbs=[HFCallback()])
    >>> learn.freeze()
    >>> next(model.bert.encoder.parameters()).requires_grad, model.classifier.weight.requires_grad
    (False, True)
    """
    return [_list_unique_parameters(group) for group in build_layer_groups(model, n)]


def _list_unique_parameters(group: List[ModuleOrParameter]) -> List[nn.Parameter]:
    every = [p for part in group for p in ([part] if isinstance(part, nn.Parameter) else part.parameters())]
    return list({id(p): p for p in every}.values())
