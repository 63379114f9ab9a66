import random

import numpy as np
import pytest
import torch

pytest.importorskip("fastai.basic_train")

from fastai import basic_train
from fastai.metrics import accuracy

from fastai_hf_callback.fastai1.comparison.recorder import (
    base_rates,
    constant_prediction_scores,
    evaluate,
    metric_names,
)
from fastai_hf_callback.fastai1.compat.no_progress import no_progress
from fastai_hf_callback.model.output import tensors_in
from tests.fastai1.learners import make_learner


def test_evaluation_says_what_validate_says_and_changes_nothing():
    learn = make_learner("bert")
    learn.fit(1, 1e-2)
    learn.model.train()
    learn.model.model.classifier.eval()
    modes = [module.training for module in learn.model.modules()]
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    recorded = list(learn.recorder.losses)

    evaluation = evaluate(learn)

    assert [module.training for module in learn.model.modules()] == modes
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == states
    assert list(learn.recorder.losses) == recorded
    loss, score = learn.validate()
    assert (evaluation.epoch.valid_loss, evaluation.epoch.metrics) == (float(loss), {"accuracy": float(score)})
    assert torch.equal(torch.cat(evaluation.outputs).softmax(-1), learn.get_preds()[0])


def test_the_base_rate_is_the_majoritys_share():
    learn = make_learner("bert")
    evaluation = evaluate(learn)
    targets = torch.cat(evaluation.targets)
    rates = base_rates(learn, evaluation)
    assert rates["accuracy"] == pytest.approx(max(float((targets == c).float().mean()) for c in targets.unique()))


def test_models_that_say_one_thing_of_every_text_score_each_classs_share():
    learn = make_learner("bert")
    evaluation = evaluate(learn)
    targets = torch.cat(evaluation.targets)
    shares = [float((targets == c).float().mean()) for c in targets.unique()]
    assert sorted(constant_prediction_scores(learn, evaluation)["accuracy"]) == pytest.approx(sorted(shares))
    assert constant_prediction_scores(learn, evaluation._replace(outputs=[(o, o) for o in evaluation.outputs])) == {}


@pytest.mark.parametrize("metrics, names", [([accuracy, accuracy], ["accuracy", "accuracy_2"]), ([], [])])
def test_metric_names_are_unique(metrics, names):
    assert metric_names(metrics) == names


def test_tensors_of_a_nested_batch():
    a, b, c = torch.ones(1), torch.ones(2), torch.ones(3)
    assert [t.numel() for t in tensors_in(([a, {"x": b}], (c,), None, "text"))] == [1, 2, 3]


def test_quiet_is_quiet_and_puts_the_bars_back(capsys):
    learn = make_learner("bert")
    learn.silent = False
    learn.callback_fns = [basic_train.partial(basic_train.Recorder, add_time=True, silent=False)]
    before = basic_train.master_bar, basic_train.progress_bar, learn.callback_fns
    with pytest.raises(ZeroDivisionError), no_progress(learn):
        learn.fit(1, 1e-2)
        raise ZeroDivisionError
    assert capsys.readouterr().out == ""
    assert (basic_train.master_bar, basic_train.progress_bar, learn.callback_fns) == before
    learn.fit(1, 1e-2)
    assert "train_loss" in capsys.readouterr().out
