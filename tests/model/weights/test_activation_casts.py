"""Hooks that let float32 and half-precision weights work in one model."""

import copy
import pickle

import pytest
import torch
from torch import nn

from fastai_hf_callback.model.weights.activation_casts import match_activations, to_float32
from fastai_hf_callback.model.weights.precision import widen_trainable_weights
from tests.tiny_models import tiny_transformers_model

HALF = (torch.bfloat16, torch.float16)
pytestmark = pytest.mark.skipif(torch.__version__.startswith("1."), reason="torch 1 has no half products on a CPU")
IDS = torch.tensor([[5, 9, 11, 7], [6, 8, 0, 0]])
# Which names stay frozen: the body under a head, all but the norms, one branch of the attention, the lower block.
FROZEN = {
    "body": lambda name: "classif" not in name and "score" not in name and "sequence_summary" not in name,
    "all but norms": lambda name: "norm" not in name.lower() and "ln_" not in name,
    "keys": lambda name: any(part in name for part in (".key.", ".k_lin.", ".k", "c_attn", "key_proj")),
    "embeddings and a block": lambda name: any(part in name for part in ("embed", "wte", "wpe", "word", ".0.")),
}


def partly_frozen(name, frozen, dtype=torch.bfloat16):
    torch.manual_seed(0)
    model = tiny_transformers_model(name, 3).to(dtype)
    for parameter_name, p in model.named_parameters():
        p.requires_grad_(not FROZEN[frozen](parameter_name))
    widen_trainable_weights(model)
    return model


def logits(model, ids=IDS):
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=ids.ne(0).long()).logits


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("frozen", FROZEN)
@pytest.mark.parametrize("name", ("bert", "xlnet", "gpt2", "distilbert", "deberta"))
def test_a_partly_frozen_model_runs_forward_and_backward_near_its_float32_self(name, frozen, dtype):
    if (name, frozen) == ("xlnet", "keys"):
        pytest.skip("one module holds queries and keys: all of it is float32")
    model = partly_frozen(name, frozen, dtype)
    exact = logits(copy.deepcopy(model).float())
    assert len({p.dtype for p in model.parameters()}) == 2
    assert match_activations(model)
    assert torch.allclose(logits(model).float(), exact, atol=2e-2)
    model.train()(input_ids=IDS, attention_mask=IDS.ne(0).long()).logits.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)
    assert any(p.grad is not None and bool(p.grad.any()) for p in model.parameters())


def test_without_the_hooks_it_does_not_run():
    with pytest.raises(RuntimeError, match="dtype"):
        logits(partly_frozen("bert", "keys"))


def test_what_a_frozen_weight_is_computed_from_stays_as_it_is():
    """Of audio models' weight-normed convolution, whose parametrizations are an nn.ModuleList."""
    norm = nn.utils.parametrizations.weight_norm
    model = nn.Sequential(nn.Linear(4, 4), norm(nn.Linear(4, 4)), nn.Linear(4, 2)).to(torch.bfloat16)
    model[1].requires_grad_(False)
    widen_trainable_weights(model)
    with pytest.raises(RuntimeError, match="dtype"):
        model(torch.ones(2, 4))
    assert match_activations(model)
    model(torch.ones(2, 4)).sum().backward()
    assert model[1].weight.dtype == torch.bfloat16 and model[0].weight.grad.any() and model[2].weight.grad.any()


