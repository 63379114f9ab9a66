"""The reader of fastai 2's optimizer for ``diagnosis/``."""

import copy
from collections import defaultdict
from functools import partial
from typing import Any, Dict, List, Mapping, Optional, Set

import torch
from fastai.learner import Learner
from fastai.optimizer import l2_reg, sgd_step, weight_decay
from fastcore.foundation import L
from torch import Tensor, nn

from fastai_hf_callback.diagnosis.learning_rates import scale_learning_rates
from fastai_hf_callback.diagnosis.probes.optimizer import (
    ParameterGroup,
    StepRule,
    copy_torch_optimizer,
    count_non_finite,
    has_gradient,
    has_state,
    measure_step_rule,
)

__all__ = ["OptimizerReader"]


class OptimizerReader:
    """A reader of fastai 2's optimizer and splitter.

    Parameters
    ----------
    learn : Learner
    """

    def __init__(self, learn: Learner):
        self.learn = learn

    def read_groups(self) -> List[ParameterGroup]:
        optimizer = self.learn.opt
        if optimizer is None:
            return []
        decoupled = self._has_decoupled_decay()
        return [
            ParameterGroup(
                list(group),
                hyper,
                [_read_decay(hyper) * bool(optimizer.state[p].get("do_wd", True)) for p in group],
                float(hyper["lr"]) if decoupled else None,
            )
            for group, hyper in zip(optimizer.param_lists, optimizer.hypers)
        ]

    def read_layer_groups(self) -> Set[int]:
        """Read the parameters of the optimizer's groups, and those of the splitter, called when an optimizer is made.

        There are none where the optimizer holds nothing of the model: its groups are another model's.
        """
        own = {id(p) for p in self.learn.model.parameters()}
        held = {id(p) for group in self.read_groups() for p in group.parameters}
        return set() if held and not held & own else held | self._ask_splitter()

    def read_master_weights(self) -> Dict[int, Tensor]:
        return {}

    def read_loss_scale(self) -> Optional[float]:
        scaler = vars(self.learn).get("scaler")
        return float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else None

    def read_weight_decay(self) -> float:
        return max(map(_read_decay, self.learn.opt.hypers if self.learn.opt is not None else []), default=0.0)

    def count_frozen_in_vain(self) -> int:
        optimizer = self.learn.opt
        state = getattr(optimizer, "state", None)
        if optimizer is None or not isinstance(state, defaultdict) or len(optimizer.param_lists) != 1:
            return 0
        held = [p for group in optimizer.param_lists for p in group]
        # freeze, freeze_to and unfreeze end with clear_state, which leaves an entry for each parameter; lr_find ends
        # with a plain dict, and a step of an optimizer without momentum leaves empty entries too.
        kept, stateless = set(getattr(optimizer, "_keep_on_clear", ())), len(getattr(optimizer, "cbs", ())) < 3
        cleared = all(p in state and set(state[p]) <= kept and p.requires_grad for p in held)
        has_fitted = bool(getattr(vars(self.learn).get("recorder"), "losses", ()))
        return len(held) if cleared and not (stateless and has_fitted) else 0

    def set_learning_rate(self, lr: float) -> None:
        rates = [float(hyper["lr"]) for hyper in self.learn.opt.hypers]
        self.learn.opt.set_hyper("lr", scale_learning_rates(rates, lr))

    def has_taken_steps(self) -> bool:
        optimizer = self.learn.opt
        if optimizer is None:
            return False
        if has_state(self._read_state(), ("do_wd", "force_train")):
            return True
        keeps_none = all(step in (weight_decay, l2_reg, sgd_step) for step in getattr(optimizer, "cbs", [None]))
        return keeps_none and has_gradient([p for group in optimizer.param_lists for p in group])

    def count_non_finite_state(self) -> int:
        return 0 if self.learn.opt is None else count_non_finite(self._read_state())

    def _read_state(self) -> Any:
        inner = vars(self.learn.opt).get("opt")
        return (inner if isinstance(inner, torch.optim.Optimizer) else self.learn.opt).state

    def count_batches(self) -> int:
        return len(self.learn.dls.train)

    def measure_step_rule(self) -> Optional[StepRule]:
        optimizer = self.learn.opt
        inner = None if optimizer is None else vars(optimizer).get("opt")
        if isinstance(inner, torch.optim.Optimizer):
            return measure_step_rule(partial(copy_torch_optimizer, inner))
        return None if optimizer is None else measure_step_rule(partial(_copy_optimizer, inner or optimizer))

    def has_remaining_gradients(self) -> bool:
        """Return whether gradients are still there when a batch has ended; the last one held stands for all."""
        held = [p for group in (self.learn.opt.param_lists if self.learn.opt is not None else []) for p in group]
        last = next((p for p in reversed(held) if p.grad is not None), None)
        return last is not None and bool(last.grad.any())

    def _has_decoupled_decay(self) -> bool:
        """Return whether weight decay is taken from the weights, not added to the gradient."""
        inner = vars(self.learn.opt).get("opt")
        return isinstance(inner, torch.optim.AdamW) if inner is not None else weight_decay in list(self.learn.opt.cbs)

    def _ask_splitter(self) -> Set[int]:
        try:
            groups = list(self.learn.splitter(self.learn.model))
        except Exception:  # a splitter that was right for another model
            return set()
        return {id(p) for group in groups for p in ([group] if isinstance(group, Tensor) else group)}


def _copy_optimizer(optimizer: Any, parameter: nn.Parameter) -> Any:
    made = copy.copy(optimizer)
    made.param_lists, made.state = L([L([parameter])]), defaultdict(dict)
    made.hypers = L([{**optimizer.hypers[-1], "lr": 1.0}])
    return made


def _read_decay(hyper: Mapping[str, Any]) -> float:
    return float(hyper.get("wd", 0.0) or 0.0)
