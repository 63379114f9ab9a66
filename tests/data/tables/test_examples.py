"""read_examples: DataFrames or CSV files -> texts and targets, whatever the task and the frame."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastai_hf_callback import InvalidInputError
from fastai_hf_callback.data.tables.examples import TASKS, read_examples
from tests.data.tables.read_helpers import N, frame, make_valid_frame, pd, quick, read, read_error, read_words, words

# -- the four tasks --------------------------------------------------------------------------------


def test_one_label_per_text():
    got = read()
    assert (got.task, got.names, got.messages, got.test) == ("single_label_classification", ["a", "b"], [], None)
    assert got.train.texts == [f"t{i}" for i in range(N)] and got.train.pairs is None
    assert got.train.targets.tolist() == [0, 1] * 4 and got.train.targets.dtype == np.int64
    assert got.valid.texts == ["v0", "v1"] and got.valid.targets.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", ["int64", "bool", "float64", "str", "object", "Int64", "boolean", "category", "int8"])
def test_several_labels_are_columns_of_0_and_1_however_they_are_written(dtype):
    got = read(frame().astype({"a": dtype, "b": dtype}), labels=["b", "a"])
    assert (got.task, got.names) == ("multi_label_classification", ["b", "a"])
    assert got.train.targets.dtype == np.float32
    assert got.train.targets.tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]] * 2
    assert got.valid.targets.tolist() == [[1, 0], [1, 1]]


def test_numbers():
    got = read(labels="score")
    assert (got.task, got.names) == ("regression", ["score"])
    assert got.train.targets.tolist() == [0.5, 1, 2, 3, 4, 5, 6, 7] and got.train.targets.dtype == np.float32
    got = read(labels=["score", "a"])
    assert (got.task, got.names, got.train.targets.shape) == ("regression", ["score", "a"], (N, 2))
    assert got.train.targets.dtype == np.float32 and got.train.targets[1].tolist() == [1, 1]


def test_a_label_per_word():
    got = read_words()
    assert (got.task, got.names) == ("token-classification", ["B", "O"])
    assert got.train.texts == [["EU", "rejects"], ["Peter"], [], ["in", "Bonn"]]
    assert [target.tolist() for target in got.train.targets] == [[0, 1], [0], [], [1, 0]]
    assert all(target.dtype == np.int64 for target in got.train.targets)
    assert got.messages == ["1 text of train is blank (train.iloc[[2]]): it trains as special tokens alone"]


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_words_and_labels_may_be_lists_tuples_or_arrays(kind):
    held = words()
    for column in ("words", "tags"):
        held[column] = pd.Series([kind(value) for value in held[column]], index=held.index, dtype=object)
    got, plain = read_words(held), read_words()
    assert got.train.texts == plain.train.texts and got.names == plain.names


def test_lists_of_names_beside_texts_are_several_labels():
    got = read_words(text="text", labels="names")
    assert (got.task, got.names) == ("multi_label_classification", ["x", "y"])
    assert got.train.targets.tolist() == [[1, 0], [0, 0], [1, 1], [0, 1]] and got.train.targets.dtype == np.float32
    assert read_words(
        words(names=[[10], [9], [9, 9], []]), words(names=[[9]] * 4), text="text", labels="names"
    ).train.targets.tolist() == [[0, 1], [1, 0], [1, 0], [0, 0]]


def test_a_list_of_one_column_is_that_column():
    assert read(labels=["label"]).names == ["a", "b"]
    assert read(labels=["score"]).train.targets.shape == (N,)
    got = read(labels=["a"], task="multi_label_classification")
    assert (got.names, got.train.targets.shape) == (["a"], (N, 1))


@pytest.mark.parametrize(
    "values, names",
    [
        ([2, 10] * 4, ["2", "10"]),
        (["2", "10"] * 4, ["2", "10"]),
        ([2.0, 10.0] * 4, ["2", "10"]),
        (["x", "10", "2", "X"] * 2, ["2", "10", "X", "x"]),
        ([True, False] * 4, ["False", "True"]),
        (pd.Categorical(list("abababab"), categories=list("cba")), ["b", "a"]),
        (pd.Categorical([2, 10] * 4, categories=[10, 2]), ["10", "2"]),
        (pd.array([1, 0] * 4, dtype="Int64"), ["0", "1"]),
        (pd.array(list("baba") * 2, dtype="string"), ["a", "b"]),
        ([1, "1", 0, "0"] * 2, ["0", "1"]),
    ],
    ids=repr,
)
def test_classes_are_named_and_in_their_natural_order(values, names):
    got = read(frame(label=values), frame(label=values, text=list("abcdefgh")))
    assert (got.task, got.names) == ("single_label_classification", names)
    held = [str(int(value)) if isinstance(value, float) else str(value) for value in values]
    assert [got.names[i] for i in got.train.targets] == held


def test_a_task_that_is_given_is_taken():
    assert read(labels="a").task == "single_label_classification"
    assert read(labels="a", task="regression").train.targets.dtype == np.float32
    assert read(labels=["a", "b"], task="regression").task == "regression"
    assert read(labels="score", task="single_label_classification").names == ["0.5", "1", "2", "3", "4", "5", "6", "7"]
    assert read(frame(label=["0.5", "1"] * 4), frame(label=["1", "2"] * 4), task="regression").valid.targets.sum() == 12
    assert read(frame(label=[Decimal("0.5")] * N), make_valid_frame(label=[1] * N)).task == "regression"


@pytest.mark.parametrize(
    "kwargs, line",
    [
        (
            dict(task="single_label"),
            "task='single_label' was given; nearest: single_label_classification; expected one of "
            "single_label_classification, multi_label_classification, regression, token-classification, "
            "question-answering",
        ),
        (
            dict(task=3),
            "task=3 was given; expected one of single_label_classification, multi_label_classification, "
            "regression, token-classification, question-answering",
        ),
        (
            dict(task="single_label_classification", labels=["a", "b"]),
            "task='single_label_classification' takes one label column and 2 were given, 'a', 'b'; give one, "
            "or write task='multi_label_classification' (columns of 0 "
            "and 1) or task='regression'",
        ),
        (
            dict(task="regression"),
            "label column 'label' of train holds 'a', train.iloc[[0, 1, 2, 3, 4]] and 3 more; expected "
            "numbers: write task='single_label_classification' for classes, or turn them into numbers first",
        ),
        (
            dict(task="multi_label_classification"),
            "label column 'label' of train holds 'a', train.iloc[[0, 1, 2, 3, 4]] and 3 more; several labels "
            "need columns "
            "that hold 0 and 1 only: write 1 for yes and 0 for no (numbers: task='regression'; one column of "
            "classes: give it "
            "alone)",
        ),
        (
            dict(task="token-classification"),
            "text column 'text' of train holds str in 8 of 8 row(s), train.iloc[[0, 1, 2, 3, 4]] and 3 "
            "more; task 'token-classification' needs a list of str in each, as .str.split() gives",
        ),
        (
            dict(labels=["a", "label"]),
            "label column 'label' holds 'a', train.iloc[[0, 1, 2, 3, 4]] and 3 more; several label columns "
            "must hold 0 and 1 "
            "(several labels per text) or numbers; give one column of classes alone",
        ),
    ],
)
def test_a_task_that_does_not_fit(kwargs, line):
    assert read_error(**kwargs) == line


def test_the_tasks_are_these():
    assert TASKS == (
        "single_label_classification",
        "multi_label_classification",
        "regression",
        "token-classification",
        "question-answering",
    )


# -- whatever the frame ----------------------------------------------------------------------------

INDEX = st.one_of(st.integers(-2, 2), st.sampled_from(["i", "j"]), st.none())


@st.composite
def frames(draw):
    n = draw(st.integers(4, 20))
    kind = draw(st.sampled_from([st.integers(-3, 3), st.sampled_from(["x", "y", "Z", "10", "9"]), st.booleans()]))
    rows = draw(st.lists(st.tuples(st.text(max_size=4), kind, INDEX), min_size=n, max_size=n))
    texts, labels, index = zip(*rows)
    return pd.DataFrame({"label": labels, "text": pd.Series(texts, dtype=object)}).set_index(
        pd.Index(index, dtype=object)
    )


@quick
@given(held=frames(), fraction=st.floats(0.1, 0.9), seed=st.integers(0, 99))
def test_any_split_of_any_frame_holds_its_rows_in_order_and_decodes_to_its_labels(held, fraction, seed):
    before = held.copy(deep=True)
    try:
        got = read_examples(held, fraction, "text", "label", task="single_label_classification", seed=seed)
    except InvalidInputError as error:
        assert any(why in str(error) for why in ("holds only", "train never does", "expected both above 0"))
    else:
        rows = list(zip(held.text, held.label.map(str)))
        sides = [list(zip(side.texts, (got.names[i] for i in side.targets))) for side in (got.train, got.valid)]
        assert sorted(sides[0] + sides[1]) == sorted(rows)
        for side in sides:
            left = iter(rows)
            assert all(row in left for row in side), "a subsequence: in order"
        assert any("also in train" in line for line in got.messages) == bool(
            set(got.train.texts) & set(got.valid.texts)
        )
    pd.testing.assert_frame_equal(held, before)


@quick
@given(held=frames(), marks=st.lists(st.booleans(), min_size=20, max_size=20))
def test_marked_rows_are_exactly_the_rows_of_valid(held, marks):
    held["mark"] = marks[: len(held)]
    try:
        got = read_examples(held, "mark", "text", "label", task="single_label_classification")
    except InvalidInputError as error:
        assert any(why in str(error) for why in ("holds only", "train never does", "expected some to train"))
    else:
        assert got.valid.texts == [text for text, mark in zip(held.text, held.mark) if mark]
        assert [got.names[i] for i in got.train.targets] == [
            str(label) for label, mark in zip(held.label, held.mark) if not mark
        ]


@quick
@given(lists=st.lists(st.lists(st.sampled_from("xyzuv"), max_size=4), min_size=3, max_size=12))
def test_lists_decode_to_the_sets_and_sequences_they_were(lists):
    held = pd.DataFrame(
        {
            "text": [f"{i} two three four five six" for i in range(len(lists))],
            "words": [list("w" * len(each)) for each in lists],
            "held": lists,
        }
    )
    try:
        per_word = read_examples(held, held, "words", "held", task="token-classification")
        assert [[per_word.names[i] for i in target] for target in per_word.valid.targets] == lists
        several = read_examples(held, held, "text", "held", task="multi_label_classification")
        assert [{name for name, bit in zip(several.names, row) if bit} for row in several.valid.targets] == list(
            map(set, lists)
        )
    except InvalidInputError as error:
        assert "holds only" in str(error) or "is always 1" in str(error)


@pytest.mark.parametrize(
    "kwargs",
    [
        dict(valid=0.25),
        dict(valid="mark"),
        dict(labels=["a", "b"]),
        dict(labels="score"),
        dict(labels=["a", "score"]),
        dict(test=frame()),
        dict(train=frame(text=["", None] * 4)),
        dict(labels="lable"),
        dict(text_pair="label", labels="a"),
    ],
    ids=str,
)
def test_the_caller_s_frames_are_never_changed(kwargs):
    given = dict(dict(train=frame(), valid=make_valid_frame()), **kwargs)
    frames_given = [each for each in given.values() if isinstance(each, pd.DataFrame)]
    before = [each.copy(deep=True) for each in frames_given]
    try:
        got = read(**given)
        got.train.targets[:] = 0
        got.train.texts[:] = []
    except InvalidInputError:
        pass
    for each, was in zip(frames_given, before):
        pd.testing.assert_frame_equal(each, was)


def test_numpy_s_own_generator_is_not_touched():
    before = np.random.get_state()[1].copy()
    read(valid=0.5, seed=1)
    assert (np.random.get_state()[1] == before).all()


# -- what would pass for something else ----------------------------------------------------------------


def test_a_stray_value_among_bits_is_told_and_changes_no_task():
    assert read_error(frame(a=[0, 1, 2, 1, 0, 1, 0, 1]), labels=["a", "b"]) == (
        "label column 'a' of train holds 2, train.iloc[[2]]; several labels need columns that hold 0 and 1 only: write "
        "1 for yes and 0 for no (numbers: task='regression'; one column of classes: give it alone)"
    )
    assert (
        read(frame(a=range(N), b=range(N)), make_valid_frame(a=range(N), b=range(N)), labels=["a", "b"]).task
        == "regression"
    )


def test_codes_with_a_leading_zero_stay_as_they_are_written(csv):
    train, valid = csv("text,label\nt,01\nu,1\nv,02\nw,01\n"), csv("text,label\nx,1\n", "valid.csv")
    found = read(train, valid)
    assert found.names == ["01", "1", "02"] and found.train.targets.tolist() == [0, 1, 2, 0]
    assert found.valid.targets.tolist() == [1]


def test_lists_that_a_file_turned_into_text_are_told(csv):
    path = csv(pd.DataFrame(dict(text=["a", "b", "c", "d"], label=[["x"], ["y"], ["x", "y"], ["x"]])))
    assert read_error(path, 0.25) == (
        "label column 'label' holds lists written as text, as \"['x']\"; expected lists: frame['label'] = "
        "frame['label'].map(ast.literal_eval), and give the frame"
    )


def test_a_whole_number_that_train_never_has_may_be_one_to_predict():
    line = read_error(frame(label=[1, 2, 3, 4] * 2), make_valid_frame(label=[9] * N))
    assert line.endswith("give train rows of it, or leave these out; numbers to be predicted: task='regression'")


@pytest.mark.parametrize("seed", ["a", -1, 1.5, None, True])
def test_a_seed_is_a_whole_number(seed):
    assert read_error(frame(), 0.25, seed=seed) == f"seed={seed!r} was given; expected a whole number of at least 0"


def test_half_a_character_is_named_with_its_row():
    held = frame()
    held = held.assign(text=held.text.astype(object).where(held.text != "t2", "half \ud83d"))
    assert read_error(held) == (
        "text column 'text' of train holds half a character (a lone surrogate, as JSON that was cut leaves it) in 1 of "
        "8 row(s), train.iloc[[2]]; repair or remove these rows, or write .map(lambda text: text.encode('utf-8', "
        "'replace').decode())"
    )
    assert read(held.iloc[3:]).train.texts == [f"t{i}" for i in range(3, N)]
