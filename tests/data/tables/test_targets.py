"""read_examples: labels, bits, numbers and lists of labels, or one line that says what is wrong."""

import numpy as np
import pytest

from tests.data.tables.read_helpers import error_line, frame, pd, read, read_error, read_words, words

# -- labels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column, task",
    [
        (["a", None] * 4, None),
        (["a", " "] * 4, "single_label_classification"),
        ([1, np.nan] * 4, None),
        (pd.array([1, None] * 4, dtype="Int64"), "regression"),
        (pd.Categorical(["a", None] * 4), "single_label_classification"),
        ([0, np.nan] * 4, "multi_label_classification"),
    ],
    ids=["None", "blank", "nan", "NA", "category", "bits"],
)
def test_labels_that_are_missing(column, task):
    assert read_error(frame(label=column), task=task) == (
        "label column 'label' of train is empty in 4 of 8 row(s), train.iloc[[1, 3, 5, 7]]; fill or remove these rows"
    )


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_class_that_train_never_has(split):
    assert read_error(**{split: frame(label=list("abaBcabB"))}) == (
        f"label column 'label' of {split} holds 'B', 'c' in 3 row(s), {split}.iloc[[3, 4, 7]], and train never does; "
        f"give train rows of it, or leave these out"
    )
    assert error_line(read_words, **{split: words(tags=[["O", "I"], ["B"], [], ["O", "I"]])}) == (
        f"label column 'tags' of {split} holds 'I' in 2 row(s), {split}.iloc[[0, 3]], and train never does; give train "
        f"rows of it, or leave these out"
    )


def test_an_unused_category_is_no_class_but_one_that_valid_uses_must_be_in_train():
    kinds = pd.CategoricalDtype(list("cba"))
    assert read(frame().astype({"label": kinds}), frame().astype({"label": kinds})).names == ["b", "a"]
    assert "holds 'c' in 8 row(s)" in read_error(frame().astype({"label": kinds}), frame(label="c"))


def test_classes_fix_names_and_order():
    got = read(classes=["b", "a"])
    assert got.names == ["b", "a"] and got.train.targets.tolist() == [1, 0] * 4
    assert read(labels="a", classes=[np.int64(1), 0]).names == ["1", "0"]
    assert read_words(classes=("O", "B")).names == ["O", "B"]
    assert read_words(text="text", labels="names", classes=["y", "x"]).train.targets[0].tolist() == [0, 1]


def test_a_list_of_classes_is_kept_with_those_that_a_fold_lacks():
    """In every split but train a class may be there that train lacks; its number is that of the list."""
    got = read(frame(label="b"), frame(label=list("abcabcab")), classes=["c", "b", "a"])
    assert got.names == ["c", "b", "a"] and got.train.targets.tolist() == [1] * 8
    assert got.valid.targets.tolist() == [2, 1, 0, 2, 1, 0, 2, 1]
    assert got.messages[0] == (
        "the 8 row(s) of train hold no 'c', 'a', which 3 classes were given for: the model has an output for it and "
        "learns nothing of it"
    )
    of_lists = read_words(text="text", labels="names", classes=["w", "y", "x"])
    assert of_lists.names == ["w", "y", "x"] and of_lists.train.targets[:, 0].sum() == 0
    assert "hold no 'w'," in of_lists.messages[0]
    assert read_words(classes=("O", "B", "I")).names == ["O", "B", "I"]
    assert not any("hold no" in line for line in [*read(classes=["b", "a"]).messages, *read().messages])
    assert "holds 'd'" in read_error(valid=frame(label="d"), classes=["a", "b", "c"])  # the broken arm: of no list


def test_classes_are_the_names_of_labels_0_and_1():
    got = read(labels="a", classes=["no", "yes"])
    assert got.names == ["no", "yes"] and got.train.targets.tolist() == [0, 1] * 4
    got = read_words(words(tags=[[1, 0], [1], [], [0, 1]]), words(tags=[[0, 0], [1], [], [0, 1]]), classes=["O", "B"])
    assert got.names == ["O", "B"] and got.train.targets[0].tolist() == [1, 0]
    assert "holds '2' in 8 row(s)" in read_error(labels="a", classes=["no", "yes"], valid=frame(a=2))


