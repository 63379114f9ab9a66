import random

import numpy as np
import pytest
import torch

pytest.importorskip("fastai")

from fastai.metrics import accuracy

from fastai_hf_callback import HFCallback
from fastai_hf_callback.comparison.baseline import (
    compute_base_rates,
    compute_constant_prediction_scores,
)
from fastai_hf_callback.comparison.runner import build_score_function
from fastai_hf_callback.model.output import tensors_in
from tests.installed_fastai import ADAPTER, FASTAI, make_learner, only_on

evaluate = ADAPTER.evaluate


def state(learn):
    """All that an evaluation must leave alone."""
    modes = [module.training for module in learn.model.modules()]
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    attributes = [(one, dict(vars(one))) for one in (*ADAPTER.get_callbacks(learn), *learn.metrics) if vars(one)]
    own = dict(vars(learn))
    if FASTAI == 1:
        return modes, states, attributes, own, list(learn.recorder.losses)
    return modes, states, attributes, own, [(dl.rng, dl.rng.getstate(), dict(vars(dl))) for dl in learn.dls.loaders]


def test_evaluation_says_what_validate_says_and_changes_nothing():
    callbacks = [HFCallback()]
    if FASTAI == 2:
        from fastai.callback.tracker import SaveModelCallback

        callbacks.append(SaveModelCallback())
    learn = make_learner("bert", callbacks=callbacks)
    learn.fit(1, 1e-2)
    learn.model.train()
    learn.model.model.classifier.eval()
    before = state(learn)

    evaluation = evaluate(learn)

    assert state(learn) == before
    loss, score = map(float, learn.validate())
    assert (evaluation.epoch.valid_loss, evaluation.epoch.metrics) == (loss, {"accuracy": score})
    assert torch.equal(torch.cat(evaluation.outputs).softmax(-1), learn.get_preds()[0])


@only_on(2)
def test_evaluation_changes_nothing_when_it_fails():
    learn = make_learner("bert", callbacks=[])
    before = state(learn)
    with pytest.raises((TypeError, AttributeError)):
        evaluate(learn)
    assert state(learn) == before


@only_on(2)
def test_without_a_validation_set_there_is_nothing_to_evaluate():
    learn = make_learner("bert")
    learn.dls.loaders = learn.dls.loaders[:1]
    assert evaluate(learn) is None


def test_the_base_rate_is_the_majoritys_share():
    learn = make_learner("bert")
    evaluation = evaluate(learn)
    targets = torch.cat(evaluation.targets)
    rates = compute_base_rates(evaluation, learn.loss_func, build_score_function(ADAPTER, learn.metrics, evaluation))
    assert rates["accuracy"] == pytest.approx(max(float((targets == c).float().mean()) for c in targets.unique()))


def test_models_that_say_one_thing_of_every_text_score_each_classs_share():
    learn = make_learner("bert")
    evaluation = evaluate(learn)
    targets = torch.cat(evaluation.targets)
    shares = [float((targets == c).float().mean()) for c in targets.unique()]
    score = build_score_function(ADAPTER, learn.metrics, evaluation)
    scores = compute_constant_prediction_scores(evaluation, score)
    assert sorted(scores["accuracy"]) == pytest.approx(sorted(shares))
    pairs = evaluation._replace(outputs=[(o, o) for o in evaluation.outputs])
    assert compute_constant_prediction_scores(pairs, score) == {}


@pytest.mark.parametrize("metrics, names", [([accuracy, accuracy], ["accuracy", "accuracy_2"]), ([], [])])
def test_metric_names_are_unique(metrics, names):
    learn = make_learner()
    learn.metrics = metrics
    assert ADAPTER.metric_names(learn.metrics) == names


def test_tensors_of_a_nested_batch():
    a, b, c = torch.ones(1), torch.ones(2), torch.ones(3)
    assert [t.numel() for t in tensors_in(([a, {"x": b}], (c,), None, "text"))] == [1, 2, 3]


@only_on(1)
def test_no_progress_is_quiet_and_puts_the_bars_back(capsys):
    from fastai import basic_train

    learn = make_learner("bert")
    learn.silent = False
    learn.callback_fns = [basic_train.partial(basic_train.Recorder, add_time=True, silent=False)]
    before = basic_train.master_bar, basic_train.progress_bar, learn.callback_fns
    with pytest.raises(ZeroDivisionError), ADAPTER.no_progress(learn):
        learn.fit(1, 1e-2)
        raise ZeroDivisionError
    assert capsys.readouterr().out == ""
    assert (basic_train.master_bar, basic_train.progress_bar, learn.callback_fns) == before
    learn.fit(1, 1e-2)
    assert "train_loss" in capsys.readouterr().out


@only_on(2)
def test_no_progress_is_quiet_and_puts_the_bars_back_2(capsys):
    from fastai.callback.progress import ProgressCallback

    learn = make_learner("bert")
    learn.add_cb(ProgressCallback())
    learn.logger = print
    before = dict(vars(learn)), list(learn.cbs)
    with pytest.raises(ZeroDivisionError), ADAPTER.no_progress(learn):
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
