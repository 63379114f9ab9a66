"""The reader of fastai 1's optimizer for ``diagnosis/``."""

from functools import partial
from typing import Any, Dict, List, Optional, Set

from fastai.basic_train import Learner
from fastai.callback import Callback
from torch import Tensor

from fastai_hf_callback.diagnosis.learning_rates import scale_learning_rates
from fastai_hf_callback.diagnosis.probes.optimizer import (
    ParameterGroup,
    StepRule,
    copy_torch_optimizer,
    count_non_finite,
    has_state,
    measure_step_rule,
)

__all__ = ["OptimizerReader"]


class OptimizerReader:
    """A reader of fastai 1's ``OptimWrapper``, layer groups and callbacks.

    Parameters
    ----------
    learn : Learner
    """

    def __init__(self, learn: Learner):
        self.learn = learn

    def read_groups(self) -> List[ParameterGroup]:
        optimizer = self._optimizer
        groups = getattr(optimizer, "param_groups", None) or []
        if not getattr(optimizer, "true_wd", False):
            return [_build_group(group, float(group.get("weight_decay", 0.0))) for group in groups]
        # The wrapper's own decay, outside of the optimizer's step: pairs of weights and norms.
        pairs = zip(optimizer._lr, optimizer._wd, groups[::2], groups[1::2])
        rates = [(_read_rate(lr), float(wd)) for lr, wd, _, _ in pairs for _ in range(2)]
        rates += [(0.0, 0.0)] * (len(groups) - len(rates))
        return [
            _build_group(group, wd if i % 2 == 0 or optimizer.bn_wd else 0.0, lr)
            for i, (group, (lr, wd)) in enumerate(zip(groups, rates))
        ]

    def read_layer_groups(self) -> Set[int]:
        return {id(p) for group in self.learn.layer_groups for p in group.parameters()}

    def read_master_weights(self) -> Dict[int, Tensor]:
        pairs: Dict[int, Tensor] = {}
        stepped = {id(p) for group in getattr(self._optimizer, "param_groups", None) or [] for p in group["params"]}
        for holder in [*self.learn.callbacks, *vars(self.learn).values()]:
            if not isinstance(holder, Callback):
                continue
            half, full = vars(holder).get("model_params"), vars(holder).get("master_params")
            for ours, theirs in zip(half or [], full or []):
                # Several callbacks may hold copies (a replay's own next to the live one's): the stepped ones count.
                pairs.update(
                    {
                        id(p): m
                        for p, m in zip(ours, theirs)
                        if p.shape == m.shape and (id(m) in stepped or id(p) not in pairs)
                    }
                )
        return pairs

    def read_loss_scale(self) -> Optional[float]:
        mixed = next((cb for cb in vars(self.learn).values() if _has_loss_scale(cb)), None)
        return None if mixed is None else float(mixed.loss_scale)

    def read_weight_decay(self) -> float:
        return float(self._optimizer.wd if self._optimizer else self.learn.wd)

    def count_frozen_in_vain(self) -> int:
        return 0  # freeze() refuses a single group

    def set_learning_rate(self, lr: float) -> None:
        # create_opt may have been called with fastai's default, a slice, which only fit turns into numbers.
        rates = [float(rate) if isinstance(rate, (int, float)) else 0.0 for rate in self._optimizer._lr]
        self._optimizer.lr = scale_learning_rates(rates, lr)

    def has_taken_steps(self) -> bool:
        inner = getattr(self._optimizer, "opt", None)
        return inner is not None and has_state(inner.state)

    def count_non_finite_state(self) -> int:
        inner = getattr(self._optimizer, "opt", None)
        return 0 if inner is None else count_non_finite(inner.state)

    def count_batches(self) -> int:
        return len(self.learn.data.train_dl)

    def measure_step_rule(self) -> Optional[StepRule]:
        inner = getattr(self._optimizer, "opt", None)
        return None if inner is None else measure_step_rule(partial(copy_torch_optimizer, inner))

    @property
    def _optimizer(self) -> Any:
        return vars(self.learn).get("opt")


def _read_rate(lr: Any) -> float:
    """Return a group's rate; fastai makes optimizers with a slice, and sets numbers as a fit begins."""
    return float((lr.stop if isinstance(lr, slice) else lr) or 0.0)


def _build_group(group: Dict[str, Any], decay: float, decoupled_lr: Optional[float] = None) -> ParameterGroup:
    return ParameterGroup(group["params"], group, [decay] * len(group["params"]), decoupled_lr)


def _has_loss_scale(thing: Any) -> bool:
    return isinstance(thing, Callback) and "loss_scale" in vars(thing)
