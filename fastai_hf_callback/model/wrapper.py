"""``HFModel``: a batch as fastai passes it -> a Hugging Face model called by name. Imports torch and ``errors``.

Hugging Face models agree on the names of their inputs and on nothing else: the second positional
argument of ``forward`` is token types in one, the mask in the next, lengths in a third, and moves
between versions. So everything here goes by name.
"""

import inspect
import warnings
from collections.abc import Iterable, Mapping
from functools import lru_cache
from numbers import Integral
from typing import Any, Callable, Dict, Optional, Sequence, Tuple, cast

from torch import Tensor, nn

from fastai_hf_callback.data.batches.batch_spec import BatchSpec, PreTrainedModel, find_first_position
from fastai_hf_callback.errors import InputError

from .output import describe

__all__ = ["HFModel"]

# Either of these says which positions are padding (XLNet 1.x takes both and refuses them together).
MASK_NAMES = ("attention_mask", "input_mask")


class HFModel(nn.Module):
    """A Hugging Face model that fastai can call: inputs by name, padding masked, checkpoints unchanged.

    Parameters
    ----------
    model : nn.Module
        The Hugging Face model (an instance). It is available as ``.model``; every parameter stays
        registered and keeps its gradient.
    inputs : sequence of str, optional
        The names of the tensors in a batch, in their order, for example
        ``("input_ids", "attention_mask")``. One tensor needs no name: it is ``input_ids``. Several are
        never guessed. A batch that is a dict brings its own names. With ``data.inputs`` of ``text_data``, the model
        is checked at once: embeddings for all ids, positions for the longest text, as many outputs as labels.
    pad_token_id : int, optional
        The id that pads ``input_ids``. Needed to build an attention mask where the batch brings none;
        by default the config's ``pad_token_id`` (or XLM's ``pad_index``), unless that is also the
        end-of-text token (GPT-2's habit), where only an explicit mask or `pad_token_id` is safe.

    Notes
    -----
    ``state_dict()`` has the same keys as the bare model's, alone and inside ``nn.DataParallel``, so a
    checkpoint goes both ways between a wrapped and a bare learner. ``named_parameters()`` carries the
    prefix ``model.``.

    Raises
    ------
    InputError
        At construction when `model` is no module instance or does not fit the data; at the first batch when the
        names and ``forward`` do not fit together.

    Examples
    --------
    >>> wrapped = HFModel(model, inputs=("input_ids", "attention_mask"))
    >>> ids = torch.tensor([[2, 5, 3], [2, 3, 0]])
    >>> unwrap(wrapped(ids, ids.ne(0).long())).shape
    torch.Size([2, 2])
    >>> list(wrapped.state_dict()) == list(model.state_dict())
    True
    """

    def __init__(self, model: nn.Module, inputs: Optional[Sequence[str]] = None, pad_token_id: Optional[int] = None):
        super().__init__()
        self.input_names = _check_input_names(inputs)  # fastai 2 warns of a `learn.inputs`, which it finds on the model
        self.pad_token_id = _check_pad_token_id(pad_token_id)
        self.model = _check_model(model)
        self.first_position: Optional[int] = None  # set if positions must be counted after the padding in front
        if isinstance(inputs, BatchSpec):
            inputs.check(_unwrap_model(self.model))
            if inputs.padding.side == "left":
                self.first_position = find_first_position(_unwrap_model(self.model))
        self._warned_no_mask = False

    def forward(self, *batch: Any) -> Any:
        """Call the model by name.

        Parameters
        ----------
        *batch : Tensor, or one mapping of name to Tensor
            ``input_ids`` is int64 ``(batch, length)``; what else there is depends on the model.

        Returns
        -------
        The model's own output, unchanged.
        """
        named = self._name_inputs(batch)
        self._check_against_forward(named)
        return self.model(**self._add_position_ids(self._add_attention_mask(named)))

    @property
    def config(self) -> Any:
        """The model's own config, or None."""
        return getattr(_unwrap_model(self.model), "config", None)

    def save_pretrained(self, folder: Any, **kwargs: Any) -> Any:
        """Write a folder that the bare model's ``from_pretrained`` reads."""
        return cast(PreTrainedModel, _unwrap_model(self.model)).save_pretrained(folder, **kwargs)

    def extra_repr(self) -> str:
        return f"inputs={self.input_names}, pad_token_id={self.pad_token_id}"

    # -- checkpoints: the bare model's keys, both ways and nested ---------------------------------

    # torch overloads it, to return a dict of the caller's own class where one is given; all arguments are passed on.
    def state_dict(self, *args: Any, **kwargs: Any) -> Dict[str, Tensor]:  # type: ignore[override]  # see above
        """Return the bare model's ``state_dict``: same keys, same tensors."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, state_dict: Mapping, *args: Any, **kwargs: Any) -> Any:
        """Load a bare model's ``state_dict``; arguments and result as in ``nn.Module``."""
        return self.model.load_state_dict(state_dict, *args, **kwargs)

    def _load_from_state_dict(self, state_dict: Dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any) -> None:
        # Reached only when a parent (DataParallel) loads: `state_dict` is torch's own copy by then.
        for key in [k for k in state_dict if k.startswith(prefix)]:
            state_dict[f"{prefix}model.{key[len(prefix) :]}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    # -- inputs ------------------------------------------------------------------------------------

    def _name_inputs(self, batch: Tuple[Any, ...]) -> Dict[str, Any]:
        if len(batch) == 1 and isinstance(batch[0], Mapping):
            return dict(batch[0].items())
        if len(batch) == 1 and isinstance(batch[0], (list, tuple)):
            batch = tuple(batch[0])
        names = self.input_names or (("input_ids",) if len(batch) == 1 else ())
        if len(names) == len(batch) and batch:
            return dict(zip(names, batch))
        given = f"A batch of {len(batch)} ({', '.join(describe(b) for b in batch)}) was given"
        if not self.input_names:
            raise InputError(
                f"{given} without names, and names are never guessed. {self._describe_forward()} Write "
                f"HFModel(model, inputs=('input_ids', 'attention_mask')) with a name for each tensor.",
                "inputs-unnamed",
            )
        raise InputError(
            f"{given}, but inputs={self.input_names} names {len(self.input_names)}. Give as many names "
            f"as the batch has tensors.",
            "inputs-count",
        )

    def _check_against_forward(self, named: Dict[str, Any]) -> None:
        takes, required, takes_kwargs = _forward_parameters(_unwrap_model(self.model))
        unknown = [name for name in named if name not in takes]
        if unknown and not takes_kwargs:
            raise InputError(
                f"{unknown} was given, and {self._class_name()}.forward does not take it. "
                f"{self._describe_forward()} Write inputs=(...) with these names.",
                "inputs-unknown",
            )
        missing = [name for name in required if name not in named]
        if missing:
            raise InputError(
                f"{list(named)} was given, but {self._class_name()}.forward also needs {missing}. "
                f"{self._describe_forward()} Add it to the batch and to inputs=(...).",
                "inputs-missing",
            )

    def _describe_forward(self) -> str:
        takes, _, takes_kwargs = _forward_parameters(_unwrap_model(self.model))
        listed = ", ".join(takes) + (" and any name" if takes_kwargs else "")
        return f"{self._class_name()}.forward takes {listed or 'no names'}."

    def _class_name(self) -> str:
        return type(_unwrap_model(self.model)).__name__

    # -- the mask ----------------------------------------------------------------------------------

    def _add_attention_mask(self, named: Dict[str, Any]) -> Dict[str, Any]:
        takes, _, _ = _forward_parameters(_unwrap_model(self.model))
        given = any(named.get(name) is not None for name in MASK_NAMES)
        ids = named.get("input_ids")
        if given or "attention_mask" not in takes or ids is None:
            return named
        pad_token_id = self.pad_token_id if self.pad_token_id is not None else _read_pad_token_id(self.config)
        if pad_token_id is None:
            self._warn_no_mask()
            return named
        if not isinstance(ids, Tensor):
            raise InputError(
                f"input_ids is {describe(ids)}; expected a tensor, int64 (batch, length). Write "
                f"torch.as_tensor(input_ids).",
                "not-a-tensor",
            )
        return {**named, "attention_mask": ids.ne(pad_token_id).long()}

    def _add_position_ids(self, named: Dict[str, Any]) -> Dict[str, Any]:
        """Let positions begin at a text padded in front; else they, and its logits, would depend on its batch."""
        mask = named.get("attention_mask")
        if (
            self.first_position is None
            or mask is None
            or "position_ids" in named
            or "position_ids" not in _forward_parameters(_unwrap_model(self.model))[0]
        ):
            return named
        return {**named, "position_ids": (mask.long().cumsum(-1) - 1).clamp(min=0) + self.first_position}

    def _warn_no_mask(self) -> None:
        if self._warned_no_mask:
            return
        self._warned_no_mask = True
        warnings.warn(
            f"No attention mask: the batch brings none and the padding id is unknown ({self._class_name()}'s config "
            f"has none that differs from its end-of-text token), so padding is read as text. Write "
            f"HFModel(model, pad_token_id=tokenizer.pad_token_id), or name an attention_mask in inputs.",
            stacklevel=4,
        )


def _check_model(model: Any) -> nn.Module:
    if isinstance(model, type):
        raise InputError(
            f"The class {model.__name__} was given; expected an instance. Write "
            f"HFModel({model.__name__}.from_pretrained(...)).",
            "class-instead-of-instance",
        )
    if isinstance(model, HFModel) or isinstance(model, nn.Module) and isinstance(_unwrap_model(model), HFModel):
        raise InputError(
            "An HFModel was given; expected the bare model. Write HFModel(wrapped.model, inputs=...).", "wrapped-twice"
        )
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{type(model).__name__} was given; expected a torch nn.Module, for example "
            f"HFModel(BertForSequenceClassification.from_pretrained(...)).",
            "not-a-module",
        )
    return model


