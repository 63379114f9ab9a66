"""Targets: whether they are constant, one-sided or sorted, and whether words predict them. Imports torch and numpy.

Ranks are scipy's, which both fastais have loaded by then. Ridge regression is numpy's solver and not scikit-learn's
``Ridge``, which a test compares with it: importing that in the middle of a fit takes 0.2 s on fastai 2 and 1.3 s on
fastai 1, more than all else that ``Doctor`` does there.
"""

from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Set, Tuple

import numpy as np
import torch
from torch import Tensor

from fastai_hf_callback.results.evidence import Labels

__all__ = ["SampledRows", "probe_labels"]

MAX_NUMBERS = 20
MIN_CLASS_ROWS = 20  # an area over fewer rows means next to nothing


class SampledRows(NamedTuple):
    """Rows of a data set: token ids of each (or None), targets, float64 (n, columns) or int64 (n,), and other features.

    ``features``, float32 (n, width), are of inputs that are no token ids.
    """

    ids: Optional[List[np.ndarray]]
    targets: np.ndarray
    features: Optional[np.ndarray] = None


def probe_labels(
    train: SampledRows,
    valid: Optional[SampledRows],
    batches: Sequence[Tensor],
    skip_ids: Sequence[int] = (),
    together: bool = True,
) -> Optional[Labels]:
    """Compare the targets with one another, with their order, and with the words.

    Parameters
    ----------
    train, valid : SampledRows
        Rows sampled evenly over each set.
    batches : sequence of Tensor
        Targets of the first training batches, in the order in which the loader gave them.
    skip_ids : sequence of int
        Ids that are not words, such as padding.
    together : bool
        Whether both sets are also probed as one, which takes as long as everything else.

    Returns
    -------
    Labels or None
        None where targets are neither classes, nor 0 and 1, nor numbers.
    """
    train, valid = _keep_varied_columns(train, valid)
    kind = _infer_kind(train.targets)
    if kind is None:
        return None
    evidence = Labels(
        kind,
        len(train.targets),
        0 if valid is None else len(valid.targets),
        train_constant=_is_constant(train.targets),
        train_shares=_class_shares(train.targets, kind),
        order_z=_compute_order_z(batches, kind, train.targets),
    )
    if valid is not None and len(valid.targets):
        evidence.valid_constant = _is_constant(valid.targets)
        evidence.shift = _measure_shift(train.targets, valid.targets) if kind == "number" else None
    _add_word_signal(evidence, train, valid, kind, set(skip_ids), together)
    return evidence


def _keep_varied_columns(train: SampledRows, valid: Optional[SampledRows]) -> Tuple[SampledRows, Optional[SampledRows]]:
    """Keep the columns of numbers that vary most: of many, some are the same in all rows."""
    if train.targets.ndim < 2 or train.targets.shape[1] <= MAX_NUMBERS or _infer_kind(train.targets) != "number":
        return train, valid
    spread = train.targets.std(0)
    kept = np.sort(np.argsort(-spread, kind="stable")[: max(1, min(MAX_NUMBERS, int((spread > 0).sum())))])
    fits = valid is not None and valid.targets.ndim == 2 and valid.targets.shape[1] == len(spread)
    return train._replace(targets=train.targets[:, kept]), (
        valid._replace(targets=valid.targets[:, kept]) if fits and valid is not None else valid
    )


def _infer_kind(targets: np.ndarray) -> Optional[str]:
    if targets.dtype.kind in "iub" and targets.ndim == 1:
        return "classes"
    if targets.ndim == 2 and np.isin(targets, (0, 1)).all():
        return "labels"
    return "number" if targets.ndim in (1, 2) else None


def _measure_shift(train: np.ndarray, valid: np.ndarray) -> Optional[float]:
    """Measure how far the columns' means lie apart, in the smaller standard deviation: the farthest column's."""
    one, other = train.reshape(len(train), -1), valid.reshape(len(valid), -1)
    spread = np.minimum(one.std(0), other.std(0))
    if one.shape[1] != other.shape[1] or not (spread > 0).all():
        return None
    return float((np.abs(one.mean(0) - other.mean(0)) / spread).max())


def _is_constant(targets: np.ndarray) -> bool:
    return bool((targets == targets[:1]).all())


def _class_shares(targets: np.ndarray, kind: str) -> List[float]:
    if kind == "classes":
        counts = np.bincount(targets[targets >= 0])
        return [float(c) for c in counts / max(1, counts.sum())]
    return [float(m) for m in targets.reshape(len(targets), -1).mean(0)[:20]]


