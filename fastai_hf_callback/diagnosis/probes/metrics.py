"""A metric on real and on synthetic outputs. Imports torch."""

from typing import Any, Callable, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from fastai_hf_callback.model.metrics import compute_constant_output
from fastai_hf_callback.results.metric_evidence import MetricEvidence

from .synthetic_outputs import (
    AHEAD,
    as_probabilities,
    build_synthetic_outputs,
    find_class_axis,
    fit_targets,
    repeat_row,
    roll_targets,
)

__all__ = ["probe_metric"]

SINGLE_ROWS = 12
LONGEST_MESSAGE = 250  # scikit-learn's end in what to write

# From epochs, each a pair of lists of batches (outputs, targets), to the value after the last of them; raises what the
# metric raises.
MetricFunc = Callable[[List[Any]], float]
# The same; None where the metric raises, or returns no number.
ScoreFunc = Callable[[List[Any]], Optional[float]]


def probe_metric(
    name: str,
    compute: MetricFunc,
    outputs: List[Tensor],
    targets: List[Tensor],
    loss_func: Callable[..., Any],
    left_out: Optional[int] = None,
    bounded: bool = False,
) -> MetricEvidence:
    """Score real, right, contrary, random and constant outputs of a few validation batches.

    Parameters
    ----------
    name : str
    compute : callable
        Computes the metric as this fastai does, each time from a new copy.
    outputs, targets : list of Tensor
    loss_func : callable
        Chooses among the constant predictors.
    left_out : int, optional
        The value of targets that the loss leaves out.
    bounded : bool
        Whether the outputs are probabilities: the synthetic ones then are, too.
    """
    evidence = MetricEvidence(
        name, resolution=1.0 / max(1, sum(t.numel() for t in targets)), rows=sum(map(len, targets))
    )
    evidence.distinct_targets = len(torch.cat([t.flatten() for t in targets]).unique())
    score = _make_score(compute)
    evidence.value = evidence.in_first_epoch = score([(outputs, targets)])
    if evidence.value is None:
        evidence.error = _describe_failure(compute, outputs, targets)
        evidence.not_scored = "" if evidence.error else _error_message(compute, outputs, targets)
        evidence.shapes = f"{tuple(outputs[0].shape)} and {tuple(targets[0].shape)}"
    evidence.ahead = _find_ahead(score, outputs[0], targets[0])
    aligned = [roll_targets(t, evidence.ahead or 0) for t in targets]
    built = [build_synthetic_outputs(o.shape, t) for o, t in zip(outputs, aligned)]
    synthetic = [s for s in built if s is not None]
    if len(synthetic) < len(built):
        return evidence
    ideal = [s.ideal.to(o) for s, o in zip(synthetic, outputs)]
    worst = [s.worst.to(o) for s, o in zip(synthetic, outputs)]
    generator = torch.Generator().manual_seed(0)
    one, other = ([5 * torch.randn(o.shape, generator=generator).to(o) for o in outputs] for _ in range(2))
    if bounded and synthetic[0].kind != "number":
        ideal, worst, one, other = ([as_probabilities(o) for o in some] for some in (ideal, worst, one, other))
    evidence.at_ideal, evidence.at_worst = score([(ideal, targets)]), score([(worst, targets)])
    evidence.at_random, evidence.at_other_random = score([(one, targets)]), score([(other, targets)])
    if synthetic[0].kind == "number":
        evidence.at_tenth, evidence.at_tenfold = (score([(_scaled(ideal, by), targets)]) for by in (0.1, 10.0))
    # With numbers the ideal is not the extreme of every measure (a likelihood's depends on the targets' own size).
    evidence.ideal_on_halves = (
        _score_halves(score, ideal, targets)
        if synthetic[0].kind != "number" and find_class_axis(outputs[0].shape, targets[0]) == -1
        else []
    )
    nearly = [o + 0.05 * n for o, n in zip(ideal, one)]
    evidence.with_rows_reordered, evidence.with_rows_repeated = _score_rearranged_rows(
        score, [nearly, one, other, [a + b for a, b in zip(one, other)]], targets
    )
    if synthetic[0].kind == "classes":
        axis = find_class_axis(outputs[0].shape, targets[0])
        evidence.distinct_predictions = len(torch.cat([o.argmax(axis).flatten() for o in outputs]).unique())
        evidence.on_single_rows = _score_single_rows(score, [ideal, worst, one], targets)
        if evidence.at_random is not None:
            evidence.with_rows_shifted = _farthest(
                evidence.at_random, [score([([_shift_rows(o, order) for o in one], targets)]) for order in _ROW_ORDERS]
            )
    evidence.reads_targets = _reads_targets(score, one, targets)
    if left_out is not None and _are_per_token(outputs[0], targets[0]):
        evidence.with_left_out = _score_with_left_out(score, ideal[0], targets[0], left_out)
    evidence.after_another_epoch = score([(ideal, targets), (worst, targets), (outputs, targets)])
    evidence.base_rate = _compute_base_rate(score, outputs, targets, loss_func)
    return evidence


