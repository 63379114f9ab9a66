"""read_examples: which rows validate, which are only predicted, or one line that says what is wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastai_hf_callback import InvalidInputError
from fastai_hf_callback.data.tables.examples import read_examples
from tests.data.tables.read_helpers import (
    N,
    error_line,
    frame,
    make_valid_frame,
    pd,
    quick,
    read,
    read_error,
    read_words,
)

# -- valid -----------------------------------------------------------------------------------------


def test_a_fraction_is_drawn_from_the_seed_alone_in_order():
    first, again, other = (read(valid=0.25, seed=seed).valid.texts for seed in (1, 1, 2))
    assert first == again != other and len(first) == 2 and first == sorted(first)
    got = read(valid=np.float32(0.25))
    assert sorted(got.train.texts + got.valid.texts) == [f"t{i}" for i in range(N)]


@quick
@given(n=st.integers(2, 300), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**70))
def test_a_split_uses_every_row_once_in_order_or_refuses(n, fraction, seed):
    table = pd.DataFrame({"text": [f"{i:03}" for i in range(n)], "score": np.arange(n) / 8})
    try:
        got = read_examples(table, fraction, "text", "score", task="regression", seed=seed)
    except InvalidInputError as error:
        assert not 0 < round(n * fraction) < n
        assert "expected both above 0: give more rows or another fraction" in str(error)
    else:
        train, valid = got.train.texts, got.valid.texts
        assert sorted([*train, *valid]) == table.text.tolist()
        assert train == sorted(train) and valid == sorted(valid)
        assert len(valid) == round(n * fraction)


def test_numpys_own_generator_is_not_touched():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    read(valid=0.25, seed=3)
    assert (np.random.get_state()[1] == before).all()


@pytest.mark.parametrize(
    "yes, no",
    [
        (True, False),
        (1, 0),
        (1.0, 0.0),
        ("valid", "train"),
        ("Validation", " TRAIN"),
        ("dev", "train"),
        ("1", "0"),
        ("True", "False"),
        (np.bool_(True), np.bool_(False)),
    ],
    ids=repr,
)
def test_a_column_of_train_marks_the_rows_to_validate_on(yes, no):
    marked = frame(mark=[yes, yes, no, no, no, yes, no, no])
    for each in (marked, marked.astype({"mark": "category"})):
        got = read(each, valid="mark")
        assert got.valid.texts == ["t0", "t1", "t5"] and got.train.texts == ["t2", "t3", "t4", "t6", "t7"]
        assert got.train.targets.tolist() == [0, 1, 0, 0, 1] and got.valid.targets.tolist() == [0, 1, 1]


def test_a_name_is_a_column_first_and_a_path_if_there_is_none(csv, monkeypatch):
    path = csv(make_valid_frame(), "mark")
    monkeypatch.chdir(path.parent)
    assert read(valid="mark").valid.texts == ["t0"]
    assert read(frame(mark=None), valid="mark").valid.texts == ["v0", "v1"]


@pytest.mark.parametrize(
    "valid, line",
    [
        (0.0, "valid=0.0 was given; expected a fraction above 0 and below 1 (valid=0.1 is a tenth of train)"),
        (1, "valid=1 was given; expected a fraction above 0 and below 1 (valid=0.1 is a tenth of train)"),
        (float("nan"), "valid=nan was given; expected a fraction above 0 and below 1 (valid=0.1 is a tenth of train)"),
        (
            0.01,
            "valid=0.01 of 8 row(s) leaves 8 to train and 0 to validate; expected both above 0: give more rows or "
            "another fraction",
        ),
        (
            True,
            "valid=True was given; expected a DataFrame, a path, a fraction as in valid=0.1, or the name of the column "
            "of train that marks the rows to validate on",
        ),
        (
            "mork",
            "valid='mork' is no column of train and no file; nearest: mark; the columns of train are: text, label, a, "
            "b, score, mark",
        ),
        ("nowhere.csv", "nowhere.csv: no such file; expected a CSV file"),
        (
            "label",
            "columns ['text', 'label', 'label'] were given, 'label' more than once; expected each once",
        ),
    ],
    ids=str,
)
def test_what_valid_cannot_be(valid, line):
    assert read_error(valid=valid) == line


def test_valid_must_be_given():
    assert error_line(read_examples, frame(), None, "text", "label").startswith(
        "valid=None was given; expected a DataFr"
    )


@pytest.mark.parametrize(
    "mark, line",
    [
        (
            [False] * N,
            "column 'mark' marks none of 8 row(s) as valid; expected some to train and some to validate: mark "
            "others, or write valid=0.1",
        ),
        (
            [1] * N,
            "column 'mark' marks all of 8 row(s) as valid; expected some to train and some to validate: mark others, "
            "or write valid=0.1",
        ),
        (
            ["train", "valid", "test", "x"] * 2,
            "column 'mark' that marks the rows of valid holds 'test', train.iloc[[2, 3, 6, 7]]; expected "
            "True and False, 1 "
            "and 0, or 'valid' and 'train': take other rows out of train first",
        ),
        (
            [1, None] * 4,
            "column 'mark' that marks the rows of valid holds no value, train.iloc[[1, 3, 5, 7]]; expected "
            "True and False, 1 and 0, or 'valid' and 'train': take other rows out of train first",
        ),
        (
            [[1]] * N,
            "column 'mark' that marks the rows of valid holds '[1]', train.iloc[[0, 1, 2, 3, 4]] and 3 more; "
            "expected True and False, 1 and 0, or 'valid' and 'train': take other rows out of train first",
        ),
    ],
    ids=["none", "all", "another word", "missing", "lists"],
)
def test_marks_that_mark_nothing(mark, line):
    assert read_error(frame(mark=mark), valid="mark") == line


def test_rows_of_a_drawn_or_marked_split_are_named_as_rows_of_train():
    text = [f"t{i}" for i in range(5)] + ["", " ", "t7"]
    messages = read(frame(text=text, mark=[0, 0, 0, 0, 0, 1, 1, 1]), valid="mark").messages
    assert messages == ["2 texts of valid are blank (train.iloc[[5, 6]]): they count as special tokens alone"]


@pytest.mark.parametrize("how", (dict(valid="mark"), dict(valid=0.5)), ids=("marked", "drawn"))
def test_what_is_missing_is_counted_over_the_whole_table(how):
    mark = [0, 1] * 4
    assert read_error(frame(text=[None, None] + ["t"] * 6, mark=mark), **how) == (
        "text column 'text' of train is missing in 2 of 8 row(s), train.iloc[[0, 1]]; fill them, as with .fillna(''), "
        "or remove these rows"
    )
    assert read_error(frame(label=["a", "b"] * 3 + [None, None], mark=mark), **how) == (
        "label column 'label' of train is empty in 2 of 8 row(s), train.iloc[[6, 7]]; fill or remove these rows"
    )


# -- test ------------------------------------------------------------------------------------------


def test_a_test_with_labels_without_or_as_a_list():
    def read_test(*args, reader=read, **kwargs):
        return tuple(reader(*args, **kwargs).test[:3])  # the rows themselves come last

    assert read(test=frame()).test.targets.tolist() == [0, 1] * 4
    assert read_test(test=frame(label=None)) == (frame().text.tolist(), None, None)
    assert read_test(test=["x", "y"]) == (["x", "y"], None, None)
    assert read_test(test=("x", "y")) == read_test(test=pd.Series(["x", "y"], index=[7, 7])) == (["x", "y"], None, None)
    paired = frame(second=[f"s{i}" for i in range(N)])
    assert read_test(paired, paired.iloc[:2], text_pair="second", test=[("x", "y")]) == (["x"], ["y"], None)
    assert read_test(test=[["x", "y"]], reader=read_words) == ([["x", "y"]], None, None)
    assert read(test=frame(a=[1] * N), labels=["a", "b"]).test.targets[:, 0].tolist() == [1] * N


@pytest.mark.parametrize(
    "test, kwargs, line",
    [
        (
            frame(a=None),
            dict(labels=["a", "b"]),
            "test has the label column(s) 'b' and lacks 'a'; expected all or none: write "
            "test.drop(columns=['b']), or add the "
            "others",
        ),
        (
            frame(label=[None] * N),
            {},
            "label column 'label' of test is empty in 8 of 8 row(s), test.iloc[[0, 1, 2, 3, 4]] and 3 more; "
            "fill or remove "
            "these rows, or leave the column out: test.drop(columns=['label'])",
        ),
        (
            frame(text=None),
            {},
            "test: no column 'text'; give one of its columns: label, a, b, score, mark; write "
            "test.rename(columns={'...': 'text'})",
        ),
        (
            ["x"],
            dict(text_pair="label", labels="a"),
            "test is list of length 1 and there are pairs; expected pairs of str, or a DataFrame with the "
            "columns 'text', "
            "'label'",
        ),
        (
            ["x", 3, None],
            {},
            "text column 'text' of test is missing in 1 of 3 row(s), [test[i] for i in [2]]; fill them, "
            "as with .fillna(''), or remove these rows",
        ),
        (
            ["x", 3],
            {},
            "text column 'text' of test holds int, no str, in 1 of 2 row(s), [test[i] for i in [1]]; expected a "
            "str each: name the column of texts, or turn it into str with .astype(str)",
        ),
        ([], {}, "test has 0 rows; expected at least one: look at what was filtered before, or leave test out"),
        (
            {"x"},
            {},
            "test is set of length 1; expected a DataFrame, a Hugging Face Dataset or the path of a CSV file: "
            "write pd.DataFrame({'text': [...], 'label': [...]}) (test may be a list of str, too)",
        ),
    ],
    ids=["some labels", "no labels", "no text", "pairs", "missing", "int", "empty", "set"],
)
def test_what_test_cannot_be(test, kwargs, line):
    assert read_error(test=test, **kwargs) == line
