"""HFModel: the bare model's checkpoints, parameters and tied weights, whatever is done with it."""

import copy
import pickle

import pytest
import torch
from torch import nn

from fastai_hf_callback import HFModel
from tests.tiny_models import ARCHITECTURES, PAD, padded, tiny_model


def same_entries(a, b):
    return list(a) == list(b) and all(map(torch.equal, a.values(), b.values()))


def parallel(model):
    return nn.DataParallel(model)


def nested(model):
    return nn.Sequential(nn.Linear(1, 1), parallel(model))


@pytest.mark.parametrize("name", (*ARCHITECTURES, "bert of transformers 5"))
def test_state_dict_has_the_bare_models_keys_and_tensors(name):
    if "transformers 5" in name:
        pytest.importorskip("transformers")
    bare = tiny_model(name)
    assert same_entries(HFModel(bare).state_dict(), bare.state_dict())
    assert all(
        a.data_ptr() == b.data_ptr() for a, b in zip(HFModel(bare).state_dict().values(), bare.state_dict().values())
    )


@pytest.mark.parametrize("around", [lambda model: model, parallel, nested], ids=["alone", "DataParallel", "nested"])
@pytest.mark.parametrize("name", ["bert", "xlm"])
def test_a_checkpoint_goes_both_ways(name, around):
    bare, wrapped = around(tiny_model(name)), around(HFModel(tiny_model(name)))
    assert list(bare.state_dict()) == list(wrapped.state_dict())
    for source, target in ((bare, wrapped), (wrapped, bare)):
        with torch.no_grad():
            for parameter in source.parameters():
                parameter.add_(torch.rand(()))
        assert not same_entries(source.state_dict(), target.state_dict())
        checkpoint = {key: value.clone() for key, value in source.state_dict().items()}
        keys = list(checkpoint)
        target.load_state_dict(checkpoint)
        assert same_entries(source.state_dict(), target.state_dict())
        assert list(checkpoint) == keys, "the caller's checkpoint is not changed"


def test_a_plain_wrapper_would_not_have_the_same_keys():
    bare = tiny_model("bert")
    assert list(nn.Sequential(bare).state_dict()) != list(bare.state_dict())


@pytest.mark.parametrize("around", [lambda model: model, parallel], ids=["alone", "DataParallel"])
@pytest.mark.parametrize(
    "spoil, word",
    [
        (lambda d: d.popitem(last=False), "Missing key"),
        (lambda d: d.update({next(iter(d)) + "x": torch.ones(1)}), "Unexpected key"),
    ],
    ids=["missing", "unexpected"],
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_loads_when_not_strict(around, spoil, word):
    model = around(HFModel(tiny_model("bert")))
    checkpoint = model.state_dict()
    spoil(checkpoint)
    with pytest.raises(RuntimeError, match=word):
        model.load_state_dict(checkpoint)
    keys = model.load_state_dict(checkpoint, strict=False)
    assert len(keys.missing_keys) + len(keys.unexpected_keys) == 1


def test_every_parameter_stays_registered():
    bare = tiny_model("bert")
    wrapped = HFModel(bare)
    assert all(map(lambda a, b: a is b, wrapped.parameters(), bare.parameters()))
    assert [name for name, _ in wrapped.named_parameters()] == [f"model.{name}" for name, _ in bare.named_parameters()]


def masked_language_model():
    library = pytest.importorskip("pytorch_transformers")
    return library.BertForMaskedLM(tiny_model("bert").config)


survivals = {
    "as it is": lambda model: model,
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "half": lambda model: model.half(),
}


@pytest.mark.parametrize("how", sorted(survivals))
def test_tied_weights_stay_tied(how):
    model = survivals[how](HFModel(masked_language_model(), pad_token_id=PAD)).model
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight


@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_copies_compute_the_same_with_the_same_settings(how):
    wrapped = HFModel(tiny_model("bert"), ("input_ids", "attention_mask"), PAD).eval()
    twin, batch = survivals[how](wrapped), padded(5, 3)
    assert (twin.input_names, twin.pad_token_id) == (wrapped.input_names, wrapped.pad_token_id)
    assert torch.equal(twin(*batch)[0], wrapped(*batch)[0])
    assert same_entries(twin.state_dict(), wrapped.state_dict()) and twin.model is not wrapped.model


def test_half_makes_every_floating_tensor_half():
    state = HFModel(tiny_model("bert")).half().state_dict()
    assert {tensor.dtype for tensor in state.values() if tensor.is_floating_point()} == {torch.float16}


@pytest.mark.parametrize("around", [lambda model: model, parallel], ids=["bare", "DataParallel"])
@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "XLNet"])
def test_save_pretrained_writes_a_folder_that_from_pretrained_reads(kind, around, tmp_path):
    library = pytest.importorskip("pytorch_transformers")
    bare = tiny_model(kind.lower(), n_outputs=3)
    HFModel(around(bare)).save_pretrained(str(tmp_path))
    read = getattr(library, f"{kind}ForSequenceClassification").from_pretrained(str(tmp_path))
    assert same_entries(read.state_dict(), bare.state_dict())