@pytest.mark.parametrize(
    "kwargs, line",
    [
        (
            dict(classes=["a", "bb"]),
            "label column 'label' of train holds 'b', train.iloc[[1, 3, 5, 7]], and classes does "
            "not; nearest: bb; add to classes, or remove these rows",
        ),
        (
            dict(classes="ab"),
            "classes='ab' was given; expected a list of names, each once, in the order of their numbers",
        ),
        (
            dict(classes=["a", "a"]),
            "classes=['a', 'a'] was given; expected a list of names, each once, in the order of their numbers",
        ),
        (
            dict(classes=["a"], labels="score"),
            "classes was given and task is 'regression', whose names are its label columns, 'score'; leave classes out",
        ),
        (
            dict(classes=["a"], labels=["a", "b"]),
            "classes was given and task is 'multi_label_classification', whose names are its label "
            "columns, 'a', 'b'; leave classes out",
        ),
    ],
    ids=["too few", "str", "twice", "regression", "multi_label_classification"],
)
def test_classes_that_do_not_fit(kwargs, line):
    assert read_error(**kwargs) == line


def test_one_class_is_none():
    assert read_error(frame(label="a")) == (
        "label column 'label' holds only 'a' in the 8 row(s) of train; expected at "
        "least two classes: give rows of another"
    )
    assert error_line(read_words, words(tags=[["O", "O"], ["O"], [], ["O", "O"]])).startswith(
        "label column 'tags' holds only 'O' in the 4 row(s) of train"
    )
    assert error_line(read_words, words(tags=[[], [], [], []])).startswith(
        "label column 'tags' holds only empty lists in the 4 row(s) of train"
    )


@pytest.mark.parametrize("bit, always", [(0, "never"), (1, "always")])
def test_a_label_that_is_always_the_same_in_train(bit, always):
    assert read_error(frame(b=bit), labels=["a", "b"]) == (
        f"label column 'b' is {always} 1 in the 8 row(s) of train: nothing can be learned of it; leave it out of "
        f"labels, or give more rows"
    )
    assert read_error(frame(a=bit, b=bit), labels=["a", "b", "mark"]) == (
        f"label column 'a' is {always} 1 in the 8 row(s) of train (1 more like it: 'b'): nothing can be learned of it; "
        f"leave it out of labels, or give more rows"
    )
    assert read(valid=frame(b=bit), labels=["a", "b"]).task == "multi_label_classification", "valid may"


def test_a_name_that_is_in_every_list_of_train():
    assert error_line(read_words, words(names=[["x"], ["x", "y"]] * 2), text="text", labels="names") == (
        "label 'x' of column 'names' is always 1 in the 4 row(s) of train: nothing can be learned of it; leave it out "
        "of those lists, or give more rows"
    )


def test_other_values_than_bits_in_valid_are_refused_though_train_has_none():
    assert read_error(valid=frame(b=[0, 1, 2, 0.5, 0, 1, 0, 1]), labels=["a", "b"]) == (
        "label column 'b' of valid holds 2.0, valid.iloc[[2, 3]]; several labels need columns that hold 0 and 1 only: "
        "write 1 for yes and 0 for no (numbers: task='regression'; one column of classes: give it alone)"
    )


@pytest.mark.parametrize("value, shown", [(np.inf, "inf"), (-np.inf, "-inf"), (1e300, "1e+300")])
def test_numbers_that_are_infinite(value, shown):
    assert read_error(frame(score=[0.5, value] * 4), labels="score") == (
        f"label column 'score' of train holds {shown}, train.iloc[[1, 3, 5, 7]]; expected finite numbers that float32 "
        f"holds: fill or remove these rows"
    )


def long(values):
    return pd.DataFrame({"text": [f"t{i}" for i in range(len(values))], "label": values})


def test_very_many_different_values_are_no_classes():
    assert read_error(long(range(30)), long([1])) == (
        "label column 'label' holds 30 different values in 30 rows of train, as numbers do; write "
        "task='regression', or "
        "give a column of classes (task='single_label_classification' if these are classes)"
    )
    assert read_error(long([f"id{i}" for i in range(30)]), long(["id1"])) == (
        "label column 'label' holds 30 different values in 30 rows of train, as ids or texts do; give a column of "
        "classes (task='single_label_classification' if these are classes)"
    )


