"""Checks of the labels: something can be learned from these targets."""

import math
from typing import Optional

from fastai_hf_callback.results.evidence import Evidence, Labels
from fastai_hf_callback.results.finding import Action, Finding

from .optimizer import has_learned_nothing

CAUSES = [
    "labels-constant",
    "rows-mixed-in-collate",
    "few-rows-drawn",
    "targets-of-another-scale",
    "loss-weighs-the-frequent",
    "train-and-valid-disagree",
    "texts-truncated",
    "labels-unrelated-to-texts",
    "labels-in-order",
    "validation-one-class",
    "validation-worse-than-constant",
]
EXPLAINED_BY = {
    "validation-worse-than-constant": (
        "train-and-valid-disagree",
        "validation-one-class",
        "weights-diverged",
        "non-finite-weights",
        "targets-of-another-scale",
        "few-rows-drawn",
    ),
    "labels-unrelated-to-texts": (
        "rows-mixed-in-collate",
        "labels-constant",
        "unknown-tokens",
        "inputs-in-wrong-arguments",
    ),
    "texts-truncated": ("labels-constant", "unknown-tokens"),
    "validation-one-class": ("labels-constant",),
    "loss-weighs-the-frequent": ("loss-ignores-a-target", "loss-ignores-targets", "loss-sign-flipped"),
    "train-and-valid-disagree": ("rows-mixed-in-collate",),
    "targets-of-another-scale": ("labels-constant",),
}

# Standard errors of an area under the ROC curve where no word predicts a label.
CHANCE_ERRORS, CERTAIN_ERRORS, EXPECTED_ERRORS = 2.0, 4.0, 6.0
REVERSED_Z = -4.5  # one column in three hundred thousand is there by chance
# With fewer rows, or a wider error, a weak signal cannot be found.
MIN_ROWS, MAX_STANDARD_ERROR = 200, 0.04
# Fewer changes of class from row to row than after shuffling, in standard deviations.
SORTED_Z = -5.0
# A sampler may repeat the rows of a rare class until they are half of what is drawn, and no further. Numbers of two
# sets from one source lie a tenth of their standard deviation apart, at the worst one.
FEW_DRAWN_SHARE, MIN_DRAWN, MAX_SHIFT = 1 / 3, 24, 4.0
FREQUENT_RATIO, WEIGHT_RATIO = 3.0, 2.0  # of one target over another, where weights are the wrong way round
# A training loss a fifth below a constant predictor's means that something was learned; a validation loss a twentieth
# above it, that this does not carry over.
LEARNED_LOSS_SHARE, WORSE_LOSS_RATIO = 0.8, 1.05


def _labels_in_use(evidence: Evidence) -> Optional[Labels]:
    """Return the targets' evidence; None where the loss leaves them aside and has others."""
    pairing, loss = evidence.pairing, evidence.loss
    has_others = pairing is not None and pairing.has_own_targets or loss is not None and bool(loss.returns_output)
    return None if has_others else evidence.labels


def check_labels_constant(evidence: Evidence) -> Optional[Finding]:
    labels = _labels_in_use(evidence)
    if labels is None or not labels.train_constant or labels.train_rows < 16:
        return None
    return Finding(
        "labels-constant",
        "error",
        f"All {labels.train_rows} training targets that were sampled are the same: there is nothing to tell apart.",
        {"rows": labels.train_rows, "distinct targets": 1},
        "print(train_df[label_column].value_counts())",
    )


def check_rows_mixed_in_collate(evidence: Evidence) -> Optional[Finding]:
    labels = evidence.labels
    if labels is None or labels.rows_mixed < 2:
        return None
    return Finding(
        "rows-mixed-in-collate",
        "error",
        f"Of the first rows {labels.rows_mixed} get another row's target when they are collated together than when "
        f"each is collated alone: texts are sorted or shuffled within the batch and targets are not.",
        {"rows with another's target": labels.rows_mixed},
        "return [ids[order], mask[order]], targets[order]  # one order for everything, in the collate function",
    )


