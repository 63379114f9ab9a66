"""``diagnose`` changes nothing: the fit that follows is bit for bit the one that would have been."""

import contextlib
import random

import numpy as np
import pytest
import torch
from fastai import basic_train
from fastai.callback import Callback
from fastai.callbacks.csv_logger import CSVLogger
from fastai.callbacks.tracker import SaveModelCallback
from fastai.train import GradientClipping
from torch import nn

from fastai_hf_callback import HFCallback, InvalidInputError, diagnose
from fastai_hf_callback.fastai1.diagnosis.snapshot import preserve_everything
from fastai_hf_callback.utils.rng import seed_everything
from tests.fastai1.learners import make_learner
from tests.faults.stacks.fastai1 import half_runs_on_cpu


def fresh(model="bert"):
    return make_learner(model)


def fitted(model="bert"):
    learn = make_learner(model)
    learn.fit_one_cycle(1, 1e-3)
    return learn


def frozen(model="bert"):
    learn = make_learner(model)
    learn.freeze()
    return learn


def clipped(model="bert"):
    return make_learner(model, callback_fns=[lambda learn: GradientClipping(learn, clip=0.1)])


def half(model="bert"):
    return make_learner(model).to_fp16()


def half_and_fitted(model="bert"):
    learn = half(model)
    learn.fit(1, 1e-3)
    return learn


def with_gradients(model="bert"):
    learn = fitted(model)
    for parameter in list(learn.model.parameters())[:5]:
        parameter.grad = torch.ones_like(parameter)
    return learn


def breaking(model="bert"):
    """One whose every pass raises, which the examination has to survive."""
    learn = fitted(model)
    learn.loss_func = lambda output, target: 1 / 0
    return learn


needs_half = pytest.mark.skipif(not half_runs_on_cpu(), reason="torch multiplies no half matrices here")
STATES = [
    fresh,
    fitted,
    breaking,
    *(pytest.param(make, marks=pytest.mark.slow) for make in (frozen, clipped, with_gradients)),
    *(pytest.param(make, marks=[needs_half, pytest.mark.slow]) for make in (half, half_and_fitted)),
]


@pytest.mark.parametrize("make", STATES)
def test_the_fit_that_follows_is_the_same(make):
    assert run(make, examine=True) == run(make, examine=False)


