"""Tables to read and the reader, for the tests of read_examples."""

import pytest
from hypothesis import settings

from fastai_hf_callback import InvalidInputError
from fastai_hf_callback.data.tables.examples import read_examples

pd = pytest.importorskip("pandas")
quick = settings(deadline=None, max_examples=40)

N = 8
MARK = [True] + [False] * (N - 1)


def frame(**columns):
    """Eight rows under an index that is of no use; a column given as None is left out."""
    held = dict(
        text=[f"t{i}" for i in range(N)],
        label=list("abababab"),
        a=[0, 1] * 4,
        b=[1, 1, 0, 0] * 2,
        score=[0.5, 1, 2, 3, 4, 5, 6, 7],
        mark=MARK,
    )
    held.update(columns)
    return pd.DataFrame(
        {name: values for name, values in held.items() if values is not None},
        index=["x", "x", 3, None, "y", 3.5, "x", -1],
    )


def make_valid_frame(**columns):
    """Two rows that train has not."""
    return frame(text=[f"v{i}" for i in range(N)], **columns).iloc[:2]


def words(**columns):
    held = dict(
        words=[["EU", "rejects"], ["Peter"], [], ["in", "Bonn"]],
        tags=[["B", "O"], ["B"], [], ["O", "B"]],
        text=["one", "two", "three", "four"],
        names=[["x"], [], ["x", "y"], ["y"]],
    )
    held.update(columns)
    return pd.DataFrame(held, index=[1, 1, 0, 0])


def read(train=None, valid=None, text="text", labels="label", **kwargs):
    train = frame() if train is None else train
    return read_examples(train, make_valid_frame() if valid is None else valid, text, labels, **kwargs)


def read_words(train=None, valid=None, labels="tags", text="words", **kwargs):
    train = words() if train is None else train
    return read_examples(
        train,
        words(words=[["v"], [], [], []], tags=[["O"], [], [], []], text=list("vwuz")).iloc[:1]
        if valid is None
        else valid,
        text,
        labels,
        **kwargs,
    )


def error_line(reader, *args, **kwargs):
    with pytest.raises(InvalidInputError) as error:
        reader(*args, **kwargs)
    line = str(error.value)
    assert "\n" not in line
    return line


def read_error(*args, **kwargs):
    return error_line(read, *args, **kwargs)
