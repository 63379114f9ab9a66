"""read_table and split_rows: texts and targets, or one line that says what is wrong and what to write."""

import bz2
import gzip
import lzma
import random
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import InvalidInputError
from fastai_hf_callback.data.tables.table import read_table, split_rows

pytest.importorskip("pandas")
quick = settings(deadline=None, max_examples=40)

LABELS = "text,a,b\nfirst,0,1\nsecond,1,0\nthird,0.0, 1.0 \n"
CLASSES = "text,kind\none,10\ntwo,9\nthree,10\nfour,9\n"


@pytest.fixture
def csv(tmp_path):
    """A file with this content, text or bytes."""

    def write(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def read_error(path, text="text", labels=("kind",), **kwargs):
    """The one line that says why `path` cannot be used, with the path left out."""
    with pytest.raises(InvalidInputError) as error:
        read_table(path, text, list(labels), **kwargs)
    line = str(error.value)
    assert "\n" not in line
    return line.replace(str(path), "PATH")


# -- what can be read ------------------------------------------------------------------------------


def test_several_columns_of_bits_become_a_matrix(csv):
    table = read_table(csv(LABELS), "text", ["b", "a"])
    assert table.texts == ["first", "second", "third"]
    assert table.names == ["b", "a"] and table.is_multi_label
    assert table.targets.tolist() == [[1, 0], [0, 1], [1, 0]] and table.targets.dtype == np.float32


def test_one_column_of_classes_becomes_numbers_in_the_order_of_the_classes(csv):
    table = read_table(csv(CLASSES), "text", ["kind"])
    assert table.names == ["9", "10"] and not table.is_multi_label
    assert table.targets.tolist() == [1, 0, 1, 0] and table.targets.dtype == np.int64


@pytest.mark.parametrize(
    "classes, order",
    [
        ("spam ham eggs", ["eggs", "ham", "spam"]),
        ("2 10 1", ["1", "2", "10"]),
        ("x 10 2", ["2", "10", "x"]),
        ("0.5 -1 .25", ["-1", ".25", "0.5"]),
        ("3 nan 1 2 inf 0 7 5", ["0", "1", "2", "3", "5", "7", "inf", "nan"]),
    ],
)
def test_classes_are_ordered_by_number_then_by_word(csv, classes, order):
    rows = [f"some text,{name}" for name in classes.split() * 3]
    random.Random(0).shuffle(rows)
    assert read_table(csv("\n".join(["text,kind", *rows])), "text", ["kind"]).names == order


@pytest.mark.parametrize(
    "text", ["NA", "null", "None", "1", "007", " spaces ", 'a "quoted" word', "two\nlines", "é, ü"]
)
def test_a_text_stays_what_it_is(csv, text):
    quoted = '"' + text.replace('"', '""') + '"'
    assert read_table(csv(f"text,kind\n{quoted},0\nx,1\ny,0\nz,1\n"), "text", ["kind"]).texts[0] == text


@pytest.mark.parametrize("suffix, pack", [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_packed_files_are_read_as_they_are(csv, suffix, pack):
    path = csv(pack(CLASSES.encode()), f"data.csv.{suffix}")
    assert read_table(path, "text", ["kind"]).names == ["9", "10"]


def test_other_encodings_separators_and_a_byte_order_mark(csv):
    assert (
        read_table(csv("text\tkind\ncafé\t0\nx\t1\ny\t0\n".encode("latin-1")), "text", ["kind"], "latin-1", "\t").texts[
            0
        ]
        == "café"
    )
    assert read_table(csv(b"\xef\xbb\xbf" + CLASSES.encode()), "text", ["kind"]).names == ["9", "10"]


# -- what cannot -----------------------------------------------------------------------------------


def test_a_missing_file_names_its_neighbours(csv):
    path = csv(CLASSES, "comments.csv")
    line = read_error(path.with_name("coments.csv"))
    assert line == "PATH: no such file; expected a CSV file; nearest: comments.csv"
    assert read_error(path.parent / "nowhere" / "x.csv") == "PATH: no such file; expected a CSV file"


def test_a_folder_is_no_file_nor_its_own_neighbour(tmp_path):
    (tmp_path / "comments").mkdir()
    assert read_error(tmp_path / "comments") == "PATH: a folder, not a file; expected a CSV file"


def test_a_name_too_long_for_a_file_is_refused_in_one_line(tmp_path):
    assert read_error(tmp_path / ("a" * 300)).startswith("PATH: ")


@pytest.mark.parametrize(
    "content, line",
    [
        ("", "PATH: the file is empty; expected a header line and rows"),
        ("text,kind\n", "PATH: a header and no rows; expected at least one text per class"),
        (
            'text,kind\n"never closed,0\nx,1\n',
            "PATH: not readable as CSV (Error tokenizing data. C error: EOF inside "
            "string starting at row 1); write --sep, or repair it",
        ),
        (
            "text,kind\nx,0\ntoo, many,1\n",
            "PATH: not readable as CSV (Error tokenizing data. C error: Expected 2 fields in "
            "line 3, saw 3); write --sep, or repair it",
        ),
    ],
    ids=["empty", "header only", "open quote", "ragged"],
)
def test_a_file_that_is_no_table(csv, content, line):
    assert read_error(csv(content)) == line


def test_commas_in_every_text_are_not_taken_for_an_index(csv):
    path = csv("text,kind\nwell, hello,0\nwell, bye,1\nwell, so,0\n")
    assert read_error(path).startswith("PATH: not readable as CSV (")


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zip", "tar", "zst"])
def test_a_file_packed_in_name_only(csv, suffix):
    assert read_error(csv(CLASSES, f"data.csv.{suffix}")).startswith("PATH: not readable as CSV (")


def test_a_packed_file_cut_short_or_holding_two(csv, tmp_path):
    packed = gzip.compress(CLASSES.encode() * 50)
    assert read_error(csv(packed[:60], "short.csv.gz")).startswith("PATH: not readable as CSV (Compressed file ended")
    spoilt = packed[:30] + bytes(255 - b for b in packed[30:60]) + packed[60:]
    assert read_error(csv(spoilt, "spoilt.csv.gz")).startswith("PATH: not readable as CSV (")
    with zipfile.ZipFile(str(tmp_path / "two.zip"), "w") as archive:
        archive.writestr("a.csv", CLASSES)
        archive.writestr("b.csv", CLASSES)
    assert read_error(tmp_path / "two.zip").startswith("PATH: not readable as CSV (Multiple files found in ZIP")


def test_the_wrong_encoding(csv):
    path = csv("text,kind\ncafé au lait,0\nx,1\n".encode("latin-1"))
    line = read_error(path)
    assert line.startswith("PATH: not utf-8 ('utf-8' codec can't decode byte 0xe9 in position 3: ")
    assert line.endswith("); write --encoding latin-1, or save it as UTF-8")
    assert (
        read_error(path, encoding="latin-11")
        == "--encoding latin-11: no such encoding; write --encoding utf-8 or latin-1"
    )


@pytest.mark.parametrize(
    "text, labels, line",
    [
        ("txt", ["a", "b"], "PATH: no column 'txt'; nearest: text; give one of its columns: text, a, b"),
        ("text", ["a", "zzzz"], "PATH: no column 'zzzz'; give one of its columns: text, a, b"),
        ("text", ["a", "a"], "columns ['text', 'a', 'a'] were given; expected each once: --text COL --labels A,B,.."),
        ("a", ["a", "b"], "columns ['a', 'a', 'b'] were given; expected each once: --text COL --labels A,B,.."),
    ],
)
def test_columns_that_are_not_there_or_given_twice(csv, text, labels, line):
    assert read_error(csv(LABELS), text, labels) == line


def test_no_label_column_at_all(csv):
    assert "expected" in read_error(csv(LABELS), "text", [])


def test_of_many_columns_twelve_are_shown(csv):
    header = ",".join(f"c{i}" for i in range(20))
    line = read_error(csv(f"{header}\n{header}\n"), "text")
    assert line.endswith("give one of its columns: c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, ...")


def test_the_wrong_separator_shows_the_header_it_read(csv):
    assert (
        read_error(csv(LABELS), sep=";")
        == "PATH: no column 'text'; nearest: text,a,b; give one of its columns: text,a,b"
    )


def test_empty_texts_are_counted_and_found(csv):
    rows = "".join(f"{'' if i % 2 else 'x'},{i % 3 % 2}\n" for i in range(1, 16))
    assert read_error(csv(f"text,kind\n{rows}")) == (
        "PATH: 8 empty text(s) in column 'text', row(s) 1, 3, 5, 7, 9 and 3 more (counted from 1 below the header); "
        "fill or remove them"
    )
    assert read_error(csv('text,kind\n"  ",0\nx,1\n')) == (
        "PATH: 1 empty text(s) in column 'text', row(s) 1 (counted from 1 below the header); fill or remove them"
    )


@pytest.mark.parametrize("value", ["2", "yes", "", "0.5", "-1"])
def test_labels_that_are_no_bits(csv, value):
    assert read_error(csv(f"text,a,b\nx,0,1\ny,1,{value}\nz,1,{value}\n"), labels=["a", "b"]) == (
        f"label column 'b' holds {value!r}, row(s) 2, 3 (counted from 1 below the header); several label columns must "
        f"hold 0 and 1 only: write 1 for yes and 0 for no (one column of classes: give it alone)"
    )


def test_a_row_that_is_too_short_counts_as_empty_labels(csv):
    assert read_error(csv("text,a,b\nx,0,1\ny,1\n"), labels=["a", "b"]).startswith(
        "label column 'b' holds '', row(s) 2 "
    )


@pytest.mark.parametrize(
    "content, line",
    [
        (
            "text,kind\nx,0\ny,\nz,1\n",
            "label column 'kind' is empty, row(s) 2 (counted from 1 below the header); fill or remove these rows",
        ),
        ("text,kind\nx,0\ny,0\n", "label column 'kind' holds only '0'; expected at least two classes"),
        (
            "text,kind\nx,0.1\ny,0.2\nz,0.3\nw,0.1\n",
            "label column 'kind' holds 3 different values in 4 rows, as numbers or "
            "ids do; expected a column of classes",
        ),
    ],
    ids=["empty", "one class", "numbers"],
)
def test_a_column_that_is_no_classes(csv, content, line):
    assert read_error(csv(content)) == line


# -- split_rows ------------------------------------------------------------------------------------


@quick
@given(n=st.integers(2, 300), fraction=st.floats(0.01, 0.99), seed=st.integers(0, 2**31))
def test_a_split_uses_every_row_once_in_order_or_refuses(n, fraction, seed):
    try:
        train, valid = split_rows(n, fraction, seed)
    except InvalidInputError as error:
        assert not 0 < round(n * fraction) < n
        assert "expected both above 0: give more rows or another --valid" in str(error)
    else:
        assert sorted([*train, *valid]) == list(range(n))
        assert list(train) == sorted(train) and list(valid) == sorted(valid)
        assert len(valid) == round(n * fraction)


def test_a_split_that_leaves_one_side_empty_says_so():
    with pytest.raises(InvalidInputError) as error:
        split_rows(3, 0.1, 0)
    assert str(error.value) == (
        "3 rows split at 0.1 leave 3 to train and 0 to validate; expected both above 0: give "
        "more rows or another --valid"
    )


def test_the_seed_alone_decides():
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    first, again, other = (split_rows(50, 0.2, seed)[1].tolist() for seed in (3, 3, 4))
    assert first == again != other
    assert (np.random.get_state()[1] == before).all(), "numpy's own generator is not touched"
