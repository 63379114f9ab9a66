"""``HFModel`` inside fastai 1: batches as fastai hands them over."""

import pytest
import torch
from torch import nn

pytest.importorskip("fastai.basic_train")

from fastai.torch_core import flatten_model, num_children
from fastai.train import Learner

from fastai_hf_callback import HFCallback, HFModel, InputError
from tests.fastai1.learners import databunch, make_learner
from tests.tiny_models import tiny_model


def as_dict(batch):
    (ids, mask), target = batch
    return {"attention_mask": mask, "input_ids": ids}, target


def test_a_batch_may_be_a_dict():
    learn = make_learner("bert")
    learn.data.add_tfm(as_dict)
    learn.fit(1, 1e-2)
    assert learn.get_preds()[0].shape == (48, 3)


def test_lists_tensors_and_dicts_predict_the_same():
    learn = make_learner("bert")
    listed = learn.get_preds()[0]
    learn.data.add_tfm(as_dict)
    assert torch.equal(learn.get_preds()[0], listed)


def test_names_that_do_not_fit_stop_the_first_batch():
    model = HFModel(tiny_model("bert", 3), inputs=("input_ids", "attention"))
    learn = Learner(databunch(), model, loss_func=nn.CrossEntropyLoss(), silent=True, callbacks=[HFCallback()])
    with pytest.raises(
        InputError,
        match=r"\['attention'\] was given.*BertForSequenceClassification.forward takes "
        r"input_ids, token_type_ids, attention_mask",
    ):
        learn.fit(1, 1e-2)


def test_fastai_finds_every_parameter():
    for name in ("bert", "xlnet", "distilbert"):
        model = HFModel(tiny_model(name))
        leaves = flatten_model(model)
        assert {id(p) for leaf in leaves for p in leaf.parameters()} == {id(p) for p in model.parameters()}
        assert all(not num_children(leaf) for leaf in leaves)


def test_the_mask_makes_predictions_independent_of_batch_mates():
    model = HFModel(tiny_model("bert"), pad_token_id=0).eval()
    short, longer = torch.tensor([[5, 6, 7]]), torch.tensor([[5, 6, 7, 0, 0], [9, 8, 7, 6, 5]])
    alone, together = model(short)[0][0], model(longer)[0][0]
    assert torch.allclose(alone, together, atol=1e-6)
    unmasked = HFModel(model.model, pad_token_id=-1).eval()
    assert not torch.allclose(unmasked(short)[0][0], unmasked(longer)[0][0], atol=1e-6)
