"""``HFModel``: a batch as fastai passes it -> a Hugging Face model called by name. Imports torch and ``errors``.

Hugging Face models agree on the names of their inputs and on nothing else: the second positional
argument of ``forward`` is token types in one, the mask in the next, lengths in a third, and moves
between versions. So everything here goes by name.
"""

import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Tuple, cast

from torch import Tensor, nn

from fastai_hf_callback.data.batches.batch_spec import BatchSpec, PreTrainedModel, find_first_position
from fastai_hf_callback.errors import InputError, MissingAttributeError

from .capture_hooks import drop_left_out_hooks, leave_hooks_out_of_pickles
from .class_names import name_outputs
from .input_trials import try_trial_batches
from .inputs.forward_signature import (
    ForwardSignature,
    find_pretrained,
    main_input_name,
    read_forward_signature,
    unwrap_model,
)
from .inputs.padding_id import check_pad_token_id, read_pad_token_id, set_pad_token_id
from .inputs.token_types import warn_of_untyped_pairs
from .output import describe

__all__ = ["HFModel"]

# Either of these says which positions are padding (XLNet 1.x takes both and refuses them together).
MASK_NAMES = ("attention_mask", "input_mask")


class _Forward(NamedTuple):
    """What is known of a model's ``forward``, and of which model: it is read again when that changes."""

    model: nn.Module
    own_forward: Any  # an instance may have a forward of its own
    signature: ForwardSignature
    main_input: str
    known: FrozenSet[str]


def _own_forward(model: Optional[nn.Module]) -> Any:
    """Return the instance's own ``forward``; None where it has none but one that records for a moment."""
    own = vars(model).get("forward")
    return None if getattr(own, "is_transparent", False) is True else own


