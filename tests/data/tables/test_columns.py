"""read_examples: frames, files, their columns and their texts, or one line that says what is wrong."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.data.tables.read_helpers import N, frame, make_valid_frame, pd, read, read_error, read_words, words

# -- frames, files and their columns ---------------------------------------------------------------


class Dataset:
    def __init__(self, held):
        self.held = held

    def to_pandas(self):
        return self.held


def test_what_turns_into_a_frame_is_a_frame():
    assert read(Dataset(frame())).train.texts == read().train.texts
    assert read_error(Dataset(frame(label=["a", None] * 4))) == (
        "label column 'label' of train is empty in 4 of 8 row(s), train.to_pandas().iloc[[1, 3, 5, 7]]; fill or remove "
        "these rows"
    )
    assert read_error(Dataset("no frame")).startswith("train is Dataset; expected a DataFrame")


@pytest.mark.parametrize(
    "given, what",
    [
        ([1, 2, 3], "list of length 3"),
        (np.zeros((3, 2)), "ndarray of shape (3, 2)"),
        ({"a": [1]}, "dict of length 1"),
        (pd.Series(["x"]), "Series of shape (1,)"),
        (3, "int 3"),
        (print, "builtin_function_or_method"),
    ],
    ids=["list", "array", "dict", "series", "int", "function"],
)
def test_what_is_no_frame_is_described(given, what):
    assert read_error(given) == (
        f"train is {what}; expected a DataFrame, a Hugging Face Dataset or the path of a CSV "
        f"file: write pd.DataFrame({{'text': [...], 'label': [...]}})"
    )
    if not isinstance(given, int):
        assert read_error(valid=given).startswith(f"valid is {what}; expected a DataFrame, a Hugging Face Dataset")


@pytest.mark.parametrize(
    "kwargs, line",
    [
        (
            dict(labels="lable"),
            "train: no column 'lable'; nearest: label; give one of its columns: text, label, a, b, score, mark",
        ),
        (
            dict(text="txt"),
            "train: no column 'txt'; nearest: text; give one of its columns: text, label, a, b, score, mark",
        ),
        (dict(text_pair="q"), "train: no column 'q'; give one of its columns: text, label, a, b, score, mark"),
        (
            dict(valid=frame(label=None)),
            "valid: no column 'label'; give one of its columns: text, a, b, score, mark; write "
            "valid.rename(columns={'...': 'label'})",
        ),
        (
            dict(labels="text"),
            "columns ['text', 'text'] were given, 'text' more than once; expected each once",
        ),
        (
            dict(labels=["a", "a"]),
            "columns ['text', 'a', 'a'] were given, 'a' more than once; expected each once",
        ),
        (dict(labels=[]), "labels=[] was given; expected the name of a column, or a list of names: labels='label'"),
        (dict(labels=None), "labels=None was given; expected the name of a column, or a list of names: labels='label'"),
        (
            dict(text=["text"]),
            "a list was given for a column; expected the name of one: text='text', labels='label' or labels=['a', 'b']",
        ),
        (
            dict(train=frame().assign(c=1).rename(columns={"c": "label"})),
            "train: 2 columns are called 'label'; expected one: rename or drop the others",
        ),
    ],
    ids=["label", "text", "pair", "valid", "text as label", "twice", "no labels", "None", "list", "two of a name"],
)
def test_columns_that_are_not_there_or_given_twice(kwargs, line):
    assert read_error(**kwargs) == line


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_no_split_may_be_empty(split):
    also = ", or leave test out" if split == "test" else ""
    assert read_error(**{split: frame()[:0]}) == (
        f"{split} has 0 rows; expected at least one: look at what was filtered before{also}"
    )


def test_a_file_reads_as_the_frame_it_was_written_from(csv):
    held = frame(text=["NA", "null", " x ", "1", "007", "a,b", "é", "two\nlines"])
    plain, packed = csv(held), csv(gzip.compress(held.to_csv(index=False).encode()), "data.csv.gz")
    for kwargs in (
        dict(labels="label"),
        dict(labels="score"),
        dict(labels=["a", "b"]),
        dict(labels=["a", "score"]),
        dict(labels=["mark", "b"]),
        dict(labels="a", valid="mark"),
        dict(labels="mark", valid=0.5, seed=1),
    ):
        wanted = read(held, **kwargs)
        for path in (plain, str(plain), packed):
            got = read(path, **kwargs)
            assert got[3:] == wanted[3:] and got.train.texts == wanted.train.texts
            assert got.train.targets.tolist() == wanted.train.targets.tolist()
            assert got.train.targets.dtype == wanted.train.targets.dtype
    assert read(valid=plain, test=str(packed)).test.texts == held.text.tolist()


def test_rows_of_a_file_are_counted_below_its_header(csv):
    path = csv("text,label\nx,a\ny,\nz,b\nw\n")
    assert read_error(path) == (
        f"label column 'label' of train is empty in 2 of 4 row(s), row(s) 2, 4 (counted from 1 "
        f"below the header) of {path}; fill or remove these rows"
    )
    assert read_error(valid=path) == (
        f"label column 'label' of valid is empty in 2 of 4 row(s), row(s) 2, 4 (counted "
        f"from 1 below the header) of {path}; fill or remove these rows"
    )


@pytest.mark.parametrize(
    "content, line",
    [
        ("text;label\nx;a\n", "PATH: its header is one column, 'text;label'; write pd.read_csv(path, sep=';')"),
        (
            "text,label\nx,a\nx,y,a\n",
            "PATH: not readable as CSV (Error tokenizing data. C error: Expected 2 fields in line "
            "3, saw 3); write pd.read_csv(path, sep=...), or repair it",
        ),
        (
            "text,label\nx,y,a\nz,w,a\n",
            "PATH: not readable as CSV (Error tokenizing data. C error: Expected 2 fields in line "
            "2, saw 3); write pd.read_csv(path, sep=...), or repair it",
        ),
        (
            "text,label\ncafé,0\n".encode("latin-1"),
            "PATH: not utf-8 ('utf-8' codec can't decode byte 0xe9 in position 3: unexpected end of data); write "
            "pd.read_csv(path, encoding='latin-1'), or save it as UTF-8",
        ),
        ("text,label\n", "PATH: a header and no rows; expected at least one text per class"),
        ("text,lable\nx,1\n", "PATH: no column 'label'; nearest: lable; give one of its columns: text, lable"),
    ],
    ids=["separator", "ragged", "index", "encoding", "empty", "column"],
)
def test_a_file_that_cannot_be_used_names_what_python_can_do(csv, content, line):
    path = csv(content)
    assert read_error(path).replace(str(path), "PATH") == line


def test_a_missing_file_names_its_neighbours(csv):
    path = csv(frame(), "comments.csv").with_name("coments.csv")
    assert read_error(path) == f"{path}: no such file; expected a CSV file; nearest: comments.csv"
    assert read_error(valid=Path("nowhere")) == "nowhere: no such file; expected a CSV file"


# -- texts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "texts, line",
    [
        (
            ["x", None, np.nan, pd.NA] * 2,
            "text column 'text' of train is missing in 6 of 8 row(s), train.iloc[[1, 2, 3, 5, "
            "6]] and 1 more; fill them, as with .fillna(''), or remove these rows",
        ),
        (
            ["x", 1] * 4,
            "text column 'text' of train holds int, no str, in 4 of 8 row(s), train.iloc[[1, 3, 5, 7]]; "
            "expected a str each: name the column of texts, or turn it into str with .astype(str)",
        ),
        (
            [["x"]] * N,
            "text column 'text' of train holds list, no str, in 8 of 8 row(s), train.iloc[[0, 1, 2, 3, 4]] and 3 "
            "more; expected a str each: name the column of texts, or turn it into str with .str.join(' ')",
        ),
    ],
    ids=["missing", "int", "lists"],
)
def test_texts_that_are_none(texts, line):
    assert read_error(frame(text=texts)) == line
    assert read_error(frame(pair=texts), frame(pair="x"), text_pair="pair") == line.replace("'text'", "'pair'")


def test_pairs_are_read_beside_the_texts():
    got = read(frame(pair=list("ABCDEFGH")), frame(pair=list("abcdefgh")), text_pair="pair", test=frame(pair="z"))
    assert got.train.pairs == list("ABCDEFGH") and got.valid.pairs == list("abcdefgh")
    assert got.test.pairs == ["z"] * N and got.messages == [], "another pair is another row"


def test_blank_texts_are_kept_and_told():
    got = read(frame(text=["", " \n", "c", "d", "e", "f", "g", "h"]), test=["x", "\t"])
    assert len(got.train.texts) == N
    assert got.messages == [
        "2 texts of train are blank (train.iloc[[0, 1]]): they train as special tokens alone",
        "1 text of test is blank ([test[i] for i in [1]]): it counts as special tokens alone",
    ]


def test_a_column_of_numbers_is_told_of():
    messages = read(frame(text=[f"10{i}" for i in range(N)])).messages
    assert messages[0] == (
        "column 'text' holds a number in each of 8 row(s) of train, as '100': is it that of the texts? "
        "text=... names it"
    )
    assert not any("holds a number" in line for line in read(frame(text=["7", *"abcdefg"])).messages)


def test_a_pair_is_blank_when_both_are_and_half_blank_is_told_too():
    got = read(
        frame(text=["", "b", ""] + ["c"] * 5, pair=["", "", "x"] + ["d"] * 5),
        make_valid_frame(pair="v"),
        text_pair="pair",
    )
    assert got.messages == [
        "1 text of train is blank (train.iloc[[0]]): it trains as special tokens alone",
        "2 pairs of train are half blank (train.iloc[[1, 2]]): they train with one text and special tokens",
    ]


def test_rows_that_are_in_train_and_valid_are_told():
    twins = read(valid=frame(text=["t3", "v", "t3", "w", "t0", "x", "y", "z"])).messages
    assert twins == [
        "3 of 8 texts of valid are also in train: the score on valid counts what was learned by heart; "
        "remove these rows from one of the two (valid.iloc[[0, 2, 4]])"
    ]
    assert read_words(
        words(words=[["a"], ["b"], ["c"], ["d"]], tags=[["O"], ["B"]] * 2),
        words(words=[["a"], ["ab"], ["b", "c"], ["x"]], tags=[["O"], ["B"], ["O", "O"], ["O"]]),
    ).messages == [
        "1 of 4 texts of valid is also in train: the score on valid counts what was learned by heart; remove these "
        "rows from one of the two (valid.iloc[[0]])"
    ]