def _are_per_token(output: Tensor, target: Tensor) -> bool:
    return output.dim() == 3 and target.shape == output.shape[:2] and not target.is_floating_point()


def _find_ahead(score: ScoreFunc, output: Tensor, target: Tensor) -> Optional[int]:
    """Find how many positions on the target stands that a metric compares an output with; None but for tokens.

    Right and contrary outputs differ most there, for targets that are drawn at random. A few columns, as the ends of a
    span are, are no positions: shifted by some they are other questions.
    """
    in_places = _are_per_token(output, target) and target.shape[1] > 2 * max(AHEAD)
    known = target[target >= 0].unique() if in_places else target[:0]
    if len(known) < 2 or int(known.max()) >= output.shape[-1]:
        return None
    generator = torch.Generator().manual_seed(0)
    drawn = known[torch.randint(len(known), target.shape, generator=generator).to(known.device)]
    drawn = torch.where(target >= 0, drawn, target)
    contrasts = {ahead: _contrast(score, output, drawn, ahead) for ahead in AHEAD}
    best = max(contrasts, key=lambda ahead: contrasts[ahead])
    return None if not contrasts[best] else best if contrasts[best] > 2 * contrasts[0] else 0


def _contrast(score: ScoreFunc, output: Tensor, target: Tensor, ahead: int) -> float:
    """Compute how far right and contrary outputs are apart, were each compared with the target `ahead` positions on."""
    built = build_synthetic_outputs(output.shape, roll_targets(target, ahead))
    outputs = [] if built is None else [built.ideal.to(output), built.worst.to(output)]
    scores = _known([score([([one], [target])]) for one in outputs])
    return abs(scores[0] - scores[1]) if len(scores) == 2 else 0.0


def _reads_targets(score: ScoreFunc, outputs: List[Tensor], targets: List[Tensor]) -> Optional[bool]:
    """Return whether the score of the same outputs changes with the targets; None where no others can be scored."""
    changed = [[t.flip(0) for t in targets], *([_step(t, by) for t in targets] for by in (1, -1))]
    before, others = score([(outputs, targets)]), _known([score([(outputs, other)]) for other in changed])
    return None if before is None or not others else any(abs(value - before) > 1e-6 for value in others)


def _step(target: Tensor, by: int) -> Tensor:
    if target.dtype == torch.bool:
        return ~target
    if target.is_floating_point():
        return 1 - target if bool(((target == 0) | (target == 1)).all()) else target + by
    return torch.where(target >= 0, (target + by).abs(), target)


def _known(scores: Sequence[Optional[float]]) -> List[float]:
    return [score for score in scores if score is not None]


def _score_with_left_out(
    score: ScoreFunc, ideal: Tensor, target: Tensor, left_out: int
) -> Optional[Tuple[float, float]]:
    """Score outputs that are right where the loss asks, random elsewhere; and with as many left-out targets more."""
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(ideal.shape, generator=generator).to(ideal)
    right = torch.where((target == left_out)[..., None], noise, ideal)
    wider = torch.cat([right, noise], 1), torch.cat([target, torch.full_like(target, left_out)], 1)
    found = _known([score([([right], [target])]), score([([wider[0]], [wider[1]])])])
    return (found[0], found[1]) if len(found) == 2 else None


def _scaled(outputs: List[Tensor], factor: float) -> List[Tensor]:
    """Scale the outputs' distance from their mean."""
    mean = torch.cat([o.flatten() for o in outputs]).mean()
    return [mean + factor * (o - mean) for o in outputs]


def _make_score(compute: MetricFunc) -> ScoreFunc:
    def score(epochs: List[Any]) -> Optional[float]:
        try:
            value = float(compute(epochs))
        except Exception:
            return None
        return value if value == value else None

    return score


def _describe_failure(compute: MetricFunc, outputs: List[Tensor], targets: List[Tensor]) -> str:
    """Describe what the metric raises on these batches, if it does on any targets: an AUC needs both classes."""
    drawn = [_random_targets(target, output) for target, output in zip(targets, outputs)]
    messages = [_error_message(compute, outputs, of) for of in (targets, drawn)]
    return messages[0] if all(messages) else ""


def _error_message(compute: MetricFunc, outputs: List[Tensor], targets: List[Tensor]) -> str:
    try:
        compute([(outputs, targets)])
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:LONGEST_MESSAGE]
    return ""


