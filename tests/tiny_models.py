"""Tiny models of real Hugging Face classes, and what the core's tests share. Imports no fastai."""

from collections import OrderedDict
from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch
from torch import nn

from fastai_hf_callback.results.trace import Epoch, Step, Trace

VOCAB, PAD = 48, 0
ARCHITECTURES = ("bert", "roberta", "distilbert", "xlnet", "xlm", "gpt2", "transfoxl")
WITHOUT_MASK = ("gpt2", "transfoxl")  # their forward in pytorch-transformers 1.2 takes none


def tiny_transformers_model(name, n_outputs=2, head="SequenceClassification"):
    """Make a transformers 5 model of `name`, two layers, 16 wide."""
    return _build_transformers_model(name, n_outputs, head)


def tiny_model(name, n_outputs=2, **config):
    """Make a pytorch-transformers model of `name` with a head of `n_outputs`, two layers, 16 wide."""
    if name == WITH_ADAPTER or name.endswith(" of transformers 5"):
        return _build_transformers_model(name.replace(" of transformers 5", ""), n_outputs)
    library = pytest.importorskip("pytorch_transformers")
    make = {
        "bert": _bert,
        "roberta": _roberta,
        "distilbert": _distilbert,
        "xlnet": _xlnet,
        "xlm": _xlm,
        "gpt2": _gpt2,
        "transfoxl": _transfoxl,
    }[name]
    return make(library, n_outputs, config)


def _bert(library, n_outputs, config, kind="Bert", positions=32):
    settings = library.BertConfig(
        VOCAB,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=positions,
    )
    return getattr(library, f"{kind}ForSequenceClassification")(_configure(settings, n_outputs, config))


def _roberta(library, n_outputs, config):
    return _bert(library, n_outputs, config, "Roberta", positions=34)


def _distilbert(library, n_outputs, config):
    settings = library.DistilBertConfig(
        VOCAB, max_position_embeddings=32, sinusoidal_pos_embds=False, n_layers=2, n_heads=2, dim=16, hidden_dim=32
    )
    return library.DistilBertForSequenceClassification(_configure(settings, n_outputs, config))


def _xlnet(library, n_outputs, config):
    settings = library.XLNetConfig(VOCAB, d_model=16, n_layer=2, n_head=2, d_inner=32)
    return library.XLNetForSequenceClassification(_configure(settings, n_outputs, config))


def _xlm(library, n_outputs, config):
    settings = library.XLMConfig(VOCAB, emb_dim=16, n_layers=2, n_heads=2, max_position_embeddings=32)
    return library.XLMForSequenceClassification(_configure(settings, n_outputs, config))


def _gpt2(library, n_outputs, config):
    settings = library.GPT2Config(VOCAB, n_positions=32, n_ctx=32, n_embd=16, n_layer=2, n_head=2)
    return LastTokenHead(library.GPT2Model(_configure(settings, n_outputs, config)), 16, n_outputs)


def _transfoxl(library, n_outputs, config):
    settings = library.TransfoXLConfig(
        VOCAB,
        cutoffs=[10, 20],
        d_model=16,
        d_embed=16,
        n_head=2,
        d_head=8,
        d_inner=32,
        n_layer=2,
        tgt_len=8,
        mem_len=8,
        clamp_len=8,
    )
    return LastTokenHead(library.TransfoXLModel(_configure(settings, n_outputs, config)), 16, n_outputs)


def _build_transformers_model(name, n_outputs, head="SequenceClassification"):
    library = pytest.importorskip("transformers")
    if name == WITH_ADAPTER:
        return pytest.importorskip("tests.adapters", reason="needs peft").build_adapted("lora", n_outputs)
    kind = _TRANSFORMERS_CLASSES[name]
    settings = {"vocab_size": VOCAB, "num_labels": n_outputs, "pad_token_id": 0, **_SIZES.get(name, _DEFAULT_SIZES)}
    return getattr(library, f"{kind}For{head}")(getattr(library, f"{kind}Config")(**settings))


