"""Half-precision weights that become float32 to train, and what of a model must stay as it was."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from fastai_hf_callback.model.weights.precision import TrainingPrecision, widen_optimizer_state, widen_trainable_weights

HALF = pytest.mark.parametrize("dtype", (torch.bfloat16, torch.float16), ids=str)


class Classifier(nn.Module):
    """Embeddings, an attention's three branches, a norm, and a head that may be tied to the embeddings."""

    def __init__(self, tied=False):
        super().__init__()
        self.embed, self.query, self.key = nn.Embedding(12, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 12 if tied else 2, bias=False)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids):
        hidden = self.embed(ids)
        scores = self.query(hidden) @ self.key(hidden).transpose(1, 2)
        return self.head(self.norm(scores.softmax(-1) @ hidden).mean(1))


def freeze(model, *names):
    for name, p in model.named_parameters():
        p.requires_grad_(name.split(".")[0] not in names)
    return model


def dtypes(model):
    return {name: p.dtype for name, p in model.named_parameters()}


@HALF
def test_what_trains_becomes_float32_and_what_is_frozen_does_not(dtype):
    model = freeze(Classifier().to(dtype), "embed", "key")
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    widening = widen_trainable_weights(model)
    assert widening.dtypes == {str(dtype)[6:]: 5} and widening.total == 5 and len(widening.parameters) == 5
    for name, p in model.named_parameters():
        assert p.dtype == (torch.float32 if p.requires_grad else dtype), name
        assert torch.equal(p.detach().float(), before[name].float()), name


def test_a_float32_model_is_left_alone():
    model = Classifier()
    held = {name: p.data_ptr() for name, p in model.named_parameters()}
    assert widen_trainable_weights(model).parameters == []
    assert held == {name: p.data_ptr() for name, p in model.named_parameters()}


@pytest.mark.skipif(torch.__version__.startswith("1."), reason="torch 1 reads no bits as another dtype")
@given(st.integers(0, 2**16 - 1), st.sampled_from((torch.bfloat16, torch.float16)))
def test_every_half_precision_number_comes_back(bits, dtype):
    number = torch.tensor(bits - 2**16 if bits >= 2**15 else bits, dtype=torch.int16)
    module = nn.Module()
    module.weight = nn.Parameter(torch.empty(1, dtype=dtype))
    module.weight.data = number[None].view(dtype)
    before = module.weight.data.clone()
    widen_trainable_weights(module)
    assert module.weight.dtype == torch.float32
    assert torch.equal(module.weight.data.to(dtype), before) or bool(torch.isnan(before.float()).all())


def test_parameters_stay_the_same_objects_with_their_hooks_and_gradients():
    model, seen = Classifier().to(torch.bfloat16), []
    model.head.weight.register_hook(lambda gradient: seen.append(gradient.dtype))
    model.key.weight.grad = torch.ones_like(model.key.weight)
    before = list(model.parameters())
    widen_trainable_weights(model)
    assert all(one is other for one, other in zip(before, model.parameters()))
    assert model.key.weight.grad.dtype == torch.float32 and bool((model.key.weight.grad == 1).all())
    model(torch.tensor([[1, 2]])).sum().backward()
    assert seen == [torch.float32] and model.embed.weight.grad.dtype == torch.float32


def test_a_tied_weight_is_widened_once_and_stays_tied():
    model = freeze(Classifier(tied=True).to(torch.bfloat16), "query", "key", "norm")
    assert widen_trainable_weights(model).dtypes == {"bfloat16": 1}
    assert model.head.weight is model.embed.weight and model.embed.weight.dtype == torch.float32


def test_weights_that_become_trainable_later_follow():
    model = freeze(Classifier().to(torch.bfloat16), "embed", "query", "key", "norm")
    widen_trainable_weights(model)
    assert dtypes(model)["query.weight"] == torch.bfloat16
    freeze(model)
    assert widen_trainable_weights(model).dtypes == {"bfloat16": 7}
    assert set(dtypes(model).values()) == {torch.float32}


