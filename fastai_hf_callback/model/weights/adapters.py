"""Adapters (LoRA and its like) on a model, read from the model itself: no library of adapters is imported.

A model that carries adapters says so by ``peft_config``, one entry an adapter; what is trained of it is what requires a
gradient. The rest, its base, is frozen on purpose: a saved adapter holds the trained part alone.
"""

from collections.abc import Mapping
from typing import List

from torch import nn

from fastai_hf_callback.errors import InputError

__all__ = ["has_adapters", "list_trained_parameters"]


def has_adapters(model: nn.Module) -> bool:
    """Return whether `model`, or a module inside it, carries adapters."""
    configs = (getattr(module, "peft_config", None) for module in model.modules())
    return any(isinstance(config, Mapping) and bool(config) for config in configs)


def list_trained_parameters(model: nn.Module) -> List[nn.Parameter]:
    """List what is trained of a model with adapters: these, and what is saved with them, such as the head.

    Raises
    ------
    InputError
        When nothing is, as with an adapter that was loaded for inference.
    """
    trained = [p for p in model.parameters() if p.requires_grad]
    if not trained:
        raise InputError(
            f"{type(model).__name__} was given, which carries an adapter and in which no parameter is trained; "
            f"expected an adapter that is. Write PeftModel.from_pretrained(base, folder, is_trainable=True), or "
            f"get_peft_model(base, config). Unfreezing would train the base, which is not saved with an adapter.",
            "adapter-not-trained",
        )
    return trained