class HFModel(nn.Module):
    """A Hugging Face model that fastai can call: inputs by name, padding masked, checkpoints unchanged.

    Parameters
    ----------
    model : nn.Module
        The Hugging Face model (an instance). It is available as ``.model``; every parameter stays
        registered and keeps its gradient.
    inputs : sequence of str, optional
        The names of the tensors in a batch, in their order, for example
        ``("input_ids", "attention_mask")``. One tensor needs no name: it is the model's ``main_input_name``, else
        ``input_ids``. Several are never guessed. A batch that is a dict brings its own names. With ``data.inputs`` of
        ``text_data``, the model is checked at once: embeddings for all ids, positions for the longest text, as many
        outputs as labels.
    pad_token_id : int, optional
        The id that pads ``input_ids``. Needed to build an attention mask where the batch brings none;
        by default the config's ``pad_token_id`` (or XLM's ``pad_index``), unless that is also the
        end-of-text token (GPT-2's habit), where only an explicit mask or `pad_token_id` is safe.
    forward_kwargs : dict of str, optional
        Arguments for every call of ``forward``, for example ``{"output_attentions": True}``. What a batch brings under
        the same name goes before. They are exported with the model; tensors among them move to its device.

    Notes
    -----
    ``state_dict()`` has the same keys as the bare model's, alone and inside ``nn.DataParallel``, so a
    checkpoint goes both ways between a wrapped and a bare learner. ``named_parameters()`` carries the
    prefix ``model.``.

    Raises
    ------
    InputError
        At construction when `model` is no module instance or does not fit the data, or ``forward`` does not take
        `forward_kwargs`; at the first batch when the names and ``forward`` do not fit together. A name is looked for
        where it is really taken: in the model inside a wrapper that hands its ``**kwargs`` on.

    Examples
    --------
    >>> wrapped = HFModel(model, inputs=("input_ids", "attention_mask"))
    >>> ids = torch.tensor([[2, 5, 3], [2, 3, 0]])
    >>> unwrap(wrapped(ids, ids.ne(0).long())).shape
    torch.Size([2, 2])
    >>> list(wrapped.state_dict()) == list(model.state_dict())
    True
    """

    _forward: Optional[_Forward] = None
    forward_kwargs: Dict[str, Any] = {}  # learners exported by version 0.1.0 have none

    def __init__(
        self,
        model: nn.Module,
        inputs: Optional[Sequence[str]] = None,
        pad_token_id: Optional[int] = None,
        forward_kwargs: Optional[Dict[str, Any]] = None,
    ):
        super().__init__()
        self.input_names = _check_input_names(inputs)  # fastai 2 warns of a `learn.inputs`, which it finds on the model
        self.pad_token_id = check_pad_token_id(pad_token_id)
        self.model = _check_model(model)
        self.first_position: Optional[int] = None  # set if positions must be counted after the padding in front
        if isinstance(inputs, BatchSpec):
            inputs.check(unwrap_model(self.model))
            set_pad_token_id(unwrap_model(self.model), inputs.padding.id)
            name_outputs(unwrap_model(self.model), inputs.classes, inputs.task or None)
            if inputs.padding.side == "left":
                self.first_position = find_first_position(find_pretrained(self.model))
        self._warned_no_mask = False
        self._read_forward_again()  # now rather than inside torch.compile, which could not follow it
        self.forward_kwargs = self._check_forward_kwargs(forward_kwargs)
        if isinstance(inputs, BatchSpec):
            if "token_type_ids" not in self.forward_kwargs:
                warn_of_untyped_pairs(unwrap_model(self.model), self.config, self._read_forward().signature, inputs)
            try_trial_batches(self._call_eagerly, unwrap_model(self.model), inputs.trial, inputs)

    def forward(self, *batch: Any, **named: Any) -> Any:
        """Call the model by name.

        Parameters
        ----------
        *batch : Tensor, or one mapping of name to Tensor
            ``input_ids`` is int64 ``(batch, length)``; what else there is depends on the model.
        **named : Tensor
            Inputs by name, alone or after those by position: ``model(input_ids=ids, attention_mask=mask)``.

        Returns
        -------
        The model's own output, unchanged.
        """
        return self.model(**self._complete_inputs(batch, named))

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            model = vars(self).get("_modules", {}).get("model")
            if name.startswith("_") or not hasattr(model, name):
                raise
        raise _attribute_is_inside(name, model)

    def _call_eagerly(self, *batch: Any) -> Any:
        """Call the model without what is around it, as ``torch.compile``."""
        return unwrap_model(self.model)(**self._complete_inputs(batch, {}))

    def _complete_inputs(self, batch: Tuple[Any, ...], named: Dict[str, Any]) -> Dict[str, Any]:
        forward = self._read_forward()
        inputs = self._name_inputs(batch, named, forward)
        if self.forward_kwargs:
            inputs = {**self.forward_kwargs, **inputs}
        if not forward.known.issuperset(inputs) or not all(name in inputs for name in forward.signature.required):
            forward = self._check_against_forward(inputs)
        return self._add_position_ids(self._add_attention_mask(inputs, forward), forward)

    @property
    def config(self) -> Any:
        """The config of the model, or of the model inside one's own head; None where there is none."""
        return getattr(find_pretrained(self.model), "config", None)

    def save_pretrained(self, folder: Any, **kwargs: Any) -> Any:
        """Write a folder that the bare model's ``from_pretrained`` reads.

        Raises
        ------
        InputError
            When the model inside is a module of one's own, which no ``from_pretrained`` could read.
        """
        model = unwrap_model(self.model)
        if not hasattr(model, "save_pretrained"):
            raise _no_save_pretrained(model)
        return cast(PreTrainedModel, model).save_pretrained(folder, **kwargs)

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

    # -- pickle, deepcopy, export ----------------------------------------------------------------------

    def __getstate__(self) -> Dict[str, Any]:
        leave_hooks_out_of_pickles(self)
        return {**vars(self), "_forward": None}

    def __setstate__(self, state: Dict[str, Any]) -> None:
        super().__setstate__(state)
        drop_left_out_hooks(self)
        self._read_forward_again()

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> "HFModel":
        """Move or convert the model, and the tensors in ``forward_kwargs`` with it."""
        super()._apply(fn, *args, **kwargs)
        moved = {name: fn(value) if isinstance(value, Tensor) else value for name, value in self.forward_kwargs.items()}
        self.forward_kwargs = moved
        return self

    # -- inputs ------------------------------------------------------------------------------------

    def _read_forward(self) -> _Forward:
        """Return what the model's ``forward`` takes, read once; again when the model is another one."""
        model, known = self._modules["model"], self._forward
        own_forward = _own_forward(model)
        # A replica of DataParallel is another object in every batch, and made from the model that was read.
        is_known = known is not None and (known.model is model or hasattr(model, "_is_replica"))
        if known is not None and is_known and known.own_forward is own_forward:
            return known
        return self._read_forward_again()

    def _read_forward_again(self) -> _Forward:
        model = self.model
        signature = read_forward_signature(model)
        main = main_input_name(model, signature) or "input_ids"
        known = signature.documented.union(signature.named)
        self._forward = _Forward(model, _own_forward(model), signature, main, known)
        return self._forward

    def _name_inputs(self, batch: Tuple[Any, ...], named: Dict[str, Any], forward: _Forward) -> Dict[str, Any]:
        if len(batch) == 1 and isinstance(batch[0], Mapping):
            return self._join_inputs(dict(batch[0].items()), named)
        if len(batch) == 1 and isinstance(batch[0], (list, tuple)):
            batch = tuple(batch[0])
        names = self.input_names or ((forward.main_input,) if len(batch) == 1 else ())
        if len(names) == len(batch) and batch or named and len(batch) <= len(names):
            return self._join_inputs(dict(zip(names, batch)), named)
        raise self._names_do_not_fit(batch, forward)

    def _join_inputs(self, by_place: Dict[str, Any], named: Dict[str, Any]) -> Dict[str, Any]:
        if not named:
            return by_place
        twice = [name for name in named if name in by_place]
        if twice:
            raise InputError(
                f"{twice} was given by position and by name; expected it once. Write model({twice[0]}=...) with all "
                f"inputs by name.",
                "inputs-count",
            )
        return {**by_place, **named}

    def _names_do_not_fit(self, batch: Tuple[Any, ...], forward: _Forward) -> InputError:
        given = f"A batch of {len(batch)} ({', '.join(describe(b) for b in batch)}) was given"
        if not self.input_names:
            return InputError(
                f"{given} without names, and names are never guessed. {self._describe_forward(forward)} Write "
                f"HFModel(model, inputs=('input_ids', 'attention_mask')) with a name for each tensor.",
                "inputs-unnamed",
            )
        return InputError(
            f"{given}, but inputs={self.input_names} names {len(self.input_names)}. Give as many names "
            f"as the batch has tensors.",
            "inputs-count",
        )

    def _check_against_forward(self, inputs: Dict[str, Any]) -> _Forward:
        forward = self._read_forward()
        if not forward.signature.takes_any:
            forward = self._read_forward_again()  # what is inside a wrapper may be another model by now
        unknown = [name for name in inputs if not forward.signature.takes(name)]
        missing = [name for name in forward.signature.required if name not in inputs]
        if unknown:
            raise self._unknown_names(unknown, forward)
        if missing:
            raise InputError(
                f"{list(inputs)} was given, but {self._class_name()}.forward also needs {missing}. "
                f"{self._describe_forward(forward)} Add it to the batch and to inputs=(...).",
                "inputs-missing",
            )
        return forward

    def _unknown_names(self, unknown: List[str], forward: _Forward, write: str = "inputs=(...)") -> InputError:
        return InputError(
            f"{unknown} was given, and {self._class_name()}.forward does not take it."
            f"{forward.signature.describe_nearest(unknown)} {self._describe_forward(forward)} "
            f"Write {write} with these names.",
            "inputs-unknown",
        )

    def _check_forward_kwargs(self, given: Any) -> Dict[str, Any]:
        if given is None:
            return {}
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            raise InputError(
                f"forward_kwargs={given!r} was given; expected a dict of names and values, for example "
                f"forward_kwargs={{'output_attentions': True}}.",
                "bad-forward-kwargs",
            )
        both = [name for name in given if name in (self.input_names or ())]
        if both:
            raise InputError(
                f"{both} is in inputs and in forward_kwargs; expected it in one. Every batch brings what inputs "
                f"names: leave it out of forward_kwargs.",
                "bad-forward-kwargs",
            )
        forward = self._read_forward()
        unknown = [name for name in given if not forward.signature.takes(name)]
        if unknown:
            raise self._unknown_names(unknown, forward, "forward_kwargs={...}")
        return dict(given)

    def _describe_forward(self, forward: _Forward) -> str:
        listed = ", ".join(forward.signature.named) + (" and any name" if forward.signature.takes_any else "")
        return f"{self._class_name()}.forward takes {listed or 'no names'}."

    def _class_name(self) -> str:
        return type(unwrap_model(self.model)).__name__

    # -- the mask ----------------------------------------------------------------------------------

    def _add_attention_mask(self, named: Dict[str, Any], forward: _Forward) -> Dict[str, Any]:
        given = any(named.get(name) is not None for name in MASK_NAMES)
        ids = named.get("input_ids")
        if given or ids is None or not forward.signature.knows("attention_mask"):
            return named
        pad_token_id = self.pad_token_id if self.pad_token_id is not None else read_pad_token_id(self.config)
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

    def _add_position_ids(self, named: Dict[str, Any], forward: _Forward) -> Dict[str, Any]:
        """Let positions begin at a text padded in front; else they, and its logits, would depend on its batch."""
        if self.first_position is None or "position_ids" in named or "position_ids" not in forward.signature.named:
            return named
        mask = named.get("attention_mask")
        if mask is None:
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
    if isinstance(model, HFModel) or isinstance(model, nn.Module) and isinstance(unwrap_model(model), HFModel):
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


def _attribute_is_inside(name: str, model: nn.Module) -> MissingAttributeError:
    """Say where the attribute is; peft asks for some of them where it is given an HFModel."""
    return MissingAttributeError(
        f"HFModel was asked for {name!r}, which it has not and the {type(unwrap_model(model)).__name__} inside it has. "
        f"Adapters are put inside, too. Write wrapped.model.{name}, and for an adapter "
        f"HFModel(get_peft_model(model, config), inputs=...)."
    )


def _no_save_pretrained(model: nn.Module) -> InputError:
    """Say how a module of one's own is kept, and where the model inside it is."""
    name = type(model).__name__
    inside = next((path for path, module in model.named_modules() if hasattr(module, "save_pretrained")), None)
    body = f", and the model inside it with learn.model.model.{inside}.save_pretrained(folder)" if inside else ""
    return InputError(
        f"{name} has no save_pretrained, and no from_pretrained could read its folder. Write "
        f"torch.save(learn.model.state_dict(), file) to keep all its weights, which a new {name} reads with "
        f"load_state_dict{body}.",
        "no-save-pretrained",
    )
