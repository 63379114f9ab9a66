import random

import numpy as np
import pytest
import torch
from fastai.callback.progress import ProgressCallback
from fastai.callback.tracker import SaveModelCallback
from fastai.metrics import accuracy

from fastai_hf_callback import HFCallback
from fastai_hf_callback.fastai2.comparison.recorder import (
    base_rates,
    constant_prediction_scores,
    evaluate,
    metric_names,
)
from fastai_hf_callback.fastai2.compat.no_progress import no_progress
from tests.fastai2.learners import make_learner


def state(learn):
    generators = [(dl.rng, dl.rng.getstate(), dict(vars(dl))) for dl in learn.dls.loaders]
    return (
        dict(vars(learn)),
        [(cb, dict(vars(cb))) for cb in learn.cbs],
        [dict(vars(m)) for m in learn.metrics],
        [module.training for module in learn.model.modules()],
        generators,
        random.getstate(),
        np.random.get_state()[1].tolist(),
        torch.get_rng_state().tolist(),
    )


def test_evaluation_says_what_validate_says_and_changes_nothing():
    learn = make_learner("bert", cbs=[HFCallback(), SaveModelCallback()])
    learn.fit(1, 1e-2)
    learn.model.train()
    learn.model.model.classifier.eval()
    before = state(learn)

    evaluation = evaluate(learn)

    assert state(learn) == before
    loss, score = learn.validate()
    assert (evaluation.epoch.valid_loss, evaluation.epoch.metrics) == (loss, {"accuracy": score})
    assert torch.equal(torch.cat(evaluation.outputs).softmax(-1), learn.get_preds()[0])


def test_evaluation_changes_nothing_when_it_fails():
    learn = make_learner("bert", cbs=[])
    before = state(learn)
    with pytest.raises((TypeError, AttributeError)):
        evaluate(learn)
    assert state(learn) == before


def test_without_a_validation_set_there_is_nothing_to_evaluate():
    learn = make_learner("bert")
    learn.dls.loaders = learn.dls.loaders[:1]
    assert evaluate(learn) is None


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
    assert metric_names(make_learner(metrics=metrics).metrics) == names


def test_quiet_is_quiet_and_puts_the_bars_back(capsys):
    learn = make_learner("bert")
    learn.add_cb(ProgressCallback())
    learn.logger = print
    before = dict(vars(learn)), list(learn.cbs)
    with pytest.raises(ZeroDivisionError), no_progress(learn):
        assert not hasattr(learn, "progress")
        learn.fit(1, 1e-2)
        learn.opt = None
        raise ZeroDivisionError
    assert capsys.readouterr().out == ""
    assert (vars(learn)["progress"], vars(learn)["logger"], learn.cbs, list(learn.cbs)) == (
        before[0]["progress"],
        print,
        before[0]["cbs"],
        before[1],
    )
    learn.fit(1, 1e-2)
    assert "train_loss" in capsys.readouterr().out