def test_frozen_weights_that_share_an_operation_with_float32_ones_follow_them():
    model = Classifier().to(torch.bfloat16)
    for name, p in model.named_parameters():
        p.requires_grad_(name.endswith("bias"))  # BitFit: a bias is added to its weight's product in one operation
    widening = widen_trainable_weights(model)
    assert widening.dtypes == {"bfloat16": 3} and len(widening.parameters) == 6
    assert dtypes(model)["query.weight"] == torch.float32 and dtypes(model)["embed.weight"] == torch.bfloat16


@pytest.mark.parametrize(
    "layer",
    (nn.LSTM(4, 4), nn.MultiheadAttention(4, 2), nn.utils.weight_norm(nn.Linear(4, 4))),
    ids=("LSTM", "MultiheadAttention", "weight_norm"),
)
def test_layers_whose_parameters_work_together_are_not_split(layer):
    layer.to(torch.bfloat16)
    _, *rest = layer.parameters()
    for p in rest:
        p.requires_grad_(False)
    widen_trainable_weights(layer)
    assert {p.dtype for p in layer.parameters()} == {torch.float32}


def test_running_statistics_follow_their_weights():
    norms = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4)).to(torch.bfloat16)
    norms[1].requires_grad_(False)
    widen_trainable_weights(norms)
    assert norms[0].running_mean.dtype == torch.float32 and norms[0].num_batches_tracked.dtype == torch.int64
    assert norms[1].running_mean.dtype == torch.bfloat16


def test_integers_of_quantised_weights_stay():
    model = nn.Linear(4, 4).to(torch.bfloat16)
    model.weight = nn.Parameter(torch.zeros(4, 4, dtype=torch.int8), requires_grad=False)
    widen_trainable_weights(model)
    assert model.weight.dtype == torch.int8 and model.bias.dtype == torch.float32


def test_the_optimizers_averages_follow():
    model = nn.Linear(4, 4).to(torch.bfloat16)
    average = torch.ones(4, 4, dtype=torch.bfloat16)
    state = {model.weight: {"grad_avg": average, "step": 3}, model.bias: {}}
    widen_optimizer_state(state, widen_trainable_weights(model).parameters)
    assert state[model.weight]["grad_avg"].dtype == torch.float32 and state[model.weight]["step"] == 3
    assert average.dtype == torch.bfloat16


# -- what is said ----------------------------------------------------------------------------------------------------


def told_by(precision, model):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        precision.prepare(model)
    return [str(one.message) for one in told]


def test_it_is_said_once_with_figures_and_how_to_refuse():
    precision, model = TrainingPrecision(), freeze(Classifier().to(torch.bfloat16), "embed", "query", "key")
    (said,) = told_by(precision, model)
    assert "3 of 3 trainable weights were bfloat16" in said and "HFCallback(train_in_float32=False)" in said
    assert told_by(precision, freeze(model)) == [], "the next ones are not said again"
    assert set(dtypes(model).values()) == {torch.float32}


def test_nothing_is_said_of_a_float32_model_or_of_frozen_weights():
    assert told_by(TrainingPrecision(), Classifier()) == []
    model = freeze(Classifier().to(torch.bfloat16), "embed", "query", "key", "norm", "head")
    assert told_by(TrainingPrecision(), model) == []


def test_the_user_may_say_otherwise():
    model = Classifier().to(torch.bfloat16)
    assert told_by(TrainingPrecision(in_float32=False), model) == []
    assert set(dtypes(model).values()) == {torch.bfloat16}


# -- adapters --------------------------------------------------------------------------------------------------------


def lora(**arguments):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, target_modules=["query"], modules_to_save=["head"])
    return peft.get_peft_model(Classifier().to(torch.bfloat16), config, **arguments)


def test_adapters_keep_the_dtype_that_peft_chose_and_a_copied_head_does_not():
    model = lora()
    widening = widen_trainable_weights(model)
    assert widening.dtypes == {"bfloat16": 1} and widening.half_adapters == 0
    kinds = {p.dtype for name, p in model.named_parameters() if p.requires_grad}
    assert kinds == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_half_precision_adapters_stay_and_are_told_of():
    model = lora(autocast_adapter_dtype=False)
    (said,) = told_by(TrainingPrecision(), model)
    assert "2 trainable weights of adapters are in half precision" in said and "autocast_adapter_dtype=True" in said
    assert {p.dtype for name, p in model.named_parameters() if "lora" in name} == {torch.bfloat16}
