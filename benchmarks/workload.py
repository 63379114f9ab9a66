"""The work that every arm is given: texts, their lengths, a tokenizer, a model. Imports numpy; the rest when used.

Read by every peer's own interpreter, so Python 3.8 syntax and nothing of this project.
"""

import tempfile
from pathlib import Path

import numpy as np

SHORTEST, LONGEST, TYPICAL, SPREAD = 5, 120, 25, 0.6  # tokens, special ones included; median and sigma of their log
BATCH = 32
LR, WEIGHT_DECAY = 2e-5, 0.01
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

# MiniLM's size: 22.7 million weights. In the small one the loop weighs more.
SIZES = {
    "minilm": dict(
        vocab_size=30522,
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
        max_position_embeddings=512,
    ),
    "small": dict(
        vocab_size=5000,
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=512,
        max_position_embeddings=512,
    ),
    "base": dict(
        vocab_size=30522,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        max_position_embeddings=512,
    ),
    "tiny": dict(
        vocab_size=500,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=512,
    ),
}


def lengths(rows, seed=0):
    """Tokens of each row, log-normal; int64, (rows,)."""
    drawn = np.exp(np.random.default_rng(seed).normal(np.log(TYPICAL), SPREAD, rows))
    return np.clip(drawn.round(), SHORTEST, LONGEST).astype(np.int64)


def word(number):
    return f"w{number}"


def texts(rows, size="minilm", seed=0, drawn=None):
    """Texts of those lengths (or of `drawn`), a token per word, and a label each."""
    draw = np.random.default_rng(seed + 1)
    words = SIZES[size]["vocab_size"] - len(SPECIAL)
    drawn = lengths(rows, seed) if drawn is None else drawn
    found = [" ".join(map(word, draw.integers(words, size=length - 2))) for length in drawn]
    return found, draw.integers(2, size=rows)


def tokenizer(size="minilm"):
    """A fast tokenizer of transformers whose words are the texts'."""
    from transformers import BertTokenizerFast

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.txt"
        words = SIZES[size]["vocab_size"] - len(SPECIAL)
        path.write_text("\n".join([*SPECIAL, *map(word, range(words))]), encoding="utf-8")
        return BertTokenizerFast(str(path), model_max_length=512)


def encoded(rows, size="minilm", seed=0, drawn=None):
    """What the tokenizer makes of the texts: dicts of lists, and the labels."""
    found, labels = texts(rows, size, seed, drawn)
    made = tokenizer(size)(found, truncation=True, max_length=512, return_token_type_ids=False)
    return [
        {"input_ids": ids, "attention_mask": mask, "labels": int(label)}
        for ids, mask, label in zip(made["input_ids"], made["attention_mask"], labels)
    ]


def model(size="minilm", outputs=2, seed=0, **settings):
    """A BERT of transformers with random weights, the same for the same seed."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    config = BertConfig(**{**SIZES[size], **settings}, num_labels=outputs)
    return BertForSequenceClassification(config)


class Counted:
    """Counts the tokens that a model is given, padding included, and the pairs of tokens that attention compares."""

    def __init__(self, model):
        self.tokens = self.pairs = 0
        self.handle = model.register_forward_pre_hook(self._count, with_kwargs=True)

    def _count(self, module, args, kwargs):
        ids = kwargs["input_ids"] if "input_ids" in kwargs else args[0]
        self.tokens += ids.numel()
        self.pairs += ids.numel() * ids.shape[1]


def adamw(parameters, **settings):
    import torch

    return torch.optim.AdamW(parameters, lr=LR, weight_decay=WEIGHT_DECAY, **settings)
