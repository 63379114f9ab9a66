"""Watches training steps from inside fastai 2's loop; what ``probe`` and ``Doctor`` have in common."""

from typing import Any, Dict, List, Optional, Set

import torch
from fastai.callback.core import Callback
from fastai.learner import Learner
from fastai.optimizer import weight_decay
from torch import Tensor

from fastai_hf_callback.diagnosis.probes import steps
from fastai_hf_callback.diagnosis.probes.weight_updates import GroupHyperparameters

__all__ = ["StepMonitor", "RawLossRecorder", "has_remaining_gradients"]


def has_remaining_gradients(learn: Learner) -> bool:
    """Whether a gradient is still there when its batch has ended; the last that the optimizer holds speaks for all."""
    optimizer_parameters = [p for group in (learn.opt.param_lists if learn.opt is not None else []) for p in group]
    last = next((p for p in reversed(optimizer_parameters) if p.grad is not None), None)
    return last is not None and bool(last.grad.any())


class RawLossRecorder(Callback, steps.LossRecorder):
    """Notes the loss that ``loss_func`` gave, before any callback scales or replaces it."""

    order = -3000

    def __init__(self) -> None:
        steps.LossRecorder.__init__(self)

    def after_loss(self) -> None:
        if self.learn.training:
            self.record(self.learn.loss_grad)


class StepMonitor(steps.StepMonitor):
    """Asks fastai 2's optimizer and splitter."""

    def optimizer_parameters(self) -> List[List[Tensor]]:
        return [] if self.learn.opt is None else [list(group) for group in self.learn.opt.param_lists]

    def layer_group_ids(self) -> Set[int]:
        """Those of the groups in force, and those of the splitter, which is asked when an optimizer is made.

        None, where the optimizer in force holds nothing of the model: its groups are another model's.
        """
        own = {id(p) for p in self.learn.model.parameters()}
        optimizer_parameters = {id(p) for group in self.optimizer_parameters() for p in group}
        if optimizer_parameters and not optimizer_parameters & own:
            return set()
        return optimizer_parameters | self._get_splitter_ids()

    def learning_rates(self) -> List[float]:
        return [] if self.learn.opt is None else [float(hyper["lr"]) for hyper in self.learn.opt.hypers]

    def read_decoupled_decay(self) -> Dict[int, GroupHyperparameters]:
        return (
            {}
            if not self._has_decoupled_decay()
            else {
                id(p): (float(hyper["lr"]), float(hyper.get("wd", 0.0)))
                for p, _, state, hyper in self.learn.opt.all_params()
                if state.get("do_wd", True)
            }
        )

    def read_coupled_decay(self) -> Dict[int, float]:
        if self.learn.opt is None or self._has_decoupled_decay():
            return {}
        return {
            id(p): float(hyper.get("wd", 0.0) or 0.0) * bool(state.get("do_wd", True))
            for p, _, state, hyper in self.learn.opt.all_params()
        }

    def read_epsilons(self) -> Dict[int, float]:
        """Of Adam and its like; Adadelta has an epsilon of another meaning."""
        if self.learn.opt is None:
            return {}
        return {
            id(p): float(hyper["eps"])
            for p, _, _, hyper in self.learn.opt.all_params()
            if hyper.get("eps") and "rho" not in hyper
        }

    def batches_per_epoch(self) -> int:
        return len(self.learn.dls.train)

    def loss_scale(self) -> Optional[float]:
        scaler = vars(self.learn).get("scaler")
        return float(scaler.get_scale()) if scaler is not None and scaler.is_enabled() else None

    def _has_decoupled_decay(self) -> bool:
        """Whether weight decay is taken from the weights, not added to the gradient."""
        optimizer: Any = self.learn.opt
        inner = vars(optimizer).get("opt") if optimizer is not None else None
        if inner is not None:
            return isinstance(inner, torch.optim.AdamW)
        return optimizer is not None and weight_decay in list(optimizer.cbs)

    def _get_splitter_ids(self) -> Set[int]:
        try:
            groups = list(self.learn.splitter(self.learn.model))
        except Exception:  # a splitter that was right for another model
            return set()
        return {id(p) for group in groups for p in ([group] if isinstance(group, Tensor) else group)}
