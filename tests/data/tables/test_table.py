"""A CSV file, read as the command line asks: texts and targets, or one line that says what is wrong."""

import bz2
import gzip
import lzma
import random
import zipfile

import numpy as np
import pytest

from fastai_hf_callback.data.tables.examples import read_examples
from fastai_hf_callback.data.tables.table import CsvFile
from tests.data.tables.read_helpers import error_line

pytest.importorskip("pandas")

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


def read(path, text="text", labels=("kind",), task=None, on_command_line=True, **reading):
    """The whole table, as train; and as valid, since nothing is said of a table that validates on itself."""
    file = CsvFile(path, on_command_line=on_command_line, **reading)
    return read_examples(file, file, text, list(labels), task=task, allow_blank=False)


def read_error(path, *args, **kwargs):
    """The one line that says why `path` cannot be used, with the path left out."""
    return error_line(read, path, *args, **kwargs).replace(str(path), "PATH")


# -- what can be read ------------------------------------------------------------------------------


def test_several_columns_of_bits_become_a_matrix(csv):
    got = read(csv(LABELS), labels=["b", "a"])
    assert got.train.texts == ["first", "second", "third"]
    assert got.names == ["b", "a"] and got.task == "multi_label_classification"
    assert got.train.targets.tolist() == [[1, 0], [0, 1], [1, 0]] and got.train.targets.dtype == np.float32


def test_true_and_false_are_bits_as_they_are_in_a_frame(csv):
    got = read(csv("text,a,b\nfirst,True,false\nsecond,False,TRUE\n"), labels=["a", "b"])
    assert got.train.targets.tolist() == [[1, 0], [0, 1]]


def test_one_column_of_classes_becomes_numbers_in_the_order_of_the_classes(csv):
    got = read(csv(CLASSES))
    assert got.names == ["9", "10"] and got.task == "single_label_classification"
    assert got.train.targets.tolist() == [1, 0, 1, 0] and got.train.targets.dtype == np.int64


def test_decimals_are_numbers_to_predict_as_they_are_in_a_frame(csv):
    got = read(csv("text,kind\nx,0.1\ny,0.2\nz,0.3\nw,0.1\n"))
    assert got.names == ["kind"] and got.task == "regression"
    assert got.train.targets.tolist() == np.float32([0.1, 0.2, 0.3, 0.1]).tolist()


@pytest.mark.parametrize(
    "classes, order",
    [
        ("spam ham eggs", ["eggs", "ham", "spam"]),
        ("2 10 1", ["1", "2", "10"]),
        ("x 10 2", ["2", "10", "x"]),
        ("0.5 -1 .25", ["-1", "0.25", "0.5"]),
        ("3 nan 1 2 inf 0 7 5", ["0", "1", "2", "3", "5", "7", "inf", "nan"]),
    ],
)
def test_classes_are_ordered_by_number_then_by_word(csv, classes, order):
    rows = [f"some text,{name}" for name in classes.split() * 3]
    random.Random(0).shuffle(rows)
    assert read(csv("\n".join(["text,kind", *rows])), task="single_label_classification").names == order


@pytest.mark.parametrize(
    "text", ["NA", "null", "None", "1", "007", " spaces ", 'a "quoted" word', "two\nlines", "é, ü"]
)
def test_a_text_stays_what_it_is(csv, text):
    quoted = '"' + text.replace('"', '""') + '"'
    assert read(csv(f"text,kind\n{quoted},0\nx,1\ny,0\nz,1\n")).train.texts[0] == text


