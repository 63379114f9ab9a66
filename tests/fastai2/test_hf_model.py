"""``HFModel`` inside fastai 2: batches as fastai hands them over."""

import pytest
import torch
from fastai.torch_basics import ItemTransform

from fastai_hf_callback import HFModel, InputError
from tests.fastai2.learners import loaders, make_learner
from tests.tiny_models import tiny_transformers_model


class AsDict(ItemTransform):
    def encodes(self, batch):
        ids, mask, target = batch
        return {"attention_mask": mask, "input_ids": ids}, target


def test_a_batch_may_be_a_dict():
    learn = make_learner("bert")
    listed = learn.get_preds()[0]
    for loader in learn.dls.loaders:
        loader.after_batch.add(AsDict())
    learn.dls.train._n_inp = learn.dls.valid._n_inp = 1
    assert torch.equal(learn.get_preds()[0], listed)
    learn.fit(1, 1e-2)


def test_names_that_do_not_fit_stop_the_first_batch():
    learn = make_learner("bert")
    learn.model = HFModel(tiny_transformers_model("bert", 3), inputs=("input_ids",))
    with pytest.raises(InputError, match=r"A batch of 2 .* was given, but inputs=.* names 1"):
        learn.fit(1, 1e-2)


def test_without_names_a_lone_tensor_is_the_ids():
    learn = make_learner("bert", masked=False)
    learn.fit(1, 1e-2)
    assert len(loaders(masked=False).one_batch()) == 2


def test_the_mask_makes_predictions_independent_of_batch_mates():
    model = HFModel(tiny_transformers_model("bert"), pad_token_id=0).eval()
    short, longer = torch.tensor([[5, 6, 7]]), torch.tensor([[5, 6, 7, 0, 0], [9, 8, 7, 6, 5]])
    alone, together = model(short)[0][0], model(longer)[0][0]
    assert torch.allclose(alone, together, atol=1e-6)
    unmasked = HFModel(model.model, pad_token_id=-1).eval()
    assert not torch.allclose(unmasked(short)[0][0], unmasked(longer)[0][0], atol=1e-6)
