"""What the two fastais' peers share: nearly free and real batches, a model of many outputs, a timed doctor."""

import time

import torch
from serving import CPU
from torch import nn
from torch.utils.data import TensorDataset
from workload import SIZES, texts, tokenizer

FREE_BATCH = 4
STEP_ROWS, STEP_LENGTH = 8, 32


class NearlyFree(nn.Module):
    """One matrix product, and a tuple like a Hugging Face model's."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x), None


class NearlyFreeText(nn.Module):
    """The same with the inputs of a Hugging Face model, so that ``HFModel`` can name them."""

    def __init__(self):
        super().__init__()
        self.words, self.layer = nn.Embedding(8, 4), nn.Linear(4, 2)

    def forward(self, input_ids, attention_mask=None):
        return self.layer(self.words(input_ids)[:, 0]), None


def named_batches(number):
    """((ids, mask), labels), of 4 rows of 4 tokens."""
    torch.manual_seed(0)
    shape = (FREE_BATCH, 4)
    return [
        ([torch.randint(1, 8, shape), torch.ones(shape, dtype=torch.long)], torch.randint(0, 2, (FREE_BATCH,)))
        for _ in range(number)
    ]


def free_batches(number):
    torch.manual_seed(0)
    return [(torch.randn(FREE_BATCH, 4), torch.randint(0, 2, (FREE_BATCH,))) for _ in range(number)]


def hf_batches(size, number):
    """((ids, mask), labels), of 8 rows of 32 tokens."""
    torch.manual_seed(0)
    shape = (STEP_ROWS, STEP_LENGTH)
    return [
        (
            [torch.randint(5, SIZES[size]["vocab_size"], shape), torch.ones(shape, dtype=torch.long)],
            torch.randint(0, 2, (STEP_ROWS,)),
        )
        for _ in range(number)
    ]


def big_outputs(library, returned):
    """A BERT of six layers, which returns all hidden states and attentions where asked, and rows for it."""
    from importlib import import_module

    of = import_module(library)
    vocabulary = "vocab_size" if library == "transformers" else "vocab_size_or_config_json_file"
    config = of.BertConfig(
        **{vocabulary: 1000},
        hidden_size=128,
        num_hidden_layers=6,
        num_attention_heads=4,
        intermediate_size=512,
        max_position_embeddings=128,
    )
    config.num_labels = 2
    config.output_hidden_states = returned
    if library == "transformers":
        config._attn_implementation = "eager"  # the other one returns no attentions
    config.output_attentions = returned
    torch.manual_seed(0)
    data = TensorDataset(torch.randint(5, 1000, (96, 128)), torch.randint(0, 2, (96,)))
    return of.BertForSequenceClassification(config), data


class TimedDoctor:
    """A doctor that adds up the CPU time of its own methods, as a subclass of either fastai's."""

    @staticmethod
    def over(doctor):
        class Timed(doctor):
            seconds = 0.0

        for name in dir(doctor):
            if name.startswith(("on_", "before_", "after_")) and callable(getattr(doctor, name)):
                setattr(Timed, name, _timed(getattr(doctor, name)))
        return Timed


def _timed(method):
    def timed(self, *args, **kwargs):
        started = time.process_time()
        try:
            return method(self, *args, **kwargs)
        finally:
            self.seconds += time.process_time() - started

    return timed


def feeding_seconds(make, rows, times):
    """Seconds of ``make(frame, tokenizer)``, which gives a loader, and of a pass over it; the mean of `times`."""
    import pandas as pd

    own = tokenizer("minilm")
    found, labels = texts(rows + 1, "minilm")
    frame = pd.DataFrame({"text": found, "label": [int(label) for label in labels]})
    with CPU() as making:
        for _ in range(times):
            loader = make(frame, own)
    with CPU() as passing:
        for _ in range(times):
            batches = sum(1 for _ in loader)
    return {"making": making.seconds / times, "passing": passing.seconds / times, "batches": batches}
