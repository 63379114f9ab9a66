"""Every kind of head trains, validates and predicts through the callback, as through the patched loop."""

import numpy as np
import pytest
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.losses import CrossEntropyLossFlat

from fastai_hf_callback import (
    HFCallback,
    HFModel,
    OutputError,
    WordAccuracy,
    compare,
    diagnose,
    layer_groups,
    unwrap,
)
from tests.fastai2.heads import HEADS, ROWS, bart, make_learner, t5
from tests.fastai2.learners import without_progress_bar
from tests.slow_marks import mark_slow_after
from tests.tiny_models import ids

every_head = pytest.mark.parametrize("name", mark_slow_after(3, HEADS))


@every_head
def test_it_trains_validates_and_predicts(name):
    torch.manual_seed(0)
    learn = make_learner(name)
    before = learn.validate(0)
    learn.fit_one_cycle(10, 1e-2)
    assert np.isfinite(learn.recorder.losses).all() and np.isfinite(learn.validate()).all()
    assert learn.validate(0)[0] < 0.9 * before[0]
    inputs, outputs, targets, decoded, losses = learn.get_preds(with_input=True, with_decoded=True, with_loss=True)
    assert len(inputs) == len(HEADS[name].inputs) and all(len(part) == ROWS for part in inputs)
    for part in (outputs, targets, decoded):
        assert all(len(tensor) == ROWS for tensor in (part if isinstance(part, tuple) else [part]))
    assert losses.shape == (ROWS,) and float(losses.mean()) > 0


@every_head
def test_it_equals_the_patched_loop_bit_for_bit(name):
    labels_go_in = "labels" in HEADS[name].inputs  # element 0, the article's, would be the model's loss
    element = "logits" if labels_go_in else HEADS[name].element
    comparison = compare(
        lambda: make_learner(name, cbs=[HFCallback(element=element)]),
        fit=lambda learn: learn.fit_one_cycle(1, 1e-2),
        progress=False,
    )
    assert comparison.identical, str(comparison)
    assert comparison.broken_arm_differs, "the broken arm must differ"


@pytest.mark.parametrize("make", (bart, t5))
@pytest.mark.parametrize("as_tuple", (False, True), ids=("output", "tuple"))
def test_labels_in_the_input_make_element_0_the_loss_and_the_logits_are_found(make, as_tuple):
    torch.manual_seed(0)
    model, labels = make().eval(), ids(4, 6)
    output = model(input_ids=ids(4, 7), labels=labels, return_dict=not as_tuple)
    assert output[0].dim() == 0
    logits = unwrap(output)
    assert logits is output[1] and logits.shape[:2] == labels.shape  # neither the loss nor the encoder's last states
    without = model(input_ids=ids(4, 7), decoder_input_ids=labels, return_dict=not as_tuple)
    assert unwrap(without) is without[0]


def test_a_dict_batch_with_labels_trains_validates_and_predicts():
    torch.manual_seed(0)
    texts = ids(16, 6)
    rows = [({"input_ids": row, "attention_mask": torch.ones_like(row), "labels": row}, row) for row in texts]
    dls = DataLoaders(*(DataLoader(rows, bs=8, num_workers=0) for _ in range(2)), device=torch.device("cpu"))
    learn = without_progress_bar(
        Learner(
            dls,
            HFModel(bart()),
            loss_func=CrossEntropyLossFlat(),
            metrics=[WordAccuracy()],
            cbs=[HFCallback()],
            splitter=layer_groups,
        )
    )
    before = learn.validate()[0]
    learn.fit(6, 1e-2)
    assert learn.validate()[0] < before
    outputs, targets, decoded, losses = learn.get_preds(with_decoded=True, with_loss=True)
    assert outputs.shape[:2] == targets.shape == decoded.shape == texts.shape and losses.shape == (16,)


@pytest.mark.slow
@pytest.mark.parametrize("name", ("an answer", "an answer, two tensors", "the next word", "a translation"))
def test_a_healthy_head_is_no_alarm(name):
    torch.manual_seed(0)
    learn = make_learner(name)
    learn.fit_one_cycle(4, 5e-3)
    found = [finding for finding in diagnose(learn, batches=2).findings if finding.severity != "note"]
    assert not found, found


def test_an_answers_two_outputs_are_asked_for():
    with pytest.raises(OutputError, match="element=span_logits"):
        make_learner("an answer", cbs=[HFCallback()]).fit(1, 1e-2)