def _check_input_names(inputs: Optional[Sequence[str]]) -> Optional[Tuple[str, ...]]:
    if inputs is None:
        return None
    names = (inputs,) if isinstance(inputs, str) else tuple(inputs) if isinstance(inputs, Iterable) else ()
    if not names or not all(isinstance(n, str) for n in names) or len(set(names)) < len(names):
        raise InputError(
            f"inputs={inputs!r} was given; expected different names, for example "
            f"inputs=('input_ids', 'attention_mask').",
            "inputs-unnamed",
        )
    return names


def _check_pad_token_id(pad_token_id: Any) -> Optional[int]:
    if pad_token_id is None:
        return None
    if isinstance(pad_token_id, Integral) and not isinstance(pad_token_id, bool):
        return int(pad_token_id)
    raise InputError(
        f"pad_token_id={pad_token_id!r} was given; expected an int, for example pad_token_id=tokenizer.pad_token_id.",
        "bad-pad-id",
    )


def _unwrap_model(model: nn.Module) -> nn.Module:
    """Return the model inside DataParallel (``module``) and ``torch.compile`` (``_orig_mod``)."""
    while True:
        inner = model._modules.get("_orig_mod") or (
            model._modules.get("module") if isinstance(model, nn.DataParallel) or _is_ddp(model) else None
        )
        if inner is None:
            return model
        model = inner