WITH_ADAPTER = "bert with LoRA"
_TRANSFORMERS_CLASSES = {
    "bert": "Bert",
    "roberta": "Roberta",
    "distilbert": "DistilBert",
    "xlnet": "XLNet",
    "xlm": "XLM",
    "gpt2": "GPT2",
    "modernbert": "ModernBert",
    "electra": "Electra",
    "albert": "Albert",
    "mpnet": "MPNet",
    "deberta": "DebertaV2",
    "roformer": "RoFormer",
}
_DEFAULT_SIZES = dict(
    hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, max_position_embeddings=32
)
_SIZES = {
    "roberta": {**_DEFAULT_SIZES, "max_position_embeddings": 34},
    "mpnet": {**_DEFAULT_SIZES, "max_position_embeddings": 34},
    "electra": {**_DEFAULT_SIZES, "embedding_size": 16},
    "albert": {**_DEFAULT_SIZES, "embedding_size": 16},
    "distilbert": dict(dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=32),
    "xlnet": dict(d_model=16, n_layer=2, n_head=2, d_inner=32),
    "xlm": dict(emb_dim=16, n_layers=2, n_heads=2, max_position_embeddings=32, pad_index=0),
    "modernbert": {**_DEFAULT_SIZES, "bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3},
    "gpt2": dict(n_embd=16, n_layer=2, n_head=2, n_positions=32),
}


class LastTokenHead(nn.Module):
    """A head for models without one; its output is of the kind its body returns, logits first."""

    def __init__(self, body, width, n_outputs):
        super().__init__()
        self.body, self.head, self.config = body, nn.Linear(width, n_outputs), body.config

    def forward(self, input_ids):
        output = self.body(input_ids)
        return type(output)([self.head(output[0][:, -1]), *output[1:]])


def _configure(settings, n_outputs, config):
    settings.num_labels = n_outputs
    for name, value in config.items():
        setattr(settings, name, value)
    return settings


def padded(*lengths):
    """Make a batch of rows of these lengths, padded on the right, and its mask."""
    mask = (torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]).long()
    return ids(len(lengths), max(lengths)) * mask + PAD * (1 - mask), mask


def ids(rows=4, length=6):
    """Make token ids without padding, int64, ``(rows, length)``."""
    return torch.randint(5, VOCAB, (rows, length))


# -- outputs ---------------------------------------------------------------------------------------------------


class OutputLike(OrderedDict):
    """transformers' ``ModelOutput`` without transformers.

    A dataclass, and a dict of what is not None that can be indexed by position, too.
    """

    def __post_init__(self):
        for part in fields(self):
            if getattr(self, part.name) is not None:
                super().__setitem__(part.name, getattr(self, part.name))

    def __getitem__(self, key):
        return dict(self.items())[key] if isinstance(key, str) else self.to_tuple()[key]

    def to_tuple(self):
        return tuple(self[name] for name in self)


@dataclass
class ClassifierOutput(OutputLike):
    loss: Any = None
    logits: Any = None
    hidden_states: Any = None


# -- recorded runs -----------------------------------------------------------------------------------------------


def make_trace(
    arm="callback",
    losses=(0.9, 0.7, 0.5, 0.3),
    valid=(0.8, 0.6, 0.4),
    accuracy=(0.5, 0.7, 0.9),
    weights="trained",
    n_targets=100,
    base_rates=None,
):
    """Make a run of two steps an epoch, written by hand; `valid` and `accuracy` begin before the first step."""
    epochs = [Epoch(0, i, v, {"accuracy": a}) for i, (v, a) in enumerate(zip(valid[1:], accuracy[1:]))]
    steps = [Step(0, i // 2, i % 2, loss, 1.0 + i, (1e-3, 1e-4)) for i, loss in enumerate(losses)]
    return Trace(
        arm,
        initial_weights={"weight": "initial"},
        first_batch="first batch",
        before=Epoch(-1, -1, valid[0], {"accuracy": accuracy[0]}),
        steps=steps,
        epochs=epochs,
        final_weights={"weight": weights},
        predictions=f"outputs of {weights} weights",
        n_train_targets=n_targets,
        n_valid_targets=n_targets,
        base_rates=base_rates or {},
    )


def make_broken_trace(**kwargs):
    """Make the null: only weight decay moved a weight."""
    still = dict(losses=(0.9, 0.9, 0.9, 0.9), valid=(0.8, 0.8, 0.8), accuracy=(0.5, 0.5, 0.5), weights="decayed")
    return make_trace("broken", **{**still, **kwargs})