def _random_targets(target: Tensor, output: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    if not target.is_floating_point():
        width = max(2, output.shape[-1] if output.dim() > 1 else 2)
        return torch.randint(width if target.shape != output.shape else 2, target.shape, generator=generator).to(target)
    return (torch.rand(target.shape, generator=generator) < 0.5).to(target)


def _score_halves(score: ScoreFunc, ideal: List[Tensor], targets: List[Tensor]) -> List[float]:
    """Score right outputs in two halves of every batch's rows, each with all classes, and in both together."""
    rows = [_split_in_halves(t) for t in targets]
    if any(len(one) < 2 for one, _ in rows):
        return []
    parts = [[pair[0] for pair in rows], [pair[1] for pair in rows], [torch.cat(pair).sort()[0] for pair in rows]]
    scores = [score([([o[p] for o, p in zip(ideal, part)], [t[p] for t, p in zip(targets, part)])]) for part in parts]
    return _if_complete(scores)


def _score_rearranged_rows(
    score: ScoreFunc, predictors: List[List[Tensor]], targets: List[Tensor]
) -> Tuple[List[Tuple[float, float]], List[Tuple[float, float]]]:
    """Score each predictor on the rows as they come and in another order; and on each row once and twice.

    Every measure of how well rows were predicted stays the same in both, or doubles if it is a sum over rows.
    """
    values, *again = [_if_complete([score([(outputs, targets)]) for outputs in predictors]) for _ in range(3)]
    if again != [values, values] or not _rows_have_columns(predictors[0], targets):
        return [], []  # a metric that samples rows is another number each time
    reordered = [
        _farthest(value, [_score_at_rows(score, outputs, targets, order) for order in _ROW_ORDERS])
        for outputs, value in zip(predictors, values)
    ]
    repeated = [_score_at_rows(score, outputs, targets, _repeat_rows) for outputs in predictors[: len(values)]]
    return list(zip(values, _if_complete(reordered))), list(zip(values, _if_complete(repeated)))


def _if_complete(scores: Sequence[Optional[float]]) -> List[float]:
    """Return the scores, or none where one of them is missing."""
    found = [score for score in scores if score is not None]
    return found if len(found) == len(scores) else []


def _rows_have_columns(outputs: List[Tensor], targets: List[Tensor]) -> bool:
    """Return whether there is an axis that may be mistaken for another."""
    return all(o.dim() > 1 and o.shape[-1] > 1 and len(o) == len(t) > 1 for o, t in zip(outputs, targets))


def _score_at_rows(
    score: ScoreFunc, outputs: List[Tensor], targets: List[Tensor], chosen: Callable[[int], Tensor]
) -> Optional[float]:
    rows = [chosen(len(t)) for t in targets]
    return score([([o[r] for o, r in zip(outputs, rows)], [t[r] for t, r in zip(targets, rows)])])


def _shuffle(seed: int) -> Callable[[int], Tensor]:
    return lambda rows: torch.randperm(rows, generator=torch.Generator().manual_seed(seed))


_ROW_ORDERS = [lambda rows: torch.arange(rows).flip(0), *map(_shuffle, range(7))]


def _repeat_rows(rows: int) -> Tensor:
    return torch.arange(rows).repeat(2)


def _farthest(value: float, others: List[Optional[float]]) -> Optional[float]:
    return max(_if_complete(others), key=lambda other: abs(other - value), default=None)


def _score_single_rows(
    score: ScoreFunc, predictors: List[List[Tensor]], targets: List[Tensor]
) -> List[Tuple[float, ...]]:
    """Score each predictor on a few rows, each a batch of its own; empty where a row alone has no score."""
    values = [
        _if_complete([score([([outputs[0][row : row + 1]], [targets[0][row : row + 1]])]) for outputs in predictors])
        for row in range(min(SINGLE_ROWS, len(targets[0])))
    ]
    return [tuple(of_row) for of_row in values] if all(values) else []


def _shift_rows(outputs: Tensor, order: Callable[[int], Tensor]) -> Tensor:
    """Add another number to each row: a softmax over classes, and its cross entropy, stay the same."""
    shifts = torch.linspace(-30, 30, len(outputs))[order(len(outputs))].to(outputs)
    return outputs + shifts.reshape(-1, *[1] * (outputs.dim() - 1))


def _split_in_halves(target: Tensor) -> Tuple[Tensor, Tensor]:
    """Split row numbers into two halves of one size with the same classes; leave out rows without a partner."""
    even = len(target) // 2 * 2
    order = torch.arange(even)
    if target.dim() == 1 and not target.is_floating_point():
        classes = [(target.cpu() == c).nonzero().reshape(-1) for c in target.cpu().unique()]
        order = torch.cat([rows[: len(rows) // 2 * 2] for rows in classes])
    one, other = order[0::2].sort()[0], order[1::2].sort()[0]  # in the batch's own order
    columns = zip(target[one].t(), target[other].t()) if target.dim() == 2 else ()
    varied = all(len(a.unique()) == len(b.unique()) for a, b in columns)
    return (one, other) if varied else (one[:0], other[:0])


def _compute_base_rate(
    score: ScoreFunc, outputs: List[Tensor], targets: List[Tensor], loss_func: Callable[..., Any]
) -> Optional[float]:
    axis = find_class_axis(outputs[0].shape, targets[0])
    width = outputs[0].shape[axis] if outputs[0].dim() > 1 else 1
    try:
        if axis == 1:
            row = compute_constant_output(torch.cat([fit_targets(t, o.shape) for t, o in zip(targets, outputs)]), width)
        else:
            row = compute_constant_output(torch.cat([t.cpu() for t in targets]), width, loss_func)
    except Exception:
        return None
    return score([([repeat_row(row, o, axis) for o in outputs], targets)])
