"""Models with adapters of every kind, as users of peft make them; used where peft and transformers are installed."""

import peft
import torch

from tests.tiny_models import tiny_transformers_model

__all__ = ["KINDS", "add_adapter", "build_adapted"]

# Of all: prompts and prefixes are read by an encoder or a decoder, the others change its layers.
KINDS = {
    "lora": lambda: peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"]),
    "lora without a task": lambda: peft.LoraConfig(
        r=4, target_modules=["query", "value"], modules_to_save=["classifier"]
    ),
    "lora on embeddings": lambda: peft.LoraConfig(
        task_type="SEQ_CLS", r=4, target_modules=["word_embeddings", "dense"], bias="lora_only"
    ),
    "dora": lambda: peft.LoraConfig(task_type="SEQ_CLS", r=4, target_modules=["query", "value"], use_dora=True),
    "ia3": lambda: peft.IA3Config(
        task_type="SEQ_CLS", target_modules=["key", "value", "dense"], feedforward_modules=["dense"]
    ),
    "prompts": lambda: peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3),
    "prefixes": lambda: peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3),
}


def build_adapted(kind="lora", outputs=3, name="bert"):
    """Build a tiny model with an adapter."""
    torch.manual_seed(0)
    return peft.get_peft_model(tiny_transformers_model(name, outputs), KINDS[kind]())


def add_adapter(outputs=3, **kwargs):
    """Build a tiny model with an adapter inside, as transformers adds it."""
    torch.manual_seed(0)
    model = tiny_transformers_model("bert", outputs)
    model.add_adapter(peft.LoraConfig(r=4, target_modules=["query", "value"], **kwargs))
    return model