class HandsWeightsOn(nn.Module):
    """An attention that hands its children's weights to torch's function, with a parameter of its own, as WavLM's."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(4, 4) for _ in range(4))
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        q, k, v = (layer.weight for layer in (self.query, self.key, self.value))
        bias = torch.cat([layer.bias for layer in (self.query, self.key, self.value)])
        settings = dict(use_separate_proj_weight=True, q_proj_weight=q, k_proj_weight=k, v_proj_weight=v)
        given = (x, x, x, 4, 2, torch.empty(0), bias, None, None, False, 0.0, self.out.weight, self.out.bias)
        return nn.functional.multi_head_attention_forward(*given, **settings)[0] * self.scale


@pytest.mark.parametrize("trained", ("1.query.bias", "0.weight", "1.scale"))
def test_children_whose_weights_are_handed_on_are_of_one_dtype(trained):
    model = nn.Sequential(nn.Linear(4, 4), HandsWeightsOn(), nn.Linear(4, 2)).to(torch.bfloat16)
    for name, p in model.named_parameters():
        p.requires_grad_(name in (trained, "2.weight"))
    widen_trainable_weights(model)
    assert len({p.dtype for p in model[1].parameters()}) == 1
    match_activations(model)
    model(torch.ones(3, 2, 4)).sum().backward()
    assert dict(model.named_parameters())[trained].grad is not None


def test_under_a_frozen_body_the_body_still_computes_in_half_precision():
    model, seen = partly_frozen("bert", "body"), []
    match_activations(model)
    model.bert.encoder.register_forward_hook(lambda module, args, output: seen.append(output[0].dtype))
    assert logits(model).dtype == torch.float32 and seen == [torch.bfloat16]


@pytest.mark.parametrize("dtype", (torch.float32, *HALF), ids=str)
def test_a_model_of_one_dtype_gets_none(dtype):
    assert not match_activations(tiny_transformers_model("bert").to(dtype))


def count_hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_they_are_not_doubled_and_are_removed_with_their_reason():
    model = partly_frozen("bert", "body")
    handle = model.classifier.register_forward_hook(lambda module, args, output: None)
    match_activations(model)
    first = count_hooks(model)
    match_activations(model)
    assert count_hooks(model) == first > 1
    assert not match_activations(model.float())
    assert count_hooks(model) == 1, "the user's own is left"
    handle.remove()
    assert not any(m._forward_pre_hooks_with_kwargs for m in model.modules())


def test_they_follow_what_is_unfrozen():
    model = partly_frozen("bert", "body")
    match_activations(model)
    model.bert.encoder.layer[1].requires_grad_(True)
    widen_trainable_weights(model)
    before = count_hooks(model)
    match_activations(model)
    exact = logits(copy.deepcopy(model).float())
    assert count_hooks(model) > before, "the block's inputs are cast, too"
    assert torch.allclose(logits(model), exact, atol=2e-2)


def test_copies_pickles_and_checkpoints_hold():
    model = partly_frozen("bert", "all but norms")
    plain = list(model.state_dict())
    match_activations(model)
    expected = logits(model)
    assert list(model.state_dict()) == plain
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(logits(other), expected)
        assert count_hooks(other) == count_hooks(model)
        assert match_activations(other) and count_hooks(other) == count_hooks(model)


def test_a_model_turned_to_one_dtype_by_hand_runs_though_the_hooks_are_still_there():
    model = partly_frozen("bert", "all but norms")
    match_activations(model)
    for dtype in (torch.float32, torch.bfloat16):
        assert torch.isfinite(logits(model.to(dtype)).float()).all()


def test_masks_of_the_largest_number_stay_finite_in_float16():
    seen = []

    class Biased(nn.Module):  # a parameter of its own larger than its child: inputs are cast for it
        def __init__(self):
            super().__init__()
            self.weight, self.child = nn.Parameter(torch.ones(4, 4)), nn.Linear(2, 2)

        def forward(self, hidden, mask):
            seen.append(mask.dtype)
            return (hidden @ self.weight + mask).softmax(-1)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.body = nn.Linear(4, 4), Biased()

        def forward(self, hidden):
            return self.body(self.head(hidden), mask=torch.tensor([0.0, 0.0, torch.finfo(torch.float32).min, 0.0]))

    model = Model().to(torch.float16)
    model.body.requires_grad_(False)
    widen_trainable_weights(model)
    match_activations(model)
    output = model(torch.ones(2, 4))
    assert seen == [torch.float16] and torch.isfinite(output).all() and output.dtype == torch.float32


@pytest.mark.parametrize("layer", ("LSTM", "MultiheadAttention"))
def test_layers_with_several_inputs_and_outputs(layer):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4)
            self.layer = nn.LSTM(4, 4) if layer == "LSTM" else nn.MultiheadAttention(4, 2)

        def forward(self, hidden):
            hidden = self.first(hidden)
            if layer == "LSTM":
                packed = nn.utils.rnn.pack_padded_sequence(hidden, [3, 2])
                output, (state, _) = self.layer(packed)
                return nn.utils.rnn.pad_packed_sequence(output)[0], state
            return self.layer(hidden, hidden, value=hidden)

    model = Model().to(torch.bfloat16)
    model.layer.requires_grad_(False)
    widen_trainable_weights(model)
    match_activations(model)
    assert {part.dtype for part in model(torch.ones(3, 2, 4))} == {torch.float32}
    assert {p.dtype for p in model.layer.parameters()} == {torch.bfloat16}


def test_outputs_for_the_loss():
    half, whole, ids = torch.ones(2, dtype=torch.bfloat16), torch.ones(2), torch.ones(2, dtype=torch.int64)
    assert to_float32(half).dtype == torch.float32
    assert to_float32(whole) is whole and to_float32(ids) is ids
    both = to_float32((half, ids))
    assert isinstance(both, tuple) and both[0].dtype == torch.float32 and both[1] is ids
    pair = (whole, ids)
    assert to_float32(pair) is pair, "the very object, where there is nothing to cast"