@pytest.mark.parametrize(
    "train, kwargs",
    [
        (long(range(20)), {}),
        (long(list(range(25)) * 2), {}),
        (long(range(30)), dict(task="single_label_classification")),
        (long(range(30)), dict(classes=list(range(30)))),
    ],
    ids=["few", "half of the rows", "task", "classes"],
)
def test_as_many_as_classes_may_be(train, kwargs):
    assert read(train, long([1]), **kwargs).task == "single_label_classification"
    assert read(long(range(30)), long([1]), task="regression").task == "regression"


@pytest.mark.parametrize(
    "values, held",
    [
        ([{}] * 4, "a dict"),
        ([{1}] * 4, "a set"),
        ([pd.Timestamp("2020")] * 4, "a Timestamp"),
    ],
)
def test_what_is_no_label(values, held):
    assert error_line(read_words, words(names=values), text="text", labels="names") == (
        f"label column 'names' of train holds {held}, which is no label, train.iloc[[0, 1, 2, 3]]; expected str, whole "
        f"numbers or bools"
    )


# -- lists of labels -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values, line",
    [
        (
            [["x", None], [], ["y"], []],
            "label column 'names' of train holds None, which is no label, train.iloc[[0]]; "
            "expected str, whole numbers or bools",
        ),
        (
            [["x"], [np.nan], ["y"], [np.nan]],
            "label column 'names' of train holds nan, which is no label, train.iloc[[1, "
            "3]]; expected str, whole numbers or bools",
        ),
        (
            [[1.0], [0.5], [0.5], []],
            "label column 'names' of train holds 0.5, which is no label, train.iloc[[1, 2]]; expected "
            "str, whole numbers or bools",
        ),
        (
            [["x"], "x", ["y"], []],
            "label column 'names' of train holds 'x', train.iloc[[1]]; expected a list in every row, as in the others",
        ),
        (
            [[0, 1], [1, 0], [1, 1], [0, 1]],
            "label column 'names' holds lists of 2 times 0 or 1; expected lists of the names of labels, or "
            "columns of 0 and "
            "1: train[names] = train['names'].tolist() and labels=names",
        ),
    ],
    ids=["None", "nan", "numbers", "no list", "bits"],
)
def test_lists_that_hold_no_names(values, line):
    assert error_line(read_words, words(names=values), words().iloc[1:2], text="text", labels="names") == line


def test_lists_of_another_task_are_refused():
    assert error_line(read_words, text="text", labels="names", task="single_label_classification") == (
        "label column 'names' of train holds a list, which is no label, train.iloc[[0, 1, 2, 3]]; expected str, whole "
        "numbers or bools"
    )


def test_a_label_per_word_of_a_text_that_is_not_in_words_is_not_guessed_at():
    train = words(text=["EU rejects", "Peter", "", "in Bonn"])
    assert error_line(read_words, train, text="text") == (
        "label column 'tags' holds as many labels as 'text' has words, in every row of train; write "
        "task='multi_label_classification' if "
        "they belong to the text, or give lists of words (one label per word): train['text'] = "
        "train['text'].str.split()"
    )
    assert read_words(train, text="text", task="multi_label_classification").task == "multi_label_classification"


def test_one_label_of_one_word_is_no_sign_of_a_label_per_word():
    train = words(text=["EU", "Peter", "in", "Bonn"], names=[["x"], ["y"], ["x"], ["y"]])
    assert read_words(train, text="text", labels="names").task == "multi_label_classification"


def test_words_and_labels_must_be_as_many():
    for split in ("train", "valid", "test"):
        assert error_line(read_words, **{split: words(tags=[["B", "O"], ["B", "O"], [], ["O"]])}) == (
            f"2 row(s) of {split} have other numbers of words and labels, {split}.iloc[[1, 3]] (the first: 1 words in "
            f"'words', 2 labels in 'tags'); expected one label per word"
        )


def test_words_that_are_none():
    assert error_line(read_words, words(words=[["EU", 3], ["Peter"], [], ["in", None]])) == (
        "text column 'words' of train holds a list with int in 2 of 4 row(s), train.iloc[[0, 3]]; task "
        "'token-classification' needs "
        "a list of str in each, as .str.split() gives"
    )
    assert error_line(read_words, words(), words(), text_pair="text") == (
        "text_pair='text' was given and task is 'token-classification'; expected one text of words per row: "
        "leave text_pair out"
    )
