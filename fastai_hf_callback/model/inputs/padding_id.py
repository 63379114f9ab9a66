"""One padding id for a tokenizer's batches and a model's config. Imports torch and ``errors``.

Heads that look for a text's last token look for the last one that is not ``config.pad_token_id``: with another id than
the batches' they read a padded position, or stop before a word that has that id.
"""

import warnings
from numbers import Integral
from typing import Any, Optional

from torch import nn

from fastai_hf_callback.data.batches.batch_spec import find_first_position
from fastai_hf_callback.errors import InputError

__all__ = ["check_pad_token_id", "find_text_config", "read_pad_token_id", "set_pad_token_id"]


def find_text_config(config: Any) -> Any:
    """Return the part of a config that tells of texts: models of several modalities nest it.

    Parameters
    ----------
    config : a Hugging Face config, or None

    Returns
    -------
    The nested config, or `config` itself where there is none.
    """
    get_text_config = getattr(config, "get_text_config", None)
    if not callable(get_text_config):
        return config
    try:
        return get_text_config()
    except ValueError:  # several configs of texts: transformers names none of them
        return config


def set_pad_token_id(model: nn.Module, pad_token_id: int) -> None:
    """Let the model's config have the padding id that the batches have, and warn where it had another, or none.

    Parameters
    ----------
    model : nn.Module
        A Hugging Face model. One whose config knows no ``pad_token_id``, as those of pytorch-transformers, stays as it
        is; so does one without a padding id and without a head of the library's own.
    pad_token_id : int
        What pads ``input_ids``.

    Raises
    ------
    InputError
        When the model counts its positions from another padding id on (RoBERTa): another id would move them all.
    """
    whole = getattr(model, "config", None)
    config, name = find_text_config(whole), type(model).__name__
    if not hasattr(config, "pad_token_id"):
        return
    of_config = config.pad_token_id
    if of_config == pad_token_id or of_config is None and not hasattr(model, "num_labels"):
        return
    if find_first_position(model):
        raise InputError(
            f"These batches are padded with id {pad_token_id}, and {name}, whose pad_token_id is {of_config}, counts "
            f"positions from that id on. Load tokenizer and model from one folder, or write tokenizer.pad_token = "
            f"tokenizer.convert_ids_to_tokens({of_config}) before text_data.",
            "padding-ids-disagree",
        )
    config.pad_token_id = pad_token_id
    if whole is not None and hasattr(whole, "pad_token_id"):
        whole.pad_token_id = pad_token_id
    had = f"{name}'s config had no padding id" if of_config is None else f"{name}'s config had pad_token_id={of_config}"
    warnings.warn(
        f"{had}, and these batches are padded with id {pad_token_id}: config.pad_token_id is {pad_token_id} from now "
        f"on, so that the model looks for the end of a text where it is. To say it yourself, write "
        f"model.config.pad_token_id = {pad_token_id} before HFModel.",
        stacklevel=4,
    )


def check_pad_token_id(pad_token_id: Any) -> Optional[int]:
    """Return the given padding id as an int, or None; raise ``InputError`` for anything else."""
    if pad_token_id is None:
        return None
    if isinstance(pad_token_id, Integral) and not isinstance(pad_token_id, bool):
        return int(pad_token_id)
    raise InputError(
        f"pad_token_id={pad_token_id!r} was given; expected an int, for example pad_token_id=tokenizer.pad_token_id.",
        "bad-pad-id",
    )


def read_pad_token_id(config: Any) -> Optional[int]:
    """Return the config's padding id; None where it has none, or the same as its end of text, which a text may hold."""
    config = find_text_config(config)
    pad = getattr(config, "pad_token_id", None)
    pad = getattr(config, "pad_index", None) if pad is None else pad
    ends = getattr(config, "eos_token_id", None)
    ends = ends if isinstance(ends, (list, tuple)) else [ends]
    return None if pad is None or pad in ends else int(pad)