@pytest.mark.parametrize("suffix, pack", [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_packed_files_are_read_as_they_are(csv, suffix, pack):
    path = csv(pack(CLASSES.encode()), f"data.csv.{suffix}")
    assert read(path).names == ["9", "10"]


def test_other_encodings_separators_and_a_byte_order_mark(csv):
    path = csv("text\tkind\ncafé\t0\nx\t1\ny\t0\n".encode("latin-1"))
    assert read(path, encoding="latin-1", sep="\t").train.texts[0] == "café"
    assert read(csv(b"\xef\xbb\xbf" + CLASSES.encode())).names == ["9", "10"]


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
    in_python = read_error(path, on_command_line=False)
    assert in_python.endswith("); write pd.read_csv(path, encoding='latin-1'), or save it as UTF-8")


@pytest.mark.parametrize("name", ["utf-16", "utf-16-be"])
def test_utf_16_is_named_by_its_mark(csv, name):
    mark = b"" if name == "utf-16" else b"\xfe\xff"
    path = csv(mark + CLASSES.encode(name))
    assert read_error(path).endswith("); write --encoding utf-16, or save it as UTF-8")
    assert read(path, encoding="utf-16").names == ["9", "10"]


@pytest.mark.parametrize(
    "text, labels, line",
    [
        ("txt", ["a", "b"], "PATH: no column 'txt'; nearest: text; give one of its columns: text, a, b"),
        ("text", ["a", "zzzz"], "PATH: no column 'zzzz'; give one of its columns: text, a, b"),
        ("text", ["a", "a"], "columns ['text', 'a', 'a'] were given, 'a' more than once; expected each once"),
        ("a", ["a", "b"], "columns ['a', 'a', 'b'] were given, 'a' more than once; expected each once"),
    ],
)
def test_columns_that_are_not_there_or_given_twice(csv, text, labels, line):
    assert read_error(csv(LABELS), text, labels) == line


@pytest.mark.parametrize("header", ["text,kind,kind", 'text,kind,"kind"', "text,kind, kind ", "text,kind,kind,kind.1"])
def test_a_column_that_is_there_twice_is_not_taken_for_either(csv, header):
    path = csv(f"{header}\nx,a,b{',c' * header.endswith('1')}\ny,b,a{',c' * header.endswith('1')}\n")
    assert read_error(path) == "PATH: 2 columns are called 'kind'; expected one: rename or drop the others"


def test_another_column_that_is_there_twice_is_no_matter(csv):
    assert read(csv("text,note,kind,note\nx,1,a,2\ny,3,b,4\n")).train.targets.tolist() == [0, 1]


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
        "text column 'text' of train is blank in 8 of 15 row(s), row(s) 1, 3, 5, 7, 9 and 3 more (counted from 1 below "
        "the header) of PATH; fill or remove these rows"
    )
    assert read_error(csv('text,kind\n"  ",0\nx,1\n')) == (
        "text column 'text' of train is blank in 1 of 2 row(s), row(s) 1 (counted from 1 below the header) of PATH; "
        "fill or remove these rows"
    )


@pytest.mark.parametrize("value, shown", [("2", "2"), ("yes", "'yes'"), ("0.5", "0.5"), ("-1", "-1")])
def test_labels_that_are_no_bits(csv, value, shown):
    path = csv(f"text,a,b\nx,0,1\ny,1,{value}\nz,1,{value}\nv,0,0\nw,1,1\n")
    assert read_error(path, labels=["a", "b"]) == (
        f"label column 'b' of train holds {shown}, row(s) 2, 3 (counted from 1 below the header) of PATH; several "
        f"labels need columns that hold 0 and 1 only: write 1 for yes and 0 for no (one column of classes: give it "
        f"alone)"
    )


@pytest.mark.parametrize("row", ["y,1", "y,1,", "y,1, "])
def test_a_row_that_is_too_short_counts_as_empty_labels(csv, row):
    assert read_error(csv(f"text,a,b\nx,0,1\n{row}\n"), labels=["a", "b"]) == (
        "label column 'b' of train is empty in 1 of 2 row(s), row(s) 2 (counted from 1 below the header) of PATH; "
        "fill or remove these rows"
    )


@pytest.mark.parametrize(
    "content, line",
    [
        (
            "text,kind\nx,0\ny,\nz,1\n",
            "label column 'kind' of train is empty in 1 of 3 row(s), row(s) 2 (counted from 1 below the header) of "
            "PATH; fill or remove these rows",
        ),
        (
            "text,kind\nx,0\ny,0\n",
            "label column 'kind' holds only '0' in the 2 row(s) of train; expected at least two classes: give rows "
            "of another",
        ),
        (
            "text,kind\n" + "".join(f"x,{i}\n" for i in range(30)),
            "label column 'kind' holds 30 different values in 30 rows of train, as numbers do; give a column of "
            "classes",
        ),
        (
            "text,kind\nx,\"['a', 'b']\"\ny,\"['a']\"\n",
            "label column 'kind' holds lists written as text, as \"['a', 'b']\"; expected one class per row, or "
            "several columns of 0 and 1",
        ),
    ],
    ids=["empty", "one class", "numbers", "lists"],
)
def test_a_column_that_is_no_classes(csv, content, line):
    assert read_error(csv(content)) == line


def test_what_only_python_can_do_is_said_in_python_alone(csv):
    path = csv("text,kind\nx,0\ny,\n")
    path.write_text("kind,text\n0,x\n1\n")
    assert "; fill or remove these rows" in read_error(path)
    assert "; fill them, as with .fillna(''), or remove these rows" in read_error(path, on_command_line=False)
    path.write_text("text,a,b\nx,0,1\ny,1,2\nz,1,0\n")
    assert "task=" not in read_error(path, labels=["a", "b"])
    assert "task='regression'" in read_error(path, labels=["a", "b"], on_command_line=False)