def _compute_order_z(batches: Sequence[Tensor], kind: str, sampled: np.ndarray) -> Optional[float]:
    """Compute by how many standard deviations classes change less often from row to row than after shuffling."""
    if kind == "number" or not batches:
        return None
    rows = torch.cat([b.reshape(len(b), -1) if kind == "labels" else b.reshape(-1, 1) for b in batches]).numpy()
    _, counts = np.unique(sampled, axis=0, return_counts=True)
    change = 1 - float(((counts / counts.sum()) ** 2).sum())  # of two rows drawn at random
    n = len(rows) - 1
    if n < 15 or change < 0.05:
        return None
    changes = int((rows[1:] != rows[:-1]).any(1).sum())
    return float((changes - n * change) / np.sqrt(n * change * (1 - change) + 1e-9))


# -- do the words predict the labels at all? -----------------------------------------------------------------------


def _add_word_signal(
    evidence: Labels, train: SampledRows, valid: Optional[SampledRows], kind: str, skip: Set[int], together: bool
) -> None:
    encode = _make_encoder(train, skip)
    if encode is None or len(train.targets) < 64 or evidence.train_constant or not _all_finite(train, valid):
        return
    evidence.predictors = "words" if train.features is None else "inputs"
    x, y = encode(train), _target_columns(train.targets, kind)
    products = x @ x.T
    evidence.signal_within_train, evidence.error_within_train = _cross_validate(products, y, kind)
    evidence.signal_together, evidence.error_together = evidence.signal_within_train, evidence.error_within_train
    if valid is None or len(valid.targets) < 64 or evidence.valid_constant or not _has_features(train, valid):
        return
    xv, yv = encode(valid), _target_columns(valid.targets, kind)
    if yv.shape[1] != y.shape[1]:
        return
    own, cross = xv @ xv.T, xv @ x.T
    evidence.signal_within_valid, evidence.error_within_valid = _cross_validate(own, yv, kind)
    predictions = _predict_from_products(products, cross, y)
    evidence.signal_train_to_valid, _ = _score_predictions(predictions, yv, kind)
    if kind != "number":
        _find_worst_column(evidence, predictions, yv)
    if together:
        evidence.signal_together, evidence.error_together = _cross_validate(
            np.block([[products, cross.T], [cross, own]]), np.concatenate([y, yv]), kind
        )


def _has_features(train: SampledRows, rows: SampledRows) -> bool:
    if train.features is not None and (rows.features is None or rows.features.shape[1] != train.features.shape[1]):
        return False
    return train.ids is None or rows.ids is not None


def _make_encoder(train: SampledRows, skip: Set[int]) -> Optional[Callable[[SampledRows], np.ndarray]]:
    """Make a function from rows to a table for the regression, of the words and of the other features of `train`."""
    words = None if train.ids is None else _build_vocabulary(train.ids, skip)
    if train.features is None:
        return None if words is None else lambda rows: _word_features(rows.ids or [], words)
    middle, scale = train.features.mean(0), train.features.std(0)
    scale = np.where(scale > 1e-6 * (1e-12 + np.abs(train.features).max(0)), scale, np.inf)

    def encode(rows: SampledRows) -> np.ndarray:
        features = np.clip((rows.features - middle) / scale, -10, 10)
        if words is None:
            return features
        return np.concatenate([_to_unit_size(_word_features(rows.ids or [], words)), _to_unit_size(features)], 1)

    return encode


def _to_unit_size(table: np.ndarray) -> np.ndarray:
    """Scale a table so that its rows are of size 1 in the mean: none outweighs another."""
    return table / max(1e-12, float(np.sqrt((table**2).sum(1).mean())))


def _find_worst_column(evidence: Labels, predictions: np.ndarray, y: np.ndarray) -> None:
    for column in range(y.shape[1]):
        yes = y[:, column] > 0
        n, others = int(yes.sum()), int((~yes).sum())
        if min(n, others) < MIN_CLASS_ROWS:
            continue
        area = _roc_auc(yes, predictions[:, column])
        errors = (area - 0.5) / np.sqrt((1 / n + 1 / others) / 12)
        if errors < evidence.worst_column_z:
            evidence.worst_column, evidence.worst_column_auc, evidence.worst_column_z = column, area, float(errors)


