"""Learners in every state that an examination may meet, all that can be seen of one, and what a further fit makes."""

import contextlib
import random
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from fastai_hf_callback.utils.rng import seed_everything
from tests.installed_stack import FASTAI_1, FASTAI_2

if not FASTAI_1 and not FASTAI_2:
    pytest.skip("no fastai here", allow_module_level=True)
if FASTAI_1:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from fastai_hf_callback.fastai1.diagnosis.snapshot import preserve_everything
        from tests.fastai1.diagnosis import learner_states as fastai
        from tests.fastai1.learners import make_learner
else:
    from fastai_hf_callback.fastai2.diagnosis.snapshot import preserve_everything
    from tests.fastai2.diagnosis import learner_states as fastai
    from tests.fastai2.learners import make_learner

__all__ = ["STATES", "differences", "fastai", "fitted", "make_learner", "preserve_everything", "run", "state_of"]


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


def with_gradients(model="bert"):
    learn = fitted(model)
    for parameter in list(learn.model.parameters())[:5]:
        parameter.grad = torch.ones_like(parameter)
    for parameter in list(learn.model.parameters())[5:9]:
        parameter.grad = None
    return learn


def breaking(model="bert"):
    """One whose every pass raises, which the examination has to survive."""
    learn = fitted(model)
    learn.loss_func = lambda output, target: 1 / 0
    return learn


STATES = [fresh, fitted, breaking, frozen, with_gradients, *fastai.STATES]


def run(make, look=None):
    """Weights, losses and every random state after a further fit, as numbers; `look` may come before it."""
    seed_everything(5)
    learn = make()
    seed_everything(7)
    if look is not None:
        look(learn)
    with contextlib.suppress(ArithmeticError):
        learn.fit(1, 1e-3)
    draws = [random.random(), float(np.random.rand()), float(torch.rand(())), *fastai.draws_of(learn)]
    sums = [p.detach().double().sum().item() for p in learn.model.state_dict().values()]
    return sums, [float(v) for v in learn.recorder.losses], draws


def state_of(learn):
    """By name: objects that must be the same objects, and values that must be equal."""
    return {
        **{f"learn.{k}": v for k, v in vars(learn).items()},
        **fastai.state_of_fastai(learn),
        **_state_of_model(learn.model),
        "grad": torch.is_grad_enabled(),
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": list(np.random.get_state()[1]),
        "dropout": nn.functional.dropout,
    }


def _state_of_model(model):
    found = {f"buffer {name}": buffer.clone() for name, buffer in model.named_buffers()}
    for name, module in model.named_modules():
        found.update(
            {
                f"{name}.training": module.training,
                f"{name} keys": sorted(vars(module)),
                f"{name} hooks": len(module._forward_pre_hooks) + len(module._forward_hooks),
            }
        )
    for name, parameter in model.named_parameters():
        found.update(
            {
                name: parameter,
                f"{name} data": parameter.data_ptr(),
                f"{name} copy": parameter.detach().clone(),
                f"{name} grad": parameter.grad,
                f"{name} wants": parameter.requires_grad,
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


def differences(before, after):
    return sorted(set(before) ^ set(after)) + [
        name for name in before if name in after and not same(before[name], after[name])
    ]