def check_few_rows_drawn(evidence: Evidence) -> Optional[Finding]:
    labels = evidence.labels
    if labels is None or labels.drawn < MIN_DRAWN or labels.distinct_drawn > FEW_DRAWN_SHARE * labels.drawn:
        return None
    if labels.distinct_sampled < labels.drawn:  # there are no more
        return None
    return Finding(
        "few-rows-drawn",
        "warning",
        f"The first {labels.drawn} training rows that the loader drew are {labels.distinct_drawn} distinct texts, of "
        f"{labels.distinct_sampled} and more that the training set holds: a sampler draws the same rows over and over.",
        {"drawn": labels.drawn, "distinct": labels.distinct_drawn, "distinct in the set": labels.distinct_sampled},
        "WeightedRandomSampler(weights_of_classes[targets], len(targets))  # a weight for each row, not for each class",
    )


def check_targets_of_another_scale(evidence: Evidence) -> Optional[Finding]:
    labels = evidence.labels
    if labels is None or labels.shift is None or labels.shift < MAX_SHIFT:
        return None
    return Finding(
        "targets-of-another-scale",
        "warning",
        f"The means of training and validation targets lie {labels.shift:.3g} standard deviations apart: one of the "
        f"two sets is scaled and the other is not, or by other figures.",
        {"standard deviations apart": labels.shift},
        "scaler.transform(valid_targets)  # what the training targets went through",
    )


def check_loss_weighs_the_frequent(evidence: Evidence) -> Optional[Finding]:
    costs = [] if evidence.loss is None else evidence.loss.target_costs
    pairs = [
        (one, other)
        for one in costs
        for other in costs
        if _column_of(one[0]) == _column_of(other[0])
        and one[1] > FREQUENT_RATIO * other[1]
        and one[2] > WEIGHT_RATIO * other[2] > 0
    ]
    if not pairs:
        return None
    (one, share, cost), (other, other_share, other_cost) = max(pairs, key=lambda pair: pair[0][2] / pair[1][2])
    return Finding(
        "loss-weighs-the-frequent",
        "warning",
        f"The loss grows by {cost:.3g} for a wrong prediction of {one} ({share:.0%} of the targets that were read) and "
        f"by {other_cost:.3g} for one of {other} ({other_share:.0%}): the frequent target weighs more, and the rare "
        f"one is predicted even more rarely than without weights.",
        {"cost of the frequent": cost, "cost of the rare": other_cost, "shares": [share, other_share]},
        "nn.CrossEntropyLoss(weight=1 / counts)  # and nn.BCEWithLogitsLoss(pos_weight=negatives / positives)",
    )


def _column_of(name: str) -> str:
    return name.partition(" in ")[2]


def check_texts_truncated(evidence: Evidence) -> Optional[Finding]:
    labels, inputs = _labels_in_use(evidence), evidence.inputs
    if labels is None or inputs is None or inputs.truncated_share < 0.9 or not _nothing_predicts(labels):
        return None
    # That no word predicts is no fault by itself; a fit that learned nothing of them is the second sign.
    return Finding(
        "texts-truncated",
        "warning" if has_learned_nothing(evidence) else "note",
        f"{inputs.truncated_share:.0%} of the texts are cut at {inputs.mean_length:.0f} tokens and no word that "
        f"is left predicts a label (area {labels.signal_within_train:.2f} +- "
        f"{labels.error_within_train:.2f}, chance .50).",
        {"cut": inputs.truncated_share, "tokens": inputs.mean_length, "area": labels.signal_within_train},
        "max_length=256  # or keep the end of the texts instead of their beginning",
    )


