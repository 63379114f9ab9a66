"""Watches training steps from inside fastai 1's loop; what ``probe`` and ``Doctor`` have in common."""
from typing import Any, Dict, List, Optional, Set

from fastai.basic_train import Learner
from fastai.callback import Callback
from torch import Tensor

from fastai_hf_callback.diagnosis.probes import steps
from fastai_hf_callback.diagnosis.probes.weight_updates import GroupHyper

__all__ = ["StepWatch", "LossBefore", "opt_params", "masters_of"]


class LossBefore(Callback, steps.Losses):
    """Notes the loss that ``loss_func`` gave, before any callback scales or replaces it."""

    _order = -3000

    def on_backward_begin(self, last_loss: Tensor, **kwargs: Any) -> None:
        self.note(last_loss)


class StepWatch(steps.StepWatch):
    """Asks fastai 1's optimizer, layer groups and callbacks."""

    def held(self) -> List[List[Tensor]]:
        return opt_params(self.learn.opt)

    def grouped(self) -> Set[int]:
        return {id(p) for group in self.learn.layer_groups for p in group.parameters()}

    def masters(self) -> Dict[int, Tensor]:
        return masters_of(self.learn)

    def rates(self) -> List[float]:
        return [float(g["lr"]) for g in getattr(self.learn.opt, "param_groups", None) or []]

    def decoupled_decay(self) -> Dict[int, GroupHyper]:
        return _hyper_of(self.learn.opt)

    def coupled_decay(self) -> Dict[int, float]:
        if getattr(self.learn.opt, "true_wd", False):
            return {}
        groups = getattr(self.learn.opt, "param_groups", None) or []
        return {id(p): float(g.get("weight_decay", 0.0)) for g in groups for p in g["params"]}

    def epsilons(self) -> Dict[int, float]:
        groups = getattr(self.learn.opt, "param_groups", None) or []
        return {id(p): float(g["eps"]) for g in groups if _divides_by_size(g) for p in g["params"]}

    def batches_in_an_epoch(self) -> int:
        return len(self.learn.data.train_dl)

    def loss_scale(self) -> Optional[float]:
        mixed = next((cb for cb in vars(self.learn).values() if _scales(cb)), None)
        return None if mixed is None else float(mixed.loss_scale)


def opt_params(optimizer: Any) -> List[List[Tensor]]:
    """The parameters the optimizer holds, by group; nothing where there is none."""
    return [list(group["params"]) for group in getattr(optimizer, "param_groups", None) or []]


def masters_of(learn: Learner) -> Dict[int, Tensor]:
    """id of a half parameter -> its full-precision copy, where mixed precision keeps such."""
    pairs: Dict[int, Tensor] = {}
    held = {id(p) for group in opt_params(vars(learn).get("opt")) for p in group}
    for holder in [*learn.callbacks, *vars(learn).values()]:
        if not isinstance(holder, Callback):
            continue
        half, full = vars(holder).get("model_params"), vars(holder).get("master_params")
        if not half or not full:
            continue
        for ours, theirs in zip(half, full):
            # Several callbacks may hold copies (a probe's own beside the live one's): those that are stepped count.
            pairs.update({id(p): m for p, m in zip(ours, theirs) if p.shape == m.shape
                          and (id(m) in held or id(p) not in pairs)})
    return pairs


def _divides_by_size(group: Dict[str, Any]) -> bool:
    """Adam and its like; Adadelta has an epsilon of another meaning."""
    return bool(group.get("eps")) and "rho" not in group


def _scales(thing: Any) -> bool:
    return isinstance(thing, Callback) and "loss_scale" in vars(thing)


def _hyper_of(optimizer: Any) -> Dict[int, GroupHyper]:
    """The decoupled decay that fastai's wrapper applies outside of the optimizer's step, by parameter."""
    groups = getattr(optimizer, "param_groups", None) or []
    if not getattr(optimizer, "true_wd", False):
        return {}
    found: Dict[int, GroupHyper] = {}
    for lr, wd, weights, norms in zip(optimizer._lr, optimizer._wd, groups[::2], groups[1::2]):
        found.update({id(p): (float(lr), float(wd)) for p in weights["params"]})
        if optimizer.bn_wd:
            found.update({id(p): (float(lr), float(wd)) for p in norms["params"]})
    return found
