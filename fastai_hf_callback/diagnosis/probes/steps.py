"""Training steps monitored from inside either fastai's loop. Imports torch."""

import math
from statistics import median_high
from typing import Any, Callable, Dict, List, Optional, Set, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback.model.gradient_flow import ReachedLeaves, find_reached_leaves
from fastai_hf_callback.model.output import tensors_in
from fastai_hf_callback.results.evidence import Graph, Precision, Stepping

from .optimizer import OptimizerReader, ParameterGroup
from .weight_updates import WeightSample, WeightUpdate

__all__ = ["StepMonitor", "LossRecorder", "probe_graph", "compute_gradient_norm", "has_hidden_checkpoints"]

# Reading all gradients of a large model takes as long as reading its weights: a running fit's are read where clipping
# has left little of them.
CLEARLY_UNCLIPPED = 0.1
# The cosine of a gradient and the same, scaled, in any precision.
UNTURNED = 0.9


class LossRecorder:
    """The losses that ``loss_func`` returned, before any callback scales or replaces them."""

    def __init__(self) -> None:
        self.losses: List[float] = []

    def record(self, loss: Tensor) -> None:
        """Record a loss; to be called before the callbacks."""
        self.losses.append(float(loss.detach().float().mean()))

    def compute_loss_factor(self, propagated: List[float]) -> Optional[float]:
        """Divide the propagated losses by those the loss function returned; None where there is nothing to divide."""
        pairs = [(b, a) for a, b in zip(self.losses, propagated) if a and math.isfinite(a) and math.isfinite(b)]
        return sum(b / a for b, a in pairs) / len(pairs) if pairs else None