def check_labels_unrelated_to_texts(evidence: Evidence) -> Optional[Finding]:
    labels = _labels_in_use(evidence)
    if labels is None or labels.signal_within_train is None:
        return None
    figures = {
        "within training rows": labels.signal_within_train,
        "within validation rows": labels.signal_within_valid,
        "together": labels.signal_together,
        "standard error": labels.error_within_train,
    }
    look = _LOOK if labels.predictors == "words" else _LOOK_AT_ROWS
    predictors, rows = labels.predictors.capitalize(), _rows(labels)
    if _only_validation_is_predictable(labels):
        return Finding(
            "labels-unrelated-to-texts",
            "warning",
            f"{predictors} predict labels among the validation rows (area {labels.signal_within_valid:.2f}) and "
            f"not among the training rows ({labels.signal_within_train:.2f}; chance .50): the training "
            f"labels stand next to other {rows}.",
            figures,
            look,
        )
    if _sets_disagree(labels):
        return Finding(
            "train-and-valid-disagree",
            "warning",
            f"{predictors} predict labels among the training rows (area {labels.signal_within_train:.2f}) and the "
            f"same {labels.predictors} do not on the validation rows ({labels.signal_train_to_valid:.2f}; chance "
            f".50): validation labels stand next to other {rows}, mean something else, or the {rows} are encoded "
            f"differently.",
            {**figures, "from training to validation": labels.signal_train_to_valid},
            _LOOK_AT_VALIDATION if labels.predictors == "words" else _LOOK_AT_VALIDATION_ROWS,
        )
    if _some_classes_disagree(labels):
        what = "class" if labels.kind == "classes" else "label column"
        return Finding(
            "train-and-valid-disagree",
            "warning",
            f"{predictors} predict labels among the training rows (area {labels.signal_within_train:.2f}), and on "
            f"the validation rows the same {labels.predictors} predict the opposite for {what} {labels.worst_column} "
            f"({labels.worst_column_auc:.2f}; chance .50): some labels of the two sets do not mean the "
            f"same.",
            {**figures, f"{what} {labels.worst_column}": labels.worst_column_auc},
            _NUMBER_ALIKE if labels.predictors == "words" else _NUMBER_ALIKE_BY_HAND,
        )
    # Only a note: order, counts and pairs predict labels too, and a bag of words does not hold them.
    if _nothing_predicts(labels):
        return Finding(
            "labels-unrelated-to-texts",
            "note",
            f"{_nothing(labels)} predicts a label among {_describe_signal(labels)} (chance .50): labels may stand next "
            f"to other {_rows(labels)}.",
            figures,
            look,
        )
    return None


_LOOK = "print(train_df.sample(5))  # and never sort or shuffle texts and labels apart"
_LOOK_AT_ROWS = "print(train_ds[0], train_ds[1])  # and never sort or shuffle inputs and labels apart"
_LOOK_AT_VALIDATION = "print(valid_df.sample(5))  # one tokenizer and one class list for both"
_LOOK_AT_VALIDATION_ROWS = "print(valid_ds[0])  # the same transforms and one class list for both"
_NUMBER_ALIKE = "text_data(train, valid, ...)  # numbers both sets' classes alike; no factorize of each alone"
_NUMBER_ALIKE_BY_HAND = "number the classes of both sets by one list; no factorize of each alone"


def _nothing(labels: Labels) -> str:
    return "No word" if labels.predictors == "words" else "Nothing of the inputs that was tried"


def _rows(labels: Labels) -> str:
    return "texts" if labels.predictors == "words" else "inputs"


def _describe_signal(labels: Labels) -> str:
    within = f"{labels.signal_within_train:.2f} +- {labels.error_within_train:.2f}"
    there = f"{labels.train_rows} training rows (area {within})"
    if labels.signal_within_valid is None:
        return there
    within = f"{labels.signal_within_valid:.2f} +- {labels.error_within_valid:.2f}"
    return f"{there}, nor surely among {labels.valid_rows} validation rows ({within})"


def check_labels_in_order(evidence: Evidence) -> Optional[Finding]:
    labels = _labels_in_use(evidence)
    if labels is None or labels.order_z is None or labels.order_z > SORTED_Z:
        return None
    return Finding(
        "labels-in-order",
        "warning",
        f"The first training batches come sorted by label ({-labels.order_z:.0f} standard deviations fewer "
        f"changes from row to row than after shuffling): every batch teaches one answer.",
        {"standard deviations": labels.order_z},
        action=Action("shuffle-rows"),
    )


