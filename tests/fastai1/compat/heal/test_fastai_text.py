"""heal: fastai's own texts, bare and mended."""

import numpy as np
import pandas as pd
import pytest
import torch

from fastai_hf_callback import heal
from fastai_hf_callback.fastai1.compat import heal as mending
from tests.fastai1.compat.heal.patched_state import PARTS, skip_unless_broken

pytestmark = pytest.mark.slow


def texts(text, rows=33, bs=8, labels="a", cls="TextClasDataBunch"):
    """A real TextDataBunch, from a frame; the last batch is short."""

    class Words(text.BaseTokenizer):
        def tokenizer(self, t):
            return t.split(" ")

        def add_special_cases(self, toks):
            pass

    frame = pd.DataFrame({"text": [" ".join(f"w{i * j % 5}" for j in range(3 + i % 4)) for i in range(rows)]})
    frame["a"], frame["b"] = [i % 2 for i in range(rows)], [int(i % 3 == 0) for i in range(rows)]
    words = text.Tokenizer(Words, "en", n_cpus=1)
    return getattr(text, cls).from_df(
        ".",
        frame,
        frame[:9],
        tokenizer=words,
        text_cols="text",
        label_cols=labels,
        min_freq=1,
        bs=bs,
        num_workers=0,
        no_check=True,
        device=torch.device("cpu"),
    )


@pytest.mark.parametrize(
    "needed, cls",
    [
        ("ragged-arrays", "TextClasDataBunch"),
        ("numpy-names", "TextLMDataBunch"),
        ("sortish-sampler", "TextClasDataBunch"),
    ],
)
def test_texts_fail_without_any_one_of_three_parts(text, needed, cls):
    skip_unless_broken(needed)
    others = [part for part in PARTS if part != needed]
    with heal(*others), pytest.raises((ValueError, AttributeError), match="inhomogeneous|has no attribute"):
        list(texts(text, rows=36, labels=["a", "b"], cls=cls).train_dl)


@pytest.mark.parametrize("labels", ["a", ["a", "b"]], ids=("one", "several"))
def test_texts(text, labels):
    with heal():
        batches = [(len(x), tuple(y.shape[1:])) for x, y in texts(text, labels=labels).train_dl]
        assert texts(text, cls="TextLMDataBunch", bs=4).one_batch()[0].shape[0] == 4
    assert sorted(size for size, _ in batches) == [8, 8, 8, 8]
    assert batches[0][1] == (() if labels == "a" else (2,))


def sampled(text, rows, bs, seed=0):
    np.random.seed(seed)
    lengths = np.random.RandomState(1).permutation(rows)
    return list(text.data.SortishSampler(range(rows), key=lambda row: lengths[row], bs=bs)), np.random.rand()


@pytest.mark.parametrize("rows, bs", [(1, 1), (2, 2), (3, 4), (5, 2), (7, 3), (250, 2)])
def test_the_sampler_gives_every_row_once_the_longest_batch_first(text, rows, bs):
    lengths = np.random.RandomState(1).permutation(rows)
    with heal("sortish-sampler"):
        order, _ = sampled(text, rows, bs)
    assert sorted(order) == list(range(rows)) and lengths[order[0]] == rows - 1


@pytest.mark.parametrize("rows, bs", [(5, 2), (2, 2)], ids=("short last batch", "single batch"))
def test_the_sampler_fails_bare(text, rows, bs):
    skip_unless_broken("sortish-sampler")
    with pytest.raises((ValueError, AttributeError)):
        sampled(text, rows, bs)


@pytest.mark.parametrize("rows, bs", [(6, 2), (8, 4), (500, 2), (9, 3), (5, 2), (7, 3), (101, 2), (2, 2), (1, 1)])
def test_the_sampler_draws_what_fastais_own_draws(text, rows, bs, monkeypatch):
    try:
        own = sampled(text, rows, bs)
    except (ValueError, AttributeError):
        pytest.skip("fastai's own sampler fails here on these versions")
    with monkeypatch.context() as patching:
        patching.setattr(text.data.SortishSampler, "__iter__", mending._iterate_sortish)
        assert sampled(text, rows, bs) == own
