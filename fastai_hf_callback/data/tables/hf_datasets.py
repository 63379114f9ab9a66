"""A Hugging Face dataset -> a DataFrame whose classes have their names. Uses the interface of a dataset only
(``column_names``, ``features``, ``to_pandas``), and imports pandas when it is used.

Used by ``splits.py``, which opens the caller's data.
"""

from collections.abc import Mapping
from typing import Any, List, Optional, Sequence, Tuple

from fastai_hf_callback.errors import InvalidInputError

__all__ = ["dataset_to_frame", "is_dataset", "check_single_split"]


def is_dataset(given: Any) -> bool:
    """Return whether `given` is one split of a Hugging Face dataset."""
    return isinstance(getattr(given, "features", None), Mapping) and callable(getattr(given, "to_pandas", None))


def check_single_split(given: Any, split: str) -> None:
    """Refuse a ``DatasetDict``, which holds several splits, and say what to write.

    Raises
    ------
    InvalidInputError
    """
    if isinstance(given, Mapping) and given and all(is_dataset(part) for part in given.values()):
        names = [str(name) for name in given]
        raise InvalidInputError(
            f"{split} is a {type(given).__name__} with the splits {', '.join(map(repr, names))}; "
            f"expected one of them: write dataset[{names[0]!r}]"
        )


def dataset_to_frame(dataset: Any, split: str, labels: Sequence[Any]) -> Tuple[Any, Optional[List[str]]]:
    """Return the rows of a dataset, and all classes that it declares, in its own order: each keeps its number.

    Parameters
    ----------
    dataset : Dataset
    split : str
        ``"train"``, ``"valid"`` or ``"test"``. A test's label column in which every class is -1, as in published
        tests whose labels are kept back, is left out.
    labels : sequence
        The label columns. A single one that holds classes (``ClassLabel``) comes with their names, and so do lists of
        such; several hold 0 and 1, whatever their names.

    Returns
    -------
    DataFrame, list of str or None
    """
    frame = dataset.to_pandas()
    if len(labels) != 1 or labels[0] not in frame.columns:
        return frame, None
    column, feature = labels[0], dataset.features.get(labels[0])
    names = getattr(feature, "names", None)
    if names is not None:
        return _name_classes(frame, column, list(names), split), list(names)
    names = getattr(_list_element_feature(feature), "names", None)
    return (frame, None) if names is None else (_name_classes_in_lists(frame, column, list(names)), list(names))


def _list_element_feature(feature: Any) -> Any:
    """Return the feature of a list's elements; older releases write it as a list of one feature."""
    return feature[0] if isinstance(feature, list) and len(feature) == 1 else getattr(feature, "feature", None)


def _name_classes(frame: Any, column: Any, names: List[str], split: str) -> Any:
    import pandas as pd

    codes = frame[column].fillna(-1).astype("int64")
    if split == "test" and bool((codes < 0).all()):
        return frame.drop(columns=[column])
    return frame.assign(**{column: pd.Categorical.from_codes(codes, categories=names)})


def _name_classes_in_lists(frame: Any, column: Any, names: List[str]) -> Any:
    lists = [
        None if value is None else [names[code] if code >= 0 else None for code in value] for value in frame[column]
    ]
    return frame.assign(**{column: lists})
