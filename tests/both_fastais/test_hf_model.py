"""``HFModel`` inside fastai: batches as fastai hands them over."""

import pytest
import torch

pytest.importorskip("fastai")

from fastai_hf_callback import HFModel, InputError
from tests.installed_fastai import build_tiny_model, hand_over_dicts, make_data, make_learner, only_on


def test_a_batch_may_be_a_dict_and_predicts_the_same():
    learn = make_learner("bert")
    listed = learn.get_preds()[0]
    hand_over_dicts(learn)
    assert torch.equal(learn.get_preds()[0], listed) and listed.shape == (48, 3)
    learn.fit(1, 1e-2)
    assert learn.get_preds()[0].shape == (48, 3)


@pytest.mark.parametrize(
    "inputs, said",
    [
        (
            ("input_ids", "attention"),
            r"\['attention'\] was given.* 'attention_mask'\? BertForSequenceClassification.forward takes input_ids",
        ),
        (("input_ids",), r"A batch of 2 .* was given, but inputs=.* names 1"),
    ],
)
def test_names_that_do_not_fit_stop_the_first_batch(inputs, said):
    learn = make_learner("bert")
    learn.model = HFModel(build_tiny_model("bert", 3), inputs=inputs)
    with pytest.raises(InputError, match=said):
        learn.fit(1, 1e-2)


def test_without_names_a_lone_tensor_is_the_ids():
    learn = make_learner("bert", masked=False)
    learn.fit(1, 1e-2)
    ids, _ = make_data(masked=False).one_batch()
    assert ids.shape == (8, 8)


@only_on(1)
def test_fastai_finds_every_parameter():
    from fastai.torch_core import flatten_model, num_children

    for name in ("bert", "xlnet", "distilbert"):
        model = HFModel(build_tiny_model(name))
        leaves = flatten_model(model)
        assert {id(p) for leaf in leaves for p in leaf.parameters()} == {id(p) for p in model.parameters()}
        assert all(not num_children(leaf) for leaf in leaves)


def test_the_mask_makes_predictions_independent_of_batch_mates():
    model = HFModel(build_tiny_model("bert"), pad_token_id=0).eval()
    short, longer = torch.tensor([[5, 6, 7]]), torch.tensor([[5, 6, 7, 0, 0], [9, 8, 7, 6, 5]])
    alone, together = model(short)[0][0], model(longer)[0][0]
    assert torch.allclose(alone, together, atol=1e-6)
    unmasked = HFModel(model.model, pad_token_id=-1).eval()
    assert not torch.allclose(unmasked(short)[0][0], unmasked(longer)[0][0], atol=1e-6)