def check_validation_one_class(evidence: Evidence) -> Optional[Finding]:
    labels = _labels_in_use(evidence)
    if labels is None or not labels.valid_constant or labels.kind == "number" or labels.valid_rows < 8:
        return None
    if labels.train_constant or not labels.train_shares or _chance_probability(labels) > 1e-4:
        return None
    return Finding(
        "validation-one-class",
        "warning",
        f"All {labels.valid_rows} validation targets that were sampled are the same, the training targets "
        f"are not: whatever the model says to that one class is its score.",
        {"validation rows": labels.valid_rows, "training shares": labels.train_shares},
        "train_test_split(df, stratify=df[label_column])",
    )


def check_validation_worse_than_constant(evidence: Evidence) -> Optional[Finding]:
    history, constant = evidence.history, None if evidence.loss is None else evidence.loss.constant_all_targets
    if history is None or not constant or constant < 0 or not history.metrics.get("valid_loss"):
        return None
    valid = history.metrics["valid_loss"][-1]
    if len(history.losses) < 20 or history.late > LEARNED_LOSS_SHARE * constant or valid < WORSE_LOSS_RATIO * constant:
        return None
    # Only a note: many epochs on few rows end this way, too.
    return Finding(
        "validation-worse-than-constant",
        "note",
        f"The training loss fell to {history.late:.3g}, the validation loss stands at {valid:.3g}, and a "
        f"predictor that never reads the text pays {constant:.3g}: the model knows its training rows by "
        f"heart, or the labels of the two sets do not mean the same.",
        {"train loss": history.late, "validation loss": valid, "constant predictor": constant},
        "text_data(train, valid, ...)  # numbers both sets' classes alike; or train for fewer epochs",
    )


def _chance_probability(labels: Labels) -> float:
    """Compute how likely a validation set of this size, drawn from the training shares, is constant."""
    shares = labels.train_shares
    same = max(shares) if labels.kind == "classes" else math.prod(max(p, 1 - p) for p in shares)
    return same**labels.valid_rows


def _nothing_predicts(labels: Labels) -> bool:
    if labels.train_rows < MIN_ROWS or labels.signal_within_train is None or labels.signal_together is None:
        return False
    return (
        labels.error_together <= MAX_STANDARD_ERROR
        and not _is_above_chance(labels.signal_together, labels.error_together, CHANCE_ERRORS)
        and not _is_above_chance(labels.signal_within_train, labels.error_within_train, CHANCE_ERRORS)
        and not _is_above_chance(labels.signal_within_valid, labels.error_within_valid, CERTAIN_ERRORS)
    )


def _only_validation_is_predictable(labels: Labels) -> bool:
    if labels.signal_within_valid is None or labels.train_rows < labels.valid_rows:
        return False
    return _is_above_chance(
        labels.signal_within_valid, labels.error_within_valid, CERTAIN_ERRORS
    ) and not _is_above_chance(labels.signal_within_train, labels.error_within_train, CHANCE_ERRORS)


def _some_classes_disagree(labels: Labels) -> bool:
    """Return whether some classes look exchanged: the mean area is above chance, theirs is below it."""
    return (
        _is_above_chance(labels.signal_within_train, labels.error_within_train, CERTAIN_ERRORS)
        and labels.worst_column_z <= REVERSED_Z
    )


def _sets_disagree(labels: Labels) -> bool:
    """Return whether the training rows' words predict nothing in validation, where by many errors they should."""
    cross, within, error = labels.signal_train_to_valid, labels.signal_within_train, labels.error_within_valid
    if cross is None or within is None or labels.valid_rows < 64:
        return False
    return within - 0.5 > EXPECTED_ERRORS * error and not _is_above_chance(cross, error, CHANCE_ERRORS)


def _is_above_chance(area: Optional[float], error: float, errors: float) -> bool:
    return area is not None and not area - 0.5 <= errors * error


CHECKS = [
    check_labels_constant,
    check_rows_mixed_in_collate,
    check_few_rows_drawn,
    check_targets_of_another_scale,
    check_loss_weighs_the_frequent,
    check_texts_truncated,
    check_labels_unrelated_to_texts,
    check_labels_in_order,
    check_validation_one_class,
    check_validation_worse_than_constant,
]
