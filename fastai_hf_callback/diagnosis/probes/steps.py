"""Watches training steps from inside either fastai's loop. Imports torch."""
import math
from typing import Any, Dict, List, Optional, Set, Tuple

import torch
from torch import Tensor, nn

from fastai_hf_callback.results.evidence import Graph, Precision, Stepping
from fastai_hf_callback.model.gradient_flow import Reach, reach
from fastai_hf_callback.model.output import tensors_in
from .weight_updates import GroupHyper, Move, Sample

__all__ = ["StepWatch", "Losses", "look_at_graph", "gradient_norm"]


class Losses:
    """The losses that ``loss_func`` gave, before any callback scales or replaces them."""

    def __init__(self) -> None:
        self.losses: List[float] = []

    def note(self, loss: Tensor) -> None:
        """Called before the callbacks."""
        self.losses.append(float(loss.detach().float().mean()))

    def factor_of(self, propagated: List[float]) -> Optional[float]:
        """The propagated losses over those the loss function gave; None where there is nothing to divide."""
        pairs = [(b, a) for a, b in zip(self.losses, propagated) if a and math.isfinite(a) and math.isfinite(b)]
        return sum(b / a for b, a in pairs) / len(pairs) if pairs else None


class StepWatch:
    """Collects what steps do; fed by a callback that comes after all others. Each fastai's own says how it is asked.

    Parameters
    ----------
    learn : Learner of either fastai
    parameters : int
        How many parameters are sampled; 0 for all.
    elements : int
        Of each, at most.
    """

    def __init__(self, learn: Any, parameters: int = 0, elements: int = 1024):
        self.learn, self.limit, self.elements = learn, parameters, elements
        self.stepping = Stepping(steps=0)
        self.graph: Optional[Graph] = None
        self.precision: Optional[Precision] = None
        self.logits: Any = None
        self.target: Any = None
        self._sample: Optional[Sample] = None
        self._skipped = False
        self._after: Optional[List[Tensor]] = None
        self.reached: Set[int] = set()
        self._hooked: List[Any] = []
        self._given: List[float] = []
        self._moved: Dict[int, bool] = {}
        self._moves: List[List[Move]] = []
        self._coupled: List[float] = []
        self._kept: List[float] = []
        self.losses: List[float] = []

    def batch_begins(self, target: Any) -> None:
        self.target = target
        masters = self.masters()
        watched = self._chosen([masters.get(id(p), p) for p in self.learn.model.parameters() if p.requires_grad])
        self._sample, last = Sample(watched, self.elements), self._after
        if last is not None and len(last) == len(self._sample.before):
            self.stepping.changed_between_steps += any(
                a.shape == b.shape and not _same(a, b) for a, b in zip(last, self._sample.before))
        self._after = None

    def forget_step(self) -> None:
        """A step goes by unwatched: the next one that is watched does not follow the last."""
        self._after = None

    def loss_begins(self, logits: Any) -> None:
        self.logits = logits

    def backward_begins(self, loss: Tensor) -> None:
        self.losses.append(float(loss.detach().float().mean()))
        self.stepping.non_finite_losses += not math.isfinite(self.losses[-1])
        if self.graph is None:
            self.graph = look_at_graph(self.learn.model, self.logits, loss)
            self.reached = {id(p) for t in tensors_in(self.logits) for p in reach(t).parameters}
        self.logits = None
        self._watch_one_gradient()

    def backward_ended(self, skip_step: bool, skip_backward: bool) -> None:
        parameters = [p for group in self.held() for p in group]
        norm = gradient_norm(parameters or self.learn.model.parameters())
        self.stepping.gradient_norms.append(norm)
        self.stepping.non_finite_gradients += not math.isfinite(norm)
        self._skipped = bool(skip_step)
        self.stepping.skipped_steps += self._skipped
        self.stepping.skipped_backwards += bool(skip_backward)
        rates = self.rates()
        if rates:
            self.stepping.lr_in_force = max(max(rates), self.stepping.lr_in_force or 0.0)
        self._compare_one_gradient()
        if self._sample is not None:
            self._sample.note_gradients()
            self._note_coupled_decay()
            self._note_epsilon()
        self._note_precision()

    def step_ended(self, skip_zero: bool) -> None:
        self.stepping.kept_gradients += bool(skip_zero)

    def batch_ended(self) -> None:
        self.stepping.steps += 1
        if self._sample is None:
            return
        moves = self._sample.moves(self.decoupled_decay())
        for parameter, move in zip(self._sample.parameters, moves):
            self._moved[id(parameter)] = self._moved.get(id(parameter), False) or move.moved
        had_gradient = [g is not None and bool((g != 0).any()) for g in self._sample.gradients]
        self.stepping.with_gradient = max(self.stepping.with_gradient, sum(had_gradient))
        swallowed = [m.swallowed for m in moves if m.swallowed is not None]
        if swallowed:
            self.stepping.lost_in_rounding = sum(swallowed) / len(swallowed)
        if not self._skipped:
            self._moves.append(moves)
        reached = [had for p, had in zip(self._sample.parameters, had_gradient) if id(p) in self.reached]
        if reached:
            share = sum(reached) / len(reached)
            self.stepping.gradient_share = max(share, self.stepping.gradient_share or 0.0)
        self._after = Sample(self._sample.parameters, self.elements).before
        self._sample = None

    def finish(self) -> Stepping:
        """Sum up; the object goes on collecting."""
        step, learn = self.stepping, self.learn
        masters, held, grouped = self.masters(), {id(p) for group in self.held() for p in group}, self.grouped()
        trainable = [(n, p) for n, p in learn.model.named_parameters() if p.requires_grad]
        outside = [n for n, p in trainable if id(p) not in held and id(masters.get(id(p), p)) not in held]
        step.trainable, step.in_optimizer = len(trainable), len(trainable) - len(outside)
        step.in_layer_groups = sum(id(p) in grouped for _, p in trainable)
        step.not_in_optimizer_names = outside[:5]
        own = {id(p) for p in learn.model.parameters()} | {id(m) for m in masters.values()}
        step.held_elsewhere = len(held - own)
        step.reached = self.graph.reached if self.graph is not None else 0
        step.moved = sum(self._moved.values())
        updates, decays = _ratios(self._moves)
        step.update, step.decay_over_gradient = _median(updates), _median(decays)
        step.largest_update = max(updates, default=None)
        if self._coupled:
            step.decay_over_gradient = _median(self._coupled)
        step.kept_beside_epsilon = _median(self._kept[len(self._kept) // 2:])
        step.steps_in_an_epoch = self.batches_in_an_epoch()
        return step

    def _watch_one_gradient(self) -> None:
        """A hook on the last parameter that is reached: what backward gives it, before a callback clips it."""
        if self.masters():
            return  # there the optimizer gets another tensor, unscaled
        last = [p for p in self.learn.model.parameters() if p.requires_grad and id(p) in self.reached][-1:]
        self._hooked = [(p, p.register_hook(lambda g: self._given.append(float(g.detach().float().norm()))))
                        for p in last]

    def _compare_one_gradient(self) -> None:
        for parameter, handle in self._hooked:
            handle.remove()
            if self._given and self._given[-1] > 0 and parameter.grad is not None:
                ratio = float(parameter.grad.detach().float().norm()) / self._given[-1]
                known = self.stepping.clip_ratio
                self.stepping.clip_ratio = ratio if known is None else max(known, ratio)
        self._hooked = []

    def see_executed(self, ran: List[nn.Module]) -> None:
        """Compare the modules that ran, in their order, with what the output reaches."""
        if self.graph is None or not ran:
            return
        parameters = {id(p): p for module in ran for p in module.parameters(recurse=False) if p.requires_grad}
        names = {id(p): name for name, p in self.learn.model.named_parameters()}
        outside = [p for i, p in parameters.items() if i not in self.reached]
        self.stepping.executed_elements = sum(p.numel() for p in parameters.values())
        self.stepping.executed_unreached = sum(p.numel() for p in outside)
        self.stepping.executed_unreached_names = [names.get(id(p), "?") for p in outside[:3]]
        head = list(ran[-1].parameters(recurse=False))
        self.graph.head_trainable = any(p.requires_grad for p in head)
        self.graph.head_unreached = (bool(self.graph.reached_by_output) and not self.graph.opaque
                                     and any(p.requires_grad for p in head)
                                     and not any(id(p) in self.reached for p in head))

    def _note_coupled_decay(self) -> None:
        """The decay that is added to the gradient, over the gradient, where the optimizer does it that way."""
        decays = self.coupled_decay()
        sampled = zip(self._sample.parameters, self._sample.before, self._sample.gradients)
        pairs = [(w.norm() * decays.get(id(p), 0.0), g.norm()) for p, w, g in sampled if g is not None and p.dim() > 1]
        gradient = sum(float(g) ** 2 for _, g in pairs) ** 0.5
        if gradient > 0 and decays:
            self._coupled.append(sum(float(d) ** 2 for d, _ in pairs) ** 0.5 / gradient)

    def _note_epsilon(self) -> None:
        """What Adam's epsilon leaves of this step."""
        epsilons, kept = self.epsilons(), []
        for parameter, gradient in zip(self._sample.parameters, self._sample.gradients):
            epsilon = epsilons.get(id(parameter), 0.0)
            pushed = None if gradient is None or parameter.dim() < 2 else gradient[gradient != 0].float()
            if epsilon and pushed is not None and len(pushed):
                size = float(pushed.pow(2).mean().sqrt())
                kept.append(size / (size + epsilon))
                self.stepping.epsilon = max(epsilon, self.stepping.epsilon or 0.0)
        if kept:
            self._kept.append(sorted(kept)[len(kept) // 2])

    def _chosen(self, parameters: List[Tensor]) -> List[Tensor]:
        if not self.limit or len(parameters) <= self.limit:
            return parameters
        # Both ends and evenly between: the embedding and the head are always among them.
        return [parameters[round(i * (len(parameters) - 1) / (self.limit - 1))] for i in range(self.limit)]

    def _note_precision(self) -> None:
        scale = self.loss_scale()
        if scale is None:
            return
        if self.precision is None:
            self.precision = Precision(scale, 0, 0, scale)
        overflowed = not math.isfinite(gradient_norm(self.learn.model.parameters()))
        self.precision.steps += 1
        self.precision.overflows += overflowed
        self.precision.loss_scale = scale

    # -- what each fastai answers in its own way --------------------------------------------------------------

    def held(self) -> List[List[Tensor]]:
        """The parameters the optimizer holds, by group; nothing where there is none."""
        raise NotImplementedError

    def grouped(self) -> Set[int]:
        """ids of the parameters that an optimizer would be given."""
        raise NotImplementedError

    def masters(self) -> Dict[int, Tensor]:
        """id of a half parameter -> its full-precision copy, where mixed precision keeps such."""
        return {}

    def rates(self) -> List[float]:
        """The learning rate of each group."""
        raise NotImplementedError

    def decoupled_decay(self) -> Dict[int, GroupHyper]:
        """id of a parameter -> rate and weight decay, where decay is no part of the gradient."""
        raise NotImplementedError

    def coupled_decay(self) -> Dict[int, float]:
        """id of a parameter -> the weight decay that is added to its gradient; empty where none is."""
        raise NotImplementedError

    def epsilons(self) -> Dict[int, float]:
        """id of a parameter -> what is added to its gradient's size before a step is divided by it, as Adam does."""
        raise NotImplementedError

    def batches_in_an_epoch(self) -> int:
        """How long the training loader is."""
        raise NotImplementedError

    def loss_scale(self) -> Optional[float]:
        """That of mixed precision; None without."""
        return None


def look_at_graph(model: nn.Module, logits: Any, loss: Tensor) -> Graph:
    """Walk from the logits and from the loss to the parameters."""
    registered = {id(p) for p in model.parameters()}
    trainable = sum(p.requires_grad for p in model.parameters())
    from_loss, from_output = reach(loss), Reach()
    for tensor in tensors_in(logits):
        found = reach(tensor)
        from_output.parameters += found.parameters
        from_output.foreign += found.foreign
        from_output.opaque += found.opaque
        from_output.has_graph |= found.has_graph or tensor.requires_grad
    reached = {id(p) for p in from_loss.parameters}
    return Graph(registered=len(registered), trainable=trainable, reached=len(reached & registered),
                 reached_by_output=len({id(p) for p in from_output.parameters} & registered),
                 hidden=len({id(p) for p in from_output.parameters} - registered),
                 foreign=len(from_output.foreign), opaque=len(from_loss.opaque) + len(from_output.opaque),
                 output_has_graph=from_output.has_graph, loss_has_graph=from_loss.has_graph,
                 unreached_names=[n for n, p in model.named_parameters()
                                  if p.requires_grad and id(p) not in reached][:5])


def gradient_norm(parameters: Any) -> float:
    """Euclidean norm of all gradients, float; 0 where there are none, nan or inf where one is."""
    norms = [p.grad.detach().float().norm() for p in parameters if p.grad is not None]
    return float(torch.stack(norms).norm()) if norms else 0.0


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal to the last bit, NaN included."""
    one, other = one.float(), other.float()
    return bool(((one == other) | ((one != one) & (other != other))).all())


def _median(values: List[float]) -> Optional[float]:
    return sorted(values)[len(values) // 2] if values else None


def _ratios(steps: List[List[Move]]) -> Tuple[List[float], List[float]]:
    """Update over weights, and decay over update: of each step, ratios of norms over matrices."""
    updates, decays = [], []
    for moves in steps:
        matrices = [m for m in moves if m.is_matrix and m.swallowed is not None]
        weight, gradient, decay = (math.sqrt(sum(getattr(m, part) ** 2 for m in matrices))
                                   for part in ("weight", "gradient_part", "decay_part"))
        if weight > 0 and math.isfinite(gradient):
            updates.append(gradient / weight)
            decays.append(decay / gradient if gradient > 0 else math.inf)
    return updates, decays
