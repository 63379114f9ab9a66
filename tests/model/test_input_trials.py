"""Models tried on a row padded in front, and on texts that hold special tokens, before they are trained. No fastai."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from fastai_hf_callback import HFModel, InputError
from fastai_hf_callback.data.batches.batch_spec import BatchSpec
from fastai_hf_callback.data.batches.padding import Padding
from fastai_hf_callback.data.batches.trial_batches import TrialBatches
from tests.tiny_models import VOCAB, tiny_model

transformers = pytest.importorskip("transformers", minversion="5")
NAMES = ("input_ids", "attention_mask")
SIZES = dict(vocab_size=VOCAB, num_labels=3, pad_token_id=0)
WIDE = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
SEQ2SEQ = dict(d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2)


def in_front():
    ids, mask = torch.tensor([[5, 6, 7, 8, 9]]), torch.ones(1, 5, dtype=torch.long)
    padded = tuple(torch.cat([torch.zeros(1, 3, dtype=torch.long), one], 1) for one in (ids, mask))
    trial = TrialBatches(alone=(ids, mask), padded=padded)
    return BatchSpec(NAMES, Padding(0, 0, "left"), 8, VOCAB, 0, trial=trial)


def make(name, head="SequenceClassification", **config):
    torch.manual_seed(0)
    settings = {
        "GPT2": dict(n_embd=16, n_layer=2, n_head=2, n_positions=32),
        "T5": dict(d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, eos_token_id=9, decoder_start_token_id=0),
        "Bart": dict(SEQ2SEQ, max_position_embeddings=32, eos_token_id=9, bos_token_id=2, decoder_start_token_id=9),
        "XLNet": dict(d_model=16, n_layer=2, n_head=2, d_inner=32),
        "Bloom": dict(hidden_size=16, n_layer=2, n_head=2),
        "DistilBert": dict(dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=32),
    }.get(name, dict(WIDE, max_position_embeddings=34))
    kind = getattr(transformers, f"{name}For{head}")
    model = kind(getattr(transformers, f"{name}Config")(**{**SIZES, **settings, **config}))
    return model.train()


@pytest.mark.parametrize("name", ("Bert", "Roberta", "DistilBert", "Electra", "T5", "Bart"))
def test_what_reads_a_fixed_place_is_refused_padded_in_front(name):
    with pytest.raises(InputError, match="padded in front, and its output .*padding_side = 'right'") as caught:
        HFModel(make(name), in_front())
    assert caught.value.cause == "padded-in-front"


@pytest.mark.parametrize("name", ("GPT2", "Llama", "Qwen2", "XLNet", "Bloom"))
@pytest.mark.parametrize("dtype", (torch.float32, torch.bfloat16), ids=str)
def test_what_reads_the_end_is_taken_in_any_precision_and_stays_as_it_was(name, dtype):
    model = make(name).to(dtype)
    model.config.dropout = 0.5
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    modes = [module.training for module in model.modules()]
    HFModel(model, in_front())
    assert modes == [module.training for module in model.modules()] and all(modes)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert torch.equal(state[0], torch.get_rng_state()) and state[1] == random.getstate()
    assert state[2] == np.random.get_state()[1].tolist()


@pytest.mark.parametrize(
    "name, head", (("Bert", "TokenClassification"), ("Bert", "QuestionAnswering"), ("Llama", "TokenClassification"))
)
def test_outputs_per_token_are_those_of_the_text(name, head):
    HFModel(make(name, head), in_front())


def test_half_precision_hides_no_fixed_place():
    with pytest.raises(InputError, match="padded in front"):
        HFModel(make("Bert").bfloat16(), in_front())


class Own(nn.Module):
    """A head of one's own, which reads this place of the body's output."""

    def __init__(self, place):
        super().__init__()
        self.body, self.head, self.place = transformers.LlamaModel(make("Llama").config), nn.Linear(16, 2), place
        self.config = self.body.config

    def forward(self, input_ids, attention_mask, position_ids=None):
        return self.head(self.body(input_ids, attention_mask, position_ids).last_hidden_state[:, self.place])


class Raises(nn.Module):
    def forward(self, input_ids, attention_mask):
        raise RuntimeError("no")


def test_heads_of_one_s_own_are_judged_by_what_they_read_too():
    HFModel(Own(-1), in_front())
    with pytest.raises(InputError, match="Own is given texts padded in front"):
        HFModel(Own(0), in_front())
    HFModel(Raises(), in_front())  # its first batch says more


def test_no_model_runs_where_padding_is_at_the_end():
    ran = []
    model = make("Bert")
    model.forward = lambda **inputs: ran.append(inputs)
    HFModel(model, BatchSpec(NAMES, Padding(0, 0, "right"), 8, VOCAB, 0))
    assert not ran


def with_marks(texts):
    mask = torch.ones(2, 5, dtype=torch.long)
    plain = torch.tensor([[2, 5, 6, 7, 9]] * 2)
    trial = TrialBatches(plain=(plain, mask), marked=(torch.tensor([[2, 5, 6, 7, 9], texts]), mask), where="row(s) 7")
    return BatchSpec(NAMES, Padding(0, 0, "right"), 8, VOCAB, 0, trial=trial)


@pytest.mark.parametrize("name", ("T5", "Bart"))
def test_a_head_that_counts_end_marks_is_refused_with_the_rows(name):
    with pytest.raises(InputError, match=r"row\(s\) 7 \(ValueError: All examples must have the same number") as caught:
        HFModel(make(name), with_marks([2, 5, 9, 7, 9]))
    assert caught.value.cause == "special-tokens-in-texts"
    HFModel(make(name), with_marks([2, 5, 7, 7, 9]))


def test_a_head_that_counts_nothing_takes_such_texts():
    HFModel(make("Bert"), with_marks([2, 5, 9, 7, 9]))


def test_models_of_pytorch_transformers_are_tried_as_well():
    pytest.importorskip("pytorch_transformers")
    HFModel(tiny_model("xlnet", 3), in_front())
    with pytest.raises(InputError, match="padded in front"):
        HFModel(tiny_model("bert", 3), in_front())
