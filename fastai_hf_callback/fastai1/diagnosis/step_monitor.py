"""Watches training steps from inside fastai 1's loop; what ``probe`` and ``Doctor`` have in common."""

from typing import Any, Dict, List, Optional, Set

from fastai.basic_train import Learner
from fastai.callback import Callback
from torch import Tensor

from fastai_hf_callback.diagnosis.probes import steps
from fastai_hf_callback.diagnosis.probes.weight_updates import GroupHyperparameters

__all__ = ["StepMonitor", "RawLossRecorder", "list_optimizer_parameters", "find_master_copies"]


class RawLossRecorder(Callback, steps.LossRecorder):
    """Notes the loss that ``loss_func`` gave, before any callback scales or replaces it."""

    _order = -3000

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> None:
        self.record(last_loss)


class StepMonitor(steps.StepMonitor):
    """Asks fastai 1's optimizer, layer groups and callbacks."""

    def optimizer_parameters(self) -> List[List[Tensor]]:
        return list_optimizer_parameters(self.learn.opt)

    def layer_group_ids(self) -> Set[int]:
        return {id(p) for group in self.learn.layer_groups for p in group.parameters()}

    def master_weights(self) -> Dict[int, Tensor]:
        return find_master_copies(self.learn)

    def learning_rates(self) -> List[float]:
        return [float(g["lr"]) for g in getattr(self.learn.opt, "param_groups", None) or []]

    def read_decoupled_decay(self) -> Dict[int, GroupHyperparameters]:
        return _compute_decoupled_decay(self.learn.opt)

    def read_coupled_decay(self) -> Dict[int, float]:
        if getattr(self.learn.opt, "true_wd", False):
            return {}
        groups = getattr(self.learn.opt, "param_groups", None) or []
        return {id(p): float(g.get("weight_decay", 0.0)) for g in groups for p in g["params"]}

    def read_epsilons(self) -> Dict[int, float]:
        groups = getattr(self.learn.opt, "param_groups", None) or []
        return {id(p): float(g["eps"]) for g in groups if _is_adam_like(g) for p in g["params"]}

    def batches_per_epoch(self) -> int:
        return len(self.learn.data.train_dl)

    def loss_scale(self) -> Optional[float]:
        mixed = next((cb for cb in vars(self.learn).values() if _has_loss_scale(cb)), None)
        return None if mixed is None else float(mixed.loss_scale)


def list_optimizer_parameters(optimizer: Any) -> List[List[Tensor]]:
    """The parameters the optimizer holds, by group; nothing where there is none."""
    return [list(group["params"]) for group in getattr(optimizer, "param_groups", None) or []]


def find_master_copies(learn: Learner) -> Dict[int, Tensor]:
    """id of a half parameter -> its full-precision copy, where mixed precision keeps such."""
    pairs: Dict[int, Tensor] = {}
    optimizer_parameters = {id(p) for group in list_optimizer_parameters(vars(learn).get("opt")) for p in group}
    for holder in [*learn.callbacks, *vars(learn).values()]:
        if not isinstance(holder, Callback):
            continue
        half, full = vars(holder).get("model_params"), vars(holder).get("master_params")
        if not half or not full:
            continue
        for ours, theirs in zip(half, full):
            # Several callbacks may hold copies (a probe's own beside the live one's): those that are stepped count.
            pairs.update(
                {
                    id(p): m
                    for p, m in zip(ours, theirs)
                    if p.shape == m.shape and (id(m) in optimizer_parameters or id(p) not in pairs)
                }
            )
    return pairs


def _is_adam_like(group: Dict[str, Any]) -> bool:
    """Adam and its like; Adadelta has an epsilon of another meaning."""
    return bool(group.get("eps")) and "rho" not in group


def _has_loss_scale(thing: Any) -> bool:
    return isinstance(thing, Callback) and "loss_scale" in vars(thing)


def _compute_decoupled_decay(optimizer: Any) -> Dict[int, GroupHyperparameters]:
    """The decoupled decay that fastai's wrapper applies outside of the optimizer's step, by parameter."""
    groups = getattr(optimizer, "param_groups", None) or []
    if not getattr(optimizer, "true_wd", False):
        return {}
    found: Dict[int, GroupHyperparameters] = {}
    for lr, wd, weights, norms in zip(optimizer._lr, optimizer._wd, groups[::2], groups[1::2]):
        found.update({id(p): (float(lr), float(wd)) for p in weights["params"]})
        if optimizer.bn_wd:
            found.update({id(p): (float(lr), float(wd)) for p in norms["params"]})
    return found