class StepMonitor:
    """A monitor of what steps do, called by a callback that comes after all others.

    Parameters
    ----------
    optimizer : OptimizerReader
        Of the learner that is stepped.
    parameters : int
        How many parameters are sampled; 0 for all.
    elements : int
        Of each, at most.
    """

    def __init__(self, optimizer: OptimizerReader, parameters: int = 0, elements: int = 1024):
        self.optimizer, self.limit, self.elements = optimizer, parameters, elements
        self.stepping = Stepping(steps=0)
        self.graph: Optional[Graph] = None
        self.precision: Optional[Precision] = None
        self.logits: Any = None
        self.target: Any = None
        self._sample: Optional[WeightSample] = None
        self._skipped = False
        self._weights_after_step: Optional[List[Tensor]] = None
        self.reached: Set[int] = set()
        self._gradient_hooks: List[Any] = []
        self._raw_gradient_norms: List[float] = []
        self._raw_gradient: Optional[Tensor] = None
        self._moved: Dict[int, bool] = {}
        self._weight_updates: List[List[WeightUpdate]] = []
        self._coupled_decay_ratios: List[float] = []
        self._epsilon_damping: List[float] = []
        self.losses: List[float] = []

    def begin_batch(self, target: Any) -> None:
        self.target = target
        master_weights = self.optimizer.read_master_weights()
        watched = self._select_parameters(
            [master_weights.get(id(p), p) for p in self.optimizer.learn.model.parameters() if p.requires_grad]
        )
        self._sample, last = WeightSample(watched, self.elements), self._weights_after_step
        if last is not None and len(last) == len(self._sample.before):
            self.stepping.changed_between_steps += any(
                a.shape == b.shape and not _bitwise_equal(a, b) for a, b in zip(last, self._sample.before)
            )
        self._weights_after_step = None

    def ignore_step(self) -> None:
        """Skip a step: the next monitored one then does not directly follow the last."""
        self._weights_after_step = None

    def begin_loss(self, logits: Any) -> None:
        self.logits = logits

    def begin_backward(self, loss: Tensor) -> None:
        self.losses.append(float(loss.detach().float().mean()))
        self.stepping.non_finite_losses += not math.isfinite(self.losses[-1])
        if self.graph is None:
            self.graph = probe_graph(self.optimizer.learn.model, self.logits, loss)
            self.reached = {id(p) for t in tensors_in(self.logits) for p in find_reached_leaves(t).parameters}
        self.logits = None
        self._hook_one_gradient()

    def finish_backward(self, skip_step: bool, skip_backward: bool) -> None:
        groups = self.optimizer.read_groups()
        parameters = [p for group in groups for p in group.parameters]
        self._skipped = bool(skip_step)
        self.stepping.skipped_steps += self._skipped
        self.stepping.skipped_backwards += bool(skip_backward)
        if groups:
            self.stepping.lr_in_force = max(*(group.lr for group in groups), self.stepping.lr_in_force or 0.0)
        self._compute_clip_ratio()
        if not self.limit or (self.stepping.clip_ratio or 0.0) < CLEARLY_UNCLIPPED:
            self.stepping.gradient_norms.append(
                compute_gradient_norm(parameters or self.optimizer.learn.model.parameters())
            )
        if self._sample is not None:
            self._sample.record_gradients()
            self._record_coupled_decay(self._sample, groups)
            self._record_epsilon_damping(self._sample, groups)
        self._record_precision()

    def finish_step(self, skip_zero: bool) -> None:
        self.stepping.skipped_zero_grads += bool(skip_zero)

    def finish_batch(self) -> None:
        self.stepping.steps += 1
        if self._sample is None:
            return
        groups = self.optimizer.read_groups()
        decays = {i: decay for group in groups for i, decay in group.decoupled_decays().items()}
        weight_updates = self._sample.weight_updates(decays)
        for parameter, move in zip(self._sample.parameters, weight_updates):
            self._moved[id(parameter)] = self._moved.get(id(parameter), False) or move.moved
        had_gradient = [g is not None and bool((g != 0).any()) for g in self._sample.gradients]
        self.stepping.with_gradient = max(self.stepping.with_gradient, sum(had_gradient))
        rounded_away = [m.rounded_away for m in weight_updates if m.rounded_away is not None]
        if rounded_away:
            self.stepping.lost_in_rounding = sum(rounded_away) / len(rounded_away)
        if not self._skipped:
            self._weight_updates.append(weight_updates)
        reached = [had for p, had in zip(self._sample.parameters, had_gradient) if id(p) in self.reached]
        if reached:
            share = sum(reached) / len(reached)
            self.stepping.gradient_share = max(share, self.stepping.gradient_share or 0.0)
        self._weights_after_step = WeightSample(self._sample.parameters, self.elements).before
        self._sample = None

    def summarize(self) -> Stepping:
        """Summarize the steps so far; the monitor goes on collecting."""
        step, learn = self.stepping, self.optimizer.learn
        master_weights = self.optimizer.read_master_weights()
        optimizer_parameters = {id(p) for group in self.optimizer.read_groups() for p in group.parameters}
        layer_group_ids = self.optimizer.read_layer_groups()
        trainable = [(n, p) for n, p in learn.model.named_parameters() if p.requires_grad]
        outside = [
            n
            for n, p in trainable
            if id(p) not in optimizer_parameters and id(master_weights.get(id(p), p)) not in optimizer_parameters
        ]
        step.trainable, step.in_optimizer = len(trainable), len(trainable) - len(outside)
        step.in_layer_groups = sum(id(p) in layer_group_ids for _, p in trainable)
        step.not_in_optimizer_names = outside[:5]
        own = {id(p) for p in learn.model.parameters()} | {id(m) for m in master_weights.values()}
        step.in_optimizer_only = len(optimizer_parameters - own)
        step.moved = sum(self._moved.values())
        updates, decays = _update_ratios(self._weight_updates)
        step.update, step.decay_over_gradient = _median(updates), _median(decays)
        step.largest_update = max(updates, default=None)
        if self._coupled_decay_ratios:
            step.decay_over_gradient = _median(self._coupled_decay_ratios)
        step.epsilon_damping = _median(self._epsilon_damping[len(self._epsilon_damping) // 2 :])
        step.steps_in_an_epoch = self.optimizer.count_batches()
        return step

    def _hook_one_gradient(self) -> None:
        """Add a hook to the last parameter that is reached: its gradient from backward, before a callback clips it."""
        if self.optimizer.read_master_weights():
            return  # the optimizer then gets another tensor, unscaled
        last = [p for p in self.optimizer.learn.model.parameters() if p.requires_grad and id(p) in self.reached][-1:]
        self._gradient_hooks = [(p, p.register_hook(self._record_raw_gradient)) for p in last]

    def _record_raw_gradient(self, gradient: Tensor) -> None:
        self._raw_gradient_norms.append(float(gradient.detach().float().norm()))
        self._raw_gradient = gradient.detach().flatten()[: self.elements].float().clone()

    def _compute_clip_ratio(self) -> None:
        for parameter, handle in self._gradient_hooks:
            handle.remove()
            if self._raw_gradient_norms and self._raw_gradient_norms[-1] > 0 and parameter.grad is not None:
                ratio = float(parameter.grad.detach().float().norm()) / self._raw_gradient_norms[-1]
                known = self.stepping.clip_ratio
                self.stepping.clip_ratio = ratio if known is None else max(known, ratio)
                least = self.stepping.least_clip_ratio
                self.stepping.least_clip_ratio = ratio if least is None else min(least, ratio)
                if ratio > 1:
                    self.stepping.gradient_turned |= self._is_turned(parameter.grad)
        self._gradient_hooks = []

    def _is_turned(self, gradient: Tensor) -> bool:
        """Return whether what the step gets points elsewhere than what backward gave: scaling it does not turn it."""
        raw, now = self._raw_gradient, gradient.detach().flatten()[: self.elements].float()
        if raw is None or raw.shape != now.shape:
            return False
        return float(torch.nn.functional.cosine_similarity(raw, now, dim=0)) < UNTURNED

    def compare_executed(self, executed: List[nn.Module]) -> None:
        """Compare the modules that ran, in their order, with what the output reaches."""
        if self.graph is None or not executed:
            return
        parameters = {id(p): p for module in executed for p in module.parameters(recurse=False) if p.requires_grad}
        names = {id(p): name for name, p in self.optimizer.learn.model.named_parameters()}
        outside = [p for i, p in parameters.items() if i not in self.reached]
        self.stepping.executed_elements = sum(p.numel() for p in parameters.values())
        self.stepping.executed_unreached = sum(p.numel() for p in outside)
        self.stepping.executed_unreached_names = [names.get(id(p), "?") for p in outside[:3]]
        head = list(executed[-1].parameters(recurse=False))
        modules = self.optimizer.learn.model.named_modules()
        self.graph.head_name = next((name for name, module in modules if module is executed[-1]), "")
        self.graph.head_trainable = any(p.requires_grad for p in head)
        self.graph.head_unreached = (
            bool(self.graph.reached_by_output)
            and not self.graph.opaque
            and any(p.requires_grad for p in head)
            and not any(id(p) in self.reached for p in head)
        )

    def _record_coupled_decay(self, sample: WeightSample, groups: List[ParameterGroup]) -> None:
        """Record decay over gradient, where the optimizer adds decay to the gradient."""
        decays = {i: decay for group in groups for i, decay in group.coupled_decays().items()}
        sampled = zip(sample.parameters, sample.before, sample.gradients)
        pairs = [(w.norm() * decays.get(id(p), 0.0), g.norm()) for p, w, g in sampled if g is not None and p.dim() > 1]
        gradient = sum(float(g) ** 2 for _, g in pairs) ** 0.5
        if gradient > 0 and decays:
            self._coupled_decay_ratios.append(sum(float(d) ** 2 for d, _ in pairs) ** 0.5 / gradient)

    def _record_epsilon_damping(self, sample: WeightSample, groups: List[ParameterGroup]) -> None:
        """Record the share of this step that Adam's epsilon leaves."""
        epsilons, kept = {id(p): group.epsilon for group in groups for p in group.parameters}, []
        for parameter, gradient in zip(sample.parameters, sample.gradients):
            epsilon = epsilons.get(id(parameter), 0.0)
            pushed = None if gradient is None or parameter.dim() < 2 else gradient[gradient != 0].float()
            if epsilon and pushed is not None and len(pushed):
                size = float(pushed.pow(2).mean().sqrt())
                kept.append(size / (size + epsilon))
                self.stepping.epsilon = max(epsilon, self.stepping.epsilon or 0.0)
        if kept:
            self._epsilon_damping.append(median_high(kept))

    def _select_parameters(self, parameters: List[Tensor]) -> List[Tensor]:
        if not self.limit or len(parameters) <= self.limit:
            return parameters
        # Both ends, and evenly between: the embedding and the head are always included.
        return [parameters[round(i * (len(parameters) - 1) / (self.limit - 1))] for i in range(self.limit)]

    def _record_precision(self) -> None:
        scale = self.optimizer.read_loss_scale()
        if scale is None:
            return
        if self.precision is None:
            self.precision = Precision(scale, 0, 0, scale)
        overflowed = not math.isfinite(compute_gradient_norm(self.optimizer.learn.model.parameters()))
        self.precision.steps += 1
        self.precision.overflows += overflowed
        self.precision.loss_scale = scale


def probe_graph(model: nn.Module, logits: Any, loss: Tensor) -> Graph:
    """Follow the autograd graph from the logits and from the loss to the parameters."""
    registered = {id(p) for p in model.parameters()}
    trainable = sum(p.requires_grad for p in model.parameters())
    from_loss, from_output = find_reached_leaves(loss), ReachedLeaves()
    for tensor in tensors_in(logits):
        found = find_reached_leaves(tensor)
        from_output.parameters += found.parameters
        from_output.foreign += found.foreign
        from_output.opaque += found.opaque
        from_output.has_graph |= found.has_graph or tensor.requires_grad
    return Graph(
        registered=len(registered),
        trainable=trainable,
        reached=len({id(p) for p in from_loss.parameters} & registered),
        reached_by_output=len({id(p) for p in from_output.parameters} & registered),
        hidden=len({id(p) for p in from_output.parameters} - registered),
        foreign=len(from_output.foreign),
        opaque=len(from_loss.opaque) + len(from_output.opaque),
        output_has_graph=from_output.has_graph,
        loss_has_graph=from_loss.has_graph,
    )


def has_hidden_checkpoints(model: nn.Module, run: Callable[[], Any]) -> bool:
    """Return whether checkpoints appear in the output's graph once what the embeddings give requires a gradient."""
    embeddings = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    hooks = [module.register_forward_hook(_require_gradient) for module in embeddings]
    try:
        found = [find_reached_leaves(tensor) for tensor in tensors_in(run())]
    except Exception:  # the loop refuses such a batch: nothing is known then
        return False
    finally:
        for hook in hooks:
            hook.remove()
    return any("Checkpoint" in name for leaves in found for name in leaves.opaque)


def _require_gradient(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output.detach().requires_grad_() if not output.requires_grad else output


def compute_gradient_norm(parameters: Any) -> float:
    """Compute the 2-norm of all gradients, float; 0 where there are none, nan or inf where one is."""
    norms = [p.grad.detach().float().norm() for p in parameters if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _bitwise_equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are equal to the last bit, NaN included."""
    one, other = one.float(), other.float()
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _median(values: List[float]) -> Optional[float]:
    return median_high(values) if values else None


def _update_ratios(steps: List[List[WeightUpdate]]) -> Tuple[List[float], List[float]]:
    """Compute update over weights, and decay over update: for each step, ratios of norms over matrices."""
    updates, decays = [], []
    for weight_updates in steps:
        matrices = [m for m in weight_updates if m.is_matrix and m.rounded_away is not None]
        weight, gradient, decay = (
            math.sqrt(sum(getattr(m, part) ** 2 for m in matrices))
            for part in ("weight", "gradient_part", "decay_part")
        )
        if weight > 0 and math.isfinite(gradient):
            updates.append(gradient / weight)
            decays.append(decay / gradient if gradient > 0 else math.inf)
    return updates, decays