def test_a_changed_weight_would_be_seen():
    assert run(fitted, examine=True, disturb=lambda learn: next(learn.model.parameters()).data.add_(1e-6)) != run(
        fitted, examine=False
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", ["roberta", "distilbert", "xlnet", "xlm", "gpt2", "transfoxl"])
def test_on_every_architecture(model):
    assert run(lambda: fitted(model), examine=True) == run(lambda: fitted(model), examine=False)


def run(make, examine, disturb=None):
    """Weights, losses and every random state after a further fit, as numbers."""
    seed_everything(5)
    learn = make()
    seed_everything(7)
    if examine:
        diagnose(learn)
    if disturb:
        disturb(learn)
    with contextlib.suppress(ZeroDivisionError):
        learn.fit(1, 1e-3)
    draws = [random.random(), float(np.random.rand()), float(torch.rand(()))]
    sums = [p.detach().double().sum().item() for p in learn.model.state_dict().values()]
    return sums, [float(v) for v in learn.recorder.losses], draws


@pytest.mark.parametrize("make", STATES)
def test_nothing_of_the_learner_is_another(make):
    learn = make()
    before = state_of(learn)
    diagnose(learn)
    after = state_of(learn)
    assert set(before) == set(after)
    for name, value in before.items():
        assert same(value, after[name]), name


class Deep(Callback):
    """Keeps what it hears in places that a shallow copy would share."""

    def __init__(self):
        self.heard, self.counts, self.mean = {"losses": []}, np.zeros(2), torch.zeros(2)

    def on_batch_end(self, train, **kwargs):
        self.heard["losses"].append(train)
        self.counts += 1
        self.mean.add_(1)


def test_what_a_callback_keeps_deep_inside_is_not_touched():
    learn = make_learner()
    callback = Deep()
    learn.callbacks.append(callback)
    diagnose(learn)
    assert callback.heard == {"losses": []} and not callback.counts.any() and not bool(callback.mean.abs().sum())
    learn.fit(1, 1e-3)
    assert callback.heard["losses"] and callback.counts.all() and bool((callback.mean > 0).all())  # it does hear a fit


def state_of(learn):
    """By name: objects that must be the same objects, and tensors that must be equal."""
    found = {f"learn.{k}": v for k, v in vars(learn).items()}
    found.update({f"callbacks[{i}]": cb for i, cb in enumerate(learn.callbacks)})
    for i, callback in enumerate(learn.callbacks):
        found.update({f"callbacks[{i}].{k}": v for k, v in vars(callback).items()})
    for name, module in learn.model.named_modules():
        found.update(
            {
                f"{name}.training": module.training,
                f"{name} keys": sorted(vars(module)),
                f"{name} hooks": len(module._forward_pre_hooks) + len(module._forward_hooks),
            }
        )
    for name, parameter in learn.model.named_parameters():
        found.update(
            {
                name: parameter,
                f"{name} data": parameter.data_ptr(),
                f"{name} copy": parameter.detach().clone(),
                f"{name} grad": parameter.grad,
                f"{name} wants": parameter.requires_grad,
            }
        )
    optimizer = vars(learn).get("opt")
    if optimizer:
        found["opt.opt"] = optimizer.opt
        for i, group in enumerate(optimizer.opt.param_groups):
            found.update({f"group {i} {k}": v for k, v in group.items() if k != "params"})
        for i, state in enumerate(optimizer.opt.state.values()):
            found.update({f"state {i} {k}": v.clone() if isinstance(v, torch.Tensor) else v for k, v in state.items()})
    found.update(
        {
            "loop": basic_train.loss_batch,
            "bars": basic_train.progress_bar,
            "grad": torch.is_grad_enabled(),
            "torch": torch.get_rng_state(),
            "python": random.getstate(),
            "numpy": list(np.random.get_state()[1]),
            "dropout": nn.functional.dropout,
        }
    )
    return found


def same(one, other):
    if isinstance(one, torch.Tensor) and not isinstance(one, nn.Parameter):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    return (
        one is other
        or type(one) is type(other)
        and isinstance(one, (bool, int, float, str, list, tuple, dict))
        and one == other
    )


def test_files_are_not_written(tmp_path):
    learn = make_learner()
    learn.path = tmp_path
    learn.callbacks += [CSVLogger(learn), SaveModelCallback(learn, name="best")]
    diagnose(learn)
    assert list(tmp_path.rglob("*.*")) == []


def test_state_of_a_users_own_callback_and_lists_are_put_back():
    class Counts(Callback):
        def __init__(self):
            self.seen, self.kept = 0, []

        def on_batch_begin(self, **kwargs):
            self.seen += 1
            self.kept.append(self.seen)

    learn = make_learner(callbacks=[HFCallback(), Counts()])
    diagnose(learn)
    counts = learn.callbacks[1]
    assert counts.seen == 0 and counts.kept == []


def test_put_back_also_when_something_raises():
    learn = fitted()
    before = state_of(learn)
    with pytest.raises(RuntimeError, match="in the middle"):
        with preserve_everything(learn):
            learn.fit(1, 1e-2)
            learn.callbacks.clear()
            learn.model = None
            raise RuntimeError("in the middle")
    after = state_of(learn)
    assert all(same(value, after[name]) for name, value in before.items())


def test_what_is_no_learner_is_refused_in_one_line():
    with pytest.raises(InvalidInputError, match="expected a fastai Learner"):
        diagnose(nn.Linear(2, 2))
    with pytest.raises(InvalidInputError, match="batches=0"):
        diagnose(make_learner(), batches=0)


def test_a_healthy_learner_is_told_what_was_looked_at():
    said = str(diagnose(make_learner()))
    assert said.startswith("HEALTHY") and "gradients" in said.splitlines()[0] and "\n  targets " in said