def _is_ddp(model: nn.Module) -> bool:
    return type(model).__name__ == "DistributedDataParallel"


def _forward_parameters(model: nn.Module) -> Tuple[Tuple[str, ...], Tuple[str, ...], bool]:
    """Return the names that ``forward`` takes, those without a default, and whether it takes any name."""
    function = getattr(model.forward, "__func__", None)
    if function is None:  # an instance's own forward; not cached, since it may hold the model alive
        return _read_signature(model.forward)
    names, required, takes_kwargs = _read_method_signature(function)
    return names[1:], required[1:], takes_kwargs


def _read_signature(function: Callable[..., Any]) -> Tuple[Tuple[str, ...], Tuple[str, ...], bool]:
    parameters = inspect.signature(function).parameters.values()
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return (
        tuple(p.name for p in named),
        tuple(p.name for p in named if p.default is p.empty),
        any(p.kind is p.VAR_KEYWORD for p in parameters),
    )


_read_method_signature = lru_cache(maxsize=128)(_read_signature)


def _read_pad_token_id(config: Any) -> Optional[int]:
    pad = getattr(config, "pad_token_id", None)
    pad = getattr(config, "pad_index", None) if pad is None else pad
    ends = getattr(config, "eos_token_id", None)
    ends = ends if isinstance(ends, (list, tuple)) else [ends]
    return None if pad is None or pad in ends else int(pad)
