"""Learners in every state that an examination may meet, all that can be seen of one, and what a further fit makes."""

import contextlib
import random

import numpy as np
import torch
from fastai.callback.core import Callback
from fastai.callback.training import GradientAccumulation, GradientClip
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper
from torch import nn

from fastai_hf_callback import HFCallback
from fastai_hf_callback.utils.rng import seed_everything
from tests.fastai2.learners import make_learner


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


def clipped_and_accumulating(model="bert"):
    return make_learner(model, cbs=[HFCallback(), GradientClip(0.1), GradientAccumulation(16)])


def with_torchs_optimizer(model="bert"):
    learn = make_learner(model, opt_func=lambda params, **kwargs: OptimWrapper(params, torch.optim.AdamW, **kwargs))
    learn.fit(1, 1e-3)
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


class Breaks(Callback):
    """Raises in the middle of a step."""

    def before_step(self):
        raise ArithmeticError("in the middle of a step")


def breaking_in_the_step(model="bert"):
    learn = fitted(model)
    learn.add_cb(Breaks())
    return learn


STATES = [
    fresh,
    fitted,
    frozen,
    clipped_and_accumulating,
    with_torchs_optimizer,
    with_gradients,
    breaking,
    breaking_in_the_step,
]


def run(make, look=None):
    """Weights, losses and every random state after a further fit, as numbers; `look` may come before it."""
    seed_everything(5)
    learn = make()
    seed_everything(7)
    if look is not None:
        look(learn)
    with contextlib.suppress(ArithmeticError):
        learn.fit(1, 1e-3)
    draws = [random.random(), float(np.random.rand()), float(torch.rand(())), learn.dls.train.rng.random()]
    sums = [p.detach().double().sum().item() for p in learn.model.state_dict().values()]
    return sums, [float(v) for v in learn.recorder.losses], draws


def state_of(learn):
    """By name: objects that must be the same objects, and values that must be equal."""
    found = {f"learn.{k}": v for k, v in vars(learn).items()}
    found["callbacks"] = [id(cb) for cb in learn.cbs]
    for i, callback in enumerate(learn.cbs):
        found.update({f"callbacks[{i}].{k}": v for k, v in vars(callback).items()})
    for i, metric in enumerate(learn.metrics):
        found.update({f"metrics[{i}].{k}": v for k, v in vars(metric).items()})
    for i, loader in enumerate(learn.dls.loaders):
        found.update({f"loaders[{i}].{k}": v for k, v in vars(loader).items()})
        found[f"loaders[{i}].rng's state"] = loader.rng.getstate()
    _add_model(found, learn.model)
    if learn.opt is not None:
        _add_optimizer(found, learn.opt)
    found.update(
        {
            "loop": Learner._do_one_batch,
            "grad": torch.is_grad_enabled(),
            "torch": torch.get_rng_state(),
            "python": random.getstate(),
            "numpy": list(np.random.get_state()[1]),
            "autocast": [torch.is_autocast_enabled("cpu"), torch.is_autocast_enabled("cuda")],
        }
    )
    return found


def _add_model(found, model):
    found.update({f"buffer {name}": buffer.clone() for name, buffer in model.named_buffers()})
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


def _add_optimizer(found, optimizer):
    found["hypers"] = [dict(hyper) for hyper in optimizer.hypers]
    found["held"] = [[id(p) for p in group] for group in optimizer.param_lists]
    for holder in (optimizer, vars(optimizer).get("opt")):
        for i, (parameter, state) in enumerate(holder.state.items() if holder is not None else ()):
            found[f"{type(holder).__name__} state {i} of"] = parameter
            found.update(
                {
                    f"{type(holder).__name__} state {i} {k}": v.clone() if isinstance(v, torch.Tensor) else v
                    for k, v in state.items()
                }
            )


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