def _all_finite(*parts: Optional[SampledRows]) -> bool:
    return all(bool(np.isfinite(part.targets).all()) for part in parts if part is not None)


def _build_vocabulary(rows: Sequence[np.ndarray], skip: Set[int]) -> Dict[int, int]:
    values, counts = np.unique(np.concatenate(rows), return_counts=True)
    common = values[np.argsort(-counts)][:4000].tolist()
    return {word: i for i, word in enumerate(word for word in common if word not in skip)}


def _word_features(rows: Sequence[np.ndarray], words: Dict[int, int]) -> np.ndarray:
    """Encode which words a row holds, and which are at its first places and at its last."""
    width = len(words)
    bag = np.zeros((len(rows), width * 2), dtype=np.float32)
    for features, tokens in zip(bag, (row.tolist() for row in rows)):
        at_ends = [tokens[place] for place in (0, 1, 2, -2, -1) if len(tokens) > abs(place)]
        features[[words[token] for token in tokens if token in words]] = 1.0
        features[[width + words[token] for token in at_ends if token in words]] = 1.0
    return bag - bag.mean(0)


def _target_columns(targets: np.ndarray, kind: str) -> np.ndarray:
    if kind == "classes":
        return np.eye(int(targets.max()) + 1)[np.maximum(targets, 0)]
    return targets.reshape(len(targets), -1).astype(np.float64)


def _cross_validate(products: np.ndarray, y: np.ndarray, kind: str, folds: int = 4) -> Tuple[Optional[float], float]:
    """Predict each fold's rows from the others; `products` are those of every two rows' features."""
    predictions = np.zeros_like(y)
    for fold in range(folds):
        held_out = np.arange(len(y)) % folds == fold
        known = products[:, ~held_out]
        predictions[held_out] = _predict_from_products(known[~held_out], known[held_out], y[~held_out])
    return _score_predictions(predictions, y, kind)


def _predict_with_ridge(x: np.ndarray, y: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Predict by ridge regression with an intercept, in its dual form: there are many more words than rows.

    The penalty is proportional to the features' own size.
    """
    return _predict_from_products(x @ x.T, wanted @ x.T, y)


def _predict_from_products(known: np.ndarray, wanted: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Predict from products of features, (n, n) of the known rows and (m, n) of the wanted ones with them.

    Computed once, they serve every fold; rows are centred on the mean of the known ones.
    """
    known, wanted, offset = known.astype(np.float64), wanted.astype(np.float64), y.mean(0)
    penalty = max(1.0, float(known.diagonal().mean()))
    means = known.mean(0)
    centred = known - means - means[:, None] + means.mean()
    dual = np.linalg.solve(centred + penalty * np.eye(len(known)), y - offset)
    return (wanted - wanted.mean(1, keepdims=True) - means + means.mean()) @ dual + offset


def _roc_auc(yes: np.ndarray, scores: np.ndarray) -> float:
    """Compute the area under the ROC curve, by ranks (Hanley and McNeil, 1982); ties count half."""
    from scipy.stats import rankdata

    n = int(yes.sum())
    return float((rankdata(scores)[yes].sum() - n * (n + 1) / 2) / (n * (len(yes) - n)))


def _score_predictions(predictions: np.ndarray, y: np.ndarray, kind: str) -> Tuple[Optional[float], float]:
    """Compute the mean area under the ROC curve, and its standard error where nothing predicts anything.

    For numbers it is the rank correlation, mapped to the same scale.
    """
    if kind == "number":
        correlations = [_rank_correlation(*columns) for columns in zip(predictions.T, y.T)]
        return 0.5 + 0.5 * float(np.mean(correlations)), 0.5 / np.sqrt(len(y))
    usable = [i for i in range(y.shape[1]) if 5 <= y[:, i].sum() <= len(y) - 5]
    if not usable:
        return None, 1.0
    areas = [_roc_auc(y[:, i] > 0, predictions[:, i]) for i in usable]
    variances = [(1 / y[:, i].sum() + 1 / (len(y) - y[:, i].sum())) / 12 for i in usable]
    # One class against the rest is not independent of the others: two classes are the same column twice.
    independent = max(1, len(usable) - (kind == "classes"))
    return float(np.mean(areas)), float(np.sqrt(np.mean(variances) / independent))


def _rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Compute Spearman's rank correlation; 0 where one of the two is constant."""
    from scipy.stats import spearmanr

    return 0.0 if _is_constant(one) or _is_constant(other) else float(spearmanr(one, other)[0])
