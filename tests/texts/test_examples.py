"""read_examples: DataFrames or CSV files -> texts and targets, or one line that says what is wrong."""
import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import UnusableInput
from fastai_hf_callback.texts.examples import TASKS, read_examples

pd = pytest.importorskip("pandas")
quick = settings(deadline=None, max_examples=40)

N = 8
MARK = [True] + [False] * (N - 1)


def frame(**columns):
    """Eight rows under an index that is of no use; a column given as None is left out."""
    held = dict(text=[f"t{i}" for i in range(N)], label=list("abababab"), a=[0, 1] * 4, b=[1, 1, 0, 0] * 2,
                score=[.5, 1, 2, 3, 4, 5, 6, 7], mark=MARK)
    held.update(columns)
    return pd.DataFrame({name: values for name, values in held.items() if values is not None},
                        index=["x", "x", 3, None, "y", 3.5, "x", -1])


def valid_of(**columns):
    """Two rows that train has not."""
    return frame(text=[f"v{i}" for i in range(N)], **columns).iloc[:2]


def words(**columns):
    held = dict(words=[["EU", "rejects"], ["Peter"], [], ["in", "Bonn"]], tags=[["B", "O"], ["B"], [], ["O", "B"]],
                text=["one", "two", "three", "four"], names=[["x"], [], ["x", "y"], ["y"]])
    held.update(columns)
    return pd.DataFrame(held, index=[1, 1, 0, 0])


def read(train=None, valid=None, text="text", labels="label", **kwargs):
    train = frame() if train is None else train
    return read_examples(train, valid_of() if valid is None else valid, text, labels, **kwargs)


def read_words(train=None, valid=None, labels="tags", text="words", **kwargs):
    train = words() if train is None else train
    return read_examples(train, words(words=[["v"], [], [], []], tags=[["O"], [], [], []], text=list("vwuz")
                                      ).iloc[:1] if valid is None else valid, text, labels, **kwargs)


def refusal(reader, *args, **kwargs):
    with pytest.raises(UnusableInput) as error:
        reader(*args, **kwargs)
    line = str(error.value)
    assert "\n" not in line
    return line


def refused(*args, **kwargs):
    return refusal(read, *args, **kwargs)


@pytest.fixture
def csv(tmp_path):
    """A file with this content: a DataFrame, text or bytes."""
    def write(content, name="data.csv"):
        path = tmp_path / name
        content = content.to_csv(index=False) if isinstance(content, pd.DataFrame) else content
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path
    return write


# -- the four tasks --------------------------------------------------------------------------------


def test_one_label_per_text():
    got = read()
    assert (got.task, got.names, got.said, got.test) == ("single", ["a", "b"], [], None)
    assert got.train.texts == [f"t{i}" for i in range(N)] and got.train.pairs is None
    assert got.train.targets.tolist() == [0, 1] * 4 and got.train.targets.dtype == np.int64
    assert got.valid.texts == ["v0", "v1"] and got.valid.targets.tolist() == [0, 1]


@pytest.mark.parametrize("dtype", ["int64", "bool", "float64", "str", "object", "Int64", "boolean", "category", "int8"])
def test_several_labels_are_columns_of_0_and_1_however_they_are_written(dtype):
    got = read(frame().astype({"a": dtype, "b": dtype}), labels=["b", "a"])
    assert (got.task, got.names) == ("several", ["b", "a"])
    assert got.train.targets.dtype == np.float32
    assert got.train.targets.tolist() == [[1, 0], [1, 1], [0, 0], [0, 1]] * 2
    assert got.valid.targets.tolist() == [[1, 0], [1, 1]]


def test_numbers():
    got = read(labels="score")
    assert (got.task, got.names) == ("number", ["score"])
    assert got.train.targets.tolist() == [.5, 1, 2, 3, 4, 5, 6, 7] and got.train.targets.dtype == np.float32
    got = read(labels=["score", "a"])
    assert (got.task, got.names, got.train.targets.shape) == ("number", ["score", "a"], (N, 2))
    assert got.train.targets.dtype == np.float32 and got.train.targets[1].tolist() == [1, 1]


def test_a_label_per_word():
    got = read_words()
    assert (got.task, got.names) == ("tokens", ["B", "O"])
    assert got.train.texts == [["EU", "rejects"], ["Peter"], [], ["in", "Bonn"]]
    assert [target.tolist() for target in got.train.targets] == [[0, 1], [0], [], [1, 0]]
    assert all(target.dtype == np.int64 for target in got.train.targets)
    assert got.said == ["1 text of train is blank (train.iloc[[2]]): it trains as special tokens alone"]


@pytest.mark.parametrize("kind", [list, tuple, np.array])
def test_words_and_labels_may_be_lists_tuples_or_arrays(kind):
    held = words()
    for column in ("words", "tags"):
        held[column] = pd.Series([kind(value) for value in held[column]], index=held.index, dtype=object)
    got, plain = read_words(held), read_words()
    assert got.train.texts == plain.train.texts and got.names == plain.names


def test_lists_of_names_beside_texts_are_several_labels():
    got = read_words(text="text", labels="names")
    assert (got.task, got.names) == ("several", ["x", "y"])
    assert got.train.targets.tolist() == [[1, 0], [0, 0], [1, 1], [0, 1]] and got.train.targets.dtype == np.float32
    assert read_words(words(names=[[10], [9], [9, 9], []]), words(names=[[9]] * 4), text="text",
                      labels="names").train.targets.tolist() == [[0, 1], [1, 0], [1, 0], [0, 0]]


def test_a_list_of_one_column_is_that_column():
    assert read(labels=["label"]).names == ["a", "b"]
    assert read(labels=["score"]).train.targets.shape == (N,)
    got = read(labels=["a"], task="several")
    assert (got.names, got.train.targets.shape) == (["a"], (N, 1))


@pytest.mark.parametrize("values, names", [
    ([2, 10] * 4, ["2", "10"]),
    (["2", "10"] * 4, ["2", "10"]),
    ([2., 10.] * 4, ["2", "10"]),
    (["x", "10", "2", "X"] * 2, ["2", "10", "X", "x"]),
    ([True, False] * 4, ["False", "True"]),
    (pd.Categorical(list("abababab"), categories=list("cba")), ["b", "a"]),
    (pd.Categorical([2, 10] * 4, categories=[10, 2]), ["10", "2"]),
    (pd.array([1, 0] * 4, dtype="Int64"), ["0", "1"]),
    (pd.array(list("baba") * 2, dtype="string"), ["a", "b"]),
    ([1, "1", 0, "0"] * 2, ["0", "1"]),
], ids=repr)
def test_classes_are_named_and_in_their_natural_order(values, names):
    got = read(frame(label=values), frame(label=values, text=list("abcdefgh")))
    assert (got.task, got.names) == ("single", names)
    held = [str(int(value)) if isinstance(value, float) else str(value) for value in values]
    assert [got.names[i] for i in got.train.targets] == held


def test_a_task_that_is_given_is_taken():
    assert read(labels="a").task == "single"
    assert read(labels="a", task="number").train.targets.dtype == np.float32
    assert read(labels=["a", "b"], task="number").task == "number"
    assert read(labels="score", task="single").names == ["0.5", "1", "2", "3", "4", "5", "6", "7"]
    assert read(frame(label=["0.5", "1"] * 4), frame(label=["1", "2"] * 4), task="number").valid.targets.sum() == 12
    assert read(frame(label=[Decimal("0.5")] * N), valid_of(label=[1] * N)).task == "number"


@pytest.mark.parametrize("kwargs, line", [
    (dict(task="singel"), "task='singel' was given; nearest: single; expected one of single, several, number, tokens, "
                          "answer"),
    (dict(task=3), "task=3 was given; expected one of single, several, number, tokens, answer"),
    (dict(task="single", labels=["a", "b"]),
     "task='single' takes one label column and 2 were given, 'a', 'b'; give one, or write task='several' (columns of 0 "
     "and 1) or task='number'"),
    (dict(task="number"), "label column 'label' of train holds 'a', train.iloc[[0, 1, 2, 3, 4]] and 3 more; expected "
                          "numbers: write task='single' for classes, or turn them into numbers first"),
    (dict(task="several"),
     "label column 'label' of train holds 'a', train.iloc[[0, 1, 2, 3, 4]] and 3 more; several labels need columns "
     "that hold 0 and 1 only: write 1 for yes and 0 for no (numbers: task='number'; one column of classes: give it "
     "alone)"),
    (dict(task="tokens"), "text column 'text' of train holds str in 8 of 8 row(s), train.iloc[[0, 1, 2, 3, 4]] and 3 "
                          "more; task 'tokens' needs a list of str in each, as .str.split() gives"),
    (dict(labels=["a", "label"]),
     "label column 'label' holds 'a', train.iloc[[0, 1, 2, 3, 4]] and 3 more; several label columns must hold 0 and 1 "
     "(several labels per text) or numbers; give one column of classes alone"),
])
def test_a_task_that_does_not_fit(kwargs, line):
    assert refused(**kwargs) == line


def test_the_tasks_are_these():
    assert TASKS == ("single", "several", "number", "tokens", "answer")


# -- valid -----------------------------------------------------------------------------------------


def test_a_fraction_is_drawn_from_the_seed_alone_in_order():
    first, again, other = (read(valid=.25, seed=seed).valid.texts for seed in (1, 1, 2))
    assert first == again != other and len(first) == 2 and first == sorted(first)
    got = read(valid=np.float32(.25))
    assert sorted(got.train.texts + got.valid.texts) == [f"t{i}" for i in range(N)]


@pytest.mark.parametrize("yes, no", [
    (True, False), (1, 0), (1., 0.), ("valid", "train"), ("Validation", " TRAIN"), ("dev", "train"), ("1", "0"),
    ("True", "False"), (np.bool_(True), np.bool_(False)),
], ids=repr)
def test_a_column_of_train_marks_the_rows_to_validate_on(yes, no):
    marked = frame(mark=[yes, yes, no, no, no, yes, no, no])
    for each in (marked, marked.astype({"mark": "category"})):
        got = read(each, valid="mark")
        assert got.valid.texts == ["t0", "t1", "t5"] and got.train.texts == ["t2", "t3", "t4", "t6", "t7"]
        assert got.train.targets.tolist() == [0, 1, 0, 0, 1] and got.valid.targets.tolist() == [0, 1, 1]


def test_a_name_is_a_column_first_and_a_path_if_there_is_none(csv, monkeypatch):
    path = csv(valid_of(), "mark")
    monkeypatch.chdir(path.parent)
    assert read(valid="mark").valid.texts == ["t0"]
    assert read(frame(mark=None), valid="mark").valid.texts == ["v0", "v1"]


@pytest.mark.parametrize("valid, line", [
    (0., "valid=0.0 was given; expected a fraction above 0 and below 1 (valid=0.1 is a tenth of train)"),
    (1, "valid=1 was given; expected a fraction above 0 and below 1 (valid=0.1 is a tenth of train)"),
    (float("nan"), "valid=nan was given; expected a fraction above 0 and below 1 (valid=0.1 is a tenth of train)"),
    (.01, "valid=0.01 of 8 row(s) leaves 8 to train and 0 to validate; expected both above 0: give more rows or "
          "another fraction"),
    (True, "valid=True was given; expected a DataFrame, a path, a fraction as in valid=0.1, or the name of the column "
           "of train that marks the rows to validate on"),
    ("mork", "valid='mork' is no column of train and no file; nearest: mark; the columns of train are: text, label, a, "
             "b, score, mark"),
    ("nowhere.csv", "nowhere.csv: no such file; expected a CSV file"),
    ("label", "columns ['text', 'label', 'label'] were given for text, pair, labels and valid, 'label' more than once; "
              "expected each once"),
], ids=str)
def test_what_valid_cannot_be(valid, line):
    assert refused(valid=valid) == line


def test_valid_must_be_given():
    assert refusal(read_examples, frame(), None, "text", "label").startswith("valid=None was given; expected a DataFr")


@pytest.mark.parametrize("mark, line", [
    ([False] * N, "column 'mark' marks none of 8 row(s) as valid; expected some to train and some to validate: mark "
                  "others, or write valid=0.1"),
    ([1] * N, "column 'mark' marks all of 8 row(s) as valid; expected some to train and some to validate: mark others, "
              "or write valid=0.1"),
    (["train", "valid", "test", "x"] * 2,
     "column 'mark' that marks the rows of valid holds 'test', train.iloc[[2, 3, 6, 7]]; expected True and False, 1 "
     "and 0, or 'valid' and 'train': take other rows out of train first"),
    ([1, None] * 4, "column 'mark' that marks the rows of valid holds no value, train.iloc[[1, 3, 5, 7]]; expected "
                    "True and False, 1 and 0, or 'valid' and 'train': take other rows out of train first"),
    ([[1]] * N, "column 'mark' that marks the rows of valid holds '[1]', train.iloc[[0, 1, 2, 3, 4]] and 3 more; "
                "expected True and False, 1 and 0, or 'valid' and 'train': take other rows out of train first"),
], ids=["none", "all", "another word", "missing", "lists"])
def test_marks_that_mark_nothing(mark, line):
    assert refused(frame(mark=mark), valid="mark") == line


def test_rows_of_a_drawn_or_marked_split_are_named_as_rows_of_train():
    text = [f"t{i}" for i in range(5)] + ["", " ", "t7"]
    said = read(frame(text=text, mark=[0, 0, 0, 0, 0, 1, 1, 1]), valid="mark").said
    assert said == ["2 texts of valid are blank (train.iloc[[5, 6]]): they count as special tokens alone"]


# -- test ------------------------------------------------------------------------------------------


def test_a_test_with_labels_without_or_as_a_list():
    assert read(test=frame()).test.targets.tolist() == [0, 1] * 4
    assert read(test=frame(label=None)).test == (frame().text.tolist(), None, None)
    assert read(test=["x", "y"]).test == (["x", "y"], None, None)
    assert read(test=("x", "y")).test == read(test=pd.Series(["x", "y"], index=[7, 7])).test == (["x", "y"], None, None)
    paired = frame(second=[f"s{i}" for i in range(N)])
    assert read(paired, paired.iloc[:2], pair="second", test=[("x", "y")]).test == (["x"], ["y"], None)
    assert read_words(test=[["x", "y"]]).test == ([["x", "y"]], None, None)
    assert read(test=frame(a=[1] * N), labels=["a", "b"]).test.targets[:, 0].tolist() == [1] * N


@pytest.mark.parametrize("test, kwargs, line", [
    (frame(a=None), dict(labels=["a", "b"]),
     "test has the label column(s) 'b' and lacks 'a'; expected all or none: write test.drop(columns=['b']), or add the "
     "others"),
    (frame(label=[None] * N), {},
     "label column 'label' of test is empty in 8 of 8 row(s), test.iloc[[0, 1, 2, 3, 4]] and 3 more; fill or remove "
     "these rows, or leave the column out: test.drop(columns=['label'])"),
    (frame(text=None), {}, "test: no column 'text'; its columns are: label, a, b, score, mark; write "
                              "test.rename(columns={'...': 'text'})"),
    (["x"], dict(pair="label", labels="a"),
     "test is list of length 1 and there are pairs; expected pairs of str, or a DataFrame with the columns 'text', "
     "'label'"),
    (["x", 3, None], {}, "text column 'text' of test is missing in 1 of 3 row(s), [test[i] for i in [2]]; fill them, "
                         "as with .fillna(''), or remove these rows"),
    (["x", 3], {}, "text column 'text' of test holds int, no str, in 1 of 2 row(s), [test[i] for i in [1]]; expected a "
                   "str each: name the column of texts, or turn it into str with .astype(str)"),
    ([], {}, "test has 0 rows; expected at least one: look at what was filtered before, or leave test out"),
    ({"x"}, {}, "test is set of length 1; expected a DataFrame, a Hugging Face Dataset or the path of a CSV file: "
                "write pd.DataFrame({'text': [...], 'label': [...]}) (test may be a list of str, too)"),
], ids=["some labels", "no labels", "no text", "pairs", "missing", "int", "empty", "set"])
def test_what_test_cannot_be(test, kwargs, line):
    assert refused(test=test, **kwargs) == line


# -- frames, files and their columns ---------------------------------------------------------------


class Dataset:
    def __init__(self, held):
        self.held = held

    def to_pandas(self):
        return self.held


def test_what_turns_into_a_frame_is_a_frame():
    assert read(Dataset(frame())).train.texts == read().train.texts
    assert refused(Dataset(frame(label=["a", None] * 4))) == (
        "label column 'label' of train is empty in 4 of 8 row(s), train.to_pandas().iloc[[1, 3, 5, 7]]; fill or remove "
        "these rows")
    assert refused(Dataset("no frame")).startswith("train is Dataset; expected a DataFrame")


@pytest.mark.parametrize("given, what", [
    ([1, 2, 3], "list of length 3"), (np.zeros((3, 2)), "ndarray of shape (3, 2)"), ({"a": [1]}, "dict of length 1"),
    (pd.Series(["x"]), "Series of shape (1,)"), (3, "int 3"), (print, "builtin_function_or_method"),
], ids=["list", "array", "dict", "series", "int", "function"])
def test_what_is_no_frame_is_described(given, what):
    assert refused(given) == (f"train is {what}; expected a DataFrame, a Hugging Face Dataset or the path of a CSV "
                              f"file: write pd.DataFrame({{'text': [...], 'label': [...]}})")
    if not isinstance(given, int):
        assert refused(valid=given).startswith(f"valid is {what}; expected a DataFrame, a Hugging Face Dataset")


@pytest.mark.parametrize("kwargs, line", [
    (dict(labels="lable"), "train: no column 'lable'; nearest: label; its columns are: text, label, a, b, score, mark"),
    (dict(text="txt"), "train: no column 'txt'; nearest: text; its columns are: text, label, a, b, score, mark"),
    (dict(pair="q"), "train: no column 'q'; its columns are: text, label, a, b, score, mark"),
    (dict(valid=frame(label=None)), "valid: no column 'label'; its columns are: text, a, b, score, mark; write "
                                    "valid.rename(columns={'...': 'label'})"),
    (dict(labels="text"), "columns ['text', 'text'] were given for text, pair, labels and valid, 'text' more than "
                          "once; expected each once"),
    (dict(labels=["a", "a"]), "columns ['text', 'a', 'a'] were given for text, pair, labels and valid, 'a' more than "
                              "once; expected each once"),
    (dict(labels=[]), "labels=[] was given; expected the name of a column, or a list of names: labels='label'"),
    (dict(labels=None), "labels=None was given; expected the name of a column, or a list of names: labels='label'"),
    (dict(text=["text"]), "a list was given for a column; expected the name of one: text='text', labels='label' or "
                          "labels=['a', 'b']"),
    (dict(train=frame().assign(c=1).rename(columns={"c": "label"})),
     "train: 2 columns are called 'label'; expected one: rename or drop the others"),
], ids=["label", "text", "pair", "valid", "text as label", "twice", "no labels", "None", "list", "two of a name"])
def test_columns_that_are_not_there_or_given_twice(kwargs, line):
    assert refused(**kwargs) == line


@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_no_split_may_be_empty(split):
    also = ", or leave test out" if split == "test" else ""
    assert refused(**{split: frame()[:0]}) == (
        f"{split} has 0 rows; expected at least one: look at what was filtered before{also}")


def test_a_file_reads_as_the_frame_it_was_written_from(csv):
    held = frame(text=["NA", "null", " x ", "1", "007", "a,b", "é", "two\nlines"])
    plain, packed = csv(held), csv(gzip.compress(held.to_csv(index=False).encode()), "data.csv.gz")
    for kwargs in (dict(labels="label"), dict(labels="score"), dict(labels=["a", "b"]), dict(labels=["a", "score"]),
                   dict(labels=["mark", "b"]), dict(labels="a", valid="mark"), dict(labels="mark", valid=.5, seed=1)):
        wanted = read(held, **kwargs)
        for path in (plain, str(plain), packed):
            got = read(path, **kwargs)
            assert got[3:] == wanted[3:] and got.train.texts == wanted.train.texts
            assert got.train.targets.tolist() == wanted.train.targets.tolist()
            assert got.train.targets.dtype == wanted.train.targets.dtype
    assert read(valid=plain, test=str(packed)).test.texts == held.text.tolist()


def test_rows_of_a_file_are_counted_below_its_header(csv):
    path = csv("text,label\nx,a\ny,\nz,b\nw\n")
    assert refused(path) == (f"label column 'label' of train is empty in 2 of 4 row(s), row(s) 2, 4 (counted from 1 "
                             f"below the header) of {path}; fill or remove these rows")
    assert refused(valid=path) == (f"label column 'label' of valid is empty in 2 of 4 row(s), row(s) 2, 4 (counted "
                                   f"from 1 below the header) of {path}; fill or remove these rows")


@pytest.mark.parametrize("content, line", [
    ("text;label\nx;a\n", "PATH: its header is one column, 'text;label'; write pd.read_csv(path, sep=';')"),
    ("text,label\nx,a\nx,y,a\n", "PATH: not readable as CSV (Error tokenizing data. C error: Expected 2 fields in line "
                                 "3, saw 3); write pd.read_csv(path, sep=...), or repair it"),
    ("text,label\nx,y,a\nz,w,a\n", "PATH: not readable as CSV (rows have more fields than the header, as with commas "
                                   "in unquoted texts); write pd.read_csv(path, sep=...), or quote the texts"),
    ("text,label\ncafé,0\n".encode("latin-1"),
     "PATH: not utf-8 ('utf-8' codec can't decode byte 0xe9 in position 3: unexpected end of data); write "
     "pd.read_csv(path, encoding='latin-1'), or save it as UTF-8"),
    ("text,label\n", "PATH: a header and no rows; expected at least one text per class"),
    ("text,lable\nx,1\n", "PATH: no column 'label'; nearest: lable; its columns are: text, lable"),
], ids=["separator", "ragged", "index", "encoding", "empty", "column"])
def test_a_file_that_cannot_be_used_names_what_python_can_do(csv, content, line):
    path = csv(content)
    assert refused(path).replace(str(path), "PATH") == line


def test_a_missing_file_names_its_neighbours(csv):
    path = csv(frame(), "comments.csv").with_name("coments.csv")
    assert refused(path) == f"{path}: no such file; expected a CSV file; nearest: comments.csv"
    assert refused(valid=Path("nowhere")) == "nowhere: no such file; expected a CSV file"


# -- texts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts, line", [
    (["x", None, np.nan, pd.NA] * 2, "text column 'text' of train is missing in 6 of 8 row(s), train.iloc[[1, 2, 3, 5, "
                                     "6]] and 1 more; fill them, as with .fillna(''), or remove these rows"),
    (["x", 1] * 4, "text column 'text' of train holds int, no str, in 4 of 8 row(s), train.iloc[[1, 3, 5, 7]]; "
                   "expected a str each: name the column of texts, or turn it into str with .astype(str)"),
    ([["x"]] * N, "text column 'text' of train holds list, no str, in 8 of 8 row(s), train.iloc[[0, 1, 2, 3, 4]] and 3 "
                  "more; expected a str each: name the column of texts, or turn it into str with .str.join(' ')"),
], ids=["missing", "int", "lists"])
def test_texts_that_are_none(texts, line):
    assert refused(frame(text=texts)) == line
    assert refused(frame(pair=texts), frame(pair="x"), pair="pair") == line.replace("'text'", "'pair'")


def test_pairs_are_read_beside_the_texts():
    got = read(frame(pair=list("ABCDEFGH")), frame(pair=list("abcdefgh")), pair="pair", test=frame(pair="z"))
    assert got.train.pairs == list("ABCDEFGH") and got.valid.pairs == list("abcdefgh")
    assert got.test.pairs == ["z"] * N and got.said == [], "another pair is another row"


def test_blank_texts_are_kept_and_told():
    got = read(frame(text=["", " \n", "c", "d", "e", "f", "g", "h"]), test=["x", "\t"])
    assert len(got.train.texts) == N
    assert got.said == ["2 texts of train are blank (train.iloc[[0, 1]]): they train as special tokens alone",
                        "1 text of test is blank ([test[i] for i in [1]]): it counts as special tokens alone"]


def test_a_pair_is_blank_when_both_are_and_half_blank_is_told_too():
    got = read(frame(text=["", "b", ""] + ["c"] * 5, pair=["", "", "x"] + ["d"] * 5), valid_of(pair="v"), pair="pair")
    assert got.said == ["1 text of train is blank (train.iloc[[0]]): it trains as special tokens alone",
                        "2 pairs of train are half blank (train.iloc[[1, 2]]): they train with one text and special "
                        "tokens"]


def test_rows_that_are_in_train_and_valid_are_told():
    twins = read(valid=frame(text=["t3", "v", "t3", "w", "t0", "x", "y", "z"])).said
    assert twins == ["3 of 8 texts of valid are also in train: the score on valid counts what was learned by heart; "
                     "remove these rows from one of the two (valid.iloc[[0, 2, 4]])"]
    assert read_words(words(words=[["a"], ["b"], ["c"], ["d"]], tags=[["O"], ["B"]] * 2),
                      words(words=[["a"], ["ab"], ["b", "c"], ["x"]], tags=[["O"], ["B"], ["O", "O"], ["O"]])).said == [
        "1 of 4 texts of valid is also in train: the score on valid counts what was learned by heart; remove these "
        "rows from one of the two (valid.iloc[[0]])"]


# -- labels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("column, task", [(["a", None] * 4, None), (["a", " "] * 4, "single"), ([1, np.nan] * 4, None),
                                          (pd.array([1, None] * 4, dtype="Int64"), "number"),
                                          (pd.Categorical(["a", None] * 4), "single"), ([0, np.nan] * 4, "several")],
                         ids=["None", "blank", "nan", "NA", "category", "bits"])
def test_labels_that_are_missing(column, task):
    assert refused(frame(label=column), task=task) == (
        "label column 'label' of train is empty in 4 of 8 row(s), train.iloc[[1, 3, 5, 7]]; fill or remove these rows")


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_class_that_train_never_has(split):
    assert refused(**{split: frame(label=list("abaBcabB"))}) == (
        f"label column 'label' of {split} holds 'B', 'c' in 3 row(s), {split}.iloc[[3, 4, 7]], and train never does; "
        f"give train rows of it, or leave these out")
    assert refusal(read_words, **{split: words(tags=[["O", "I"], ["B"], [], ["O", "I"]])}) == (
        f"label column 'tags' of {split} holds 'I' in 2 row(s), {split}.iloc[[0, 3]], and train never does; give train "
        f"rows of it, or leave these out")


def test_an_unused_category_is_no_class_but_one_that_valid_uses_must_be_in_train():
    kinds = pd.CategoricalDtype(list("cba"))
    assert read(frame().astype({"label": kinds}), frame().astype({"label": kinds})).names == ["b", "a"]
    assert "holds 'c' in 8 row(s)" in refused(frame().astype({"label": kinds}), frame(label="c"))


def test_classes_fix_names_and_order():
    got = read(classes=["b", "a"])
    assert got.names == ["b", "a"] and got.train.targets.tolist() == [1, 0] * 4
    assert read(labels="a", classes=[np.int64(1), 0]).names == ["1", "0"]
    assert read_words(classes=("O", "B")).names == ["O", "B"]
    assert read_words(text="text", labels="names", classes=["y", "x"]).train.targets[0].tolist() == [0, 1]


def test_classes_are_the_names_of_labels_0_and_1():
    got = read(labels="a", classes=["no", "yes"])
    assert got.names == ["no", "yes"] and got.train.targets.tolist() == [0, 1] * 4
    got = read_words(words(tags=[[1, 0], [1], [], [0, 1]]), words(tags=[[0, 0], [1], [], [0, 1]]), classes=["O", "B"])
    assert got.names == ["O", "B"] and got.train.targets[0].tolist() == [1, 0]
    assert "holds '2' in 8 row(s)" in refused(labels="a", classes=["no", "yes"], valid=frame(a=2))


@pytest.mark.parametrize("kwargs, line", [
    (dict(classes=["a", "b", "c"]), "classes holds 'c' and the 8 row(s) of train never do; leave it out of classes, or "
                                    "give rows of it"),
    (dict(classes=["a", "bb"]), "label column 'label' of train holds 'b', train.iloc[[1, 3, 5, 7]], and classes does "
                                "not; nearest: bb; add to classes, or remove these rows"),
    (dict(classes="ab"), "classes='ab' was given; expected a list of names, each once, in the order of their numbers"),
    (dict(classes=["a", "a"]), "classes=['a', 'a'] was given; expected a list of names, each once, in the order of "
                               "their numbers"),
    (dict(classes=["a"], labels="score"), "classes was given and task is 'number', whose names are its label columns, "
                                          "'score'; leave classes out"),
    (dict(classes=["a"], labels=["a", "b"]), "classes was given and task is 'several', whose names are its label "
                                             "columns, 'a', 'b'; leave classes out"),
], ids=["too many", "too few", "str", "twice", "number", "several"])
def test_classes_that_do_not_fit(kwargs, line):
    assert refused(**kwargs) == line


def test_one_class_is_none():
    assert refused(frame(label="a")) == ("label column 'label' holds only 'a' in the 8 row(s) of train; expected at "
                                         "least two classes: give rows of another")
    assert refusal(read_words, words(tags=[["O", "O"], ["O"], [], ["O", "O"]])).startswith(
        "label column 'tags' holds only 'O' in the 4 row(s) of train")
    assert refusal(read_words, words(tags=[[], [], [], []])).startswith(
        "label column 'tags' holds only empty lists in the 4 row(s) of train")


@pytest.mark.parametrize("bit, always", [(0, "never"), (1, "always")])
def test_a_label_that_is_always_the_same_in_train(bit, always):
    assert refused(frame(b=bit), labels=["a", "b"]) == (
        f"label column 'b' is {always} 1 in the 8 row(s) of train: nothing can be learned of it; leave it out of "
        f"labels, or give more rows")
    assert refused(frame(a=bit, b=bit), labels=["a", "b", "mark"]) == (
        f"label column 'a' is {always} 1 in the 8 row(s) of train (1 more like it: 'b'): nothing can be learned of it; "
        f"leave it out of labels, or give more rows")
    assert read(valid=frame(b=bit), labels=["a", "b"]).task == "several", "valid may"


def test_a_name_that_is_in_every_list_of_train():
    assert refusal(read_words, words(names=[["x"], ["x", "y"]] * 2), text="text", labels="names") == (
        "label 'x' of column 'names' is always 1 in the 4 row(s) of train: nothing can be learned of it; leave it out "
        "of those lists, or give more rows")


def test_other_values_than_bits_in_valid_are_refused_though_train_has_none():
    assert refused(valid=frame(b=[0, 1, 2, 0.5, 0, 1, 0, 1]), labels=["a", "b"]) == (
        "label column 'b' of valid holds 2.0, valid.iloc[[2, 3]]; several labels need columns that hold 0 and 1 only: "
        "write 1 for yes and 0 for no (numbers: task='number'; one column of classes: give it alone)")


@pytest.mark.parametrize("value, shown", [(np.inf, "inf"), (-np.inf, "-inf"), (1e300, "1e+300")])
def test_numbers_that_are_infinite(value, shown):
    assert refused(frame(score=[.5, value] * 4), labels="score") == (
        f"label column 'score' of train holds {shown}, train.iloc[[1, 3, 5, 7]]; expected finite numbers that float32 "
        f"holds: fill or remove these rows")


def long(values):
    return pd.DataFrame({"text": [f"t{i}" for i in range(len(values))], "label": values})


def test_very_many_different_values_are_no_classes():
    assert refused(long(range(30)), long([1])) == (
        "label column 'label' holds 30 different values in 30 rows of train, as numbers do; write task='number', or "
        "give a column of classes (task='single' if these are classes)")
    assert refused(long([f"id{i}" for i in range(30)]), long(["id1"])) == (
        "label column 'label' holds 30 different values in 30 rows of train, as ids or texts do; give a column of "
        "classes (task='single' if these are classes)")


@pytest.mark.parametrize("train, kwargs", [
    (long(range(20)), {}), (long(list(range(25)) * 2), {}), (long(range(30)), dict(task="single")),
    (long(range(30)), dict(classes=list(range(30)))),
], ids=["few", "half of the rows", "task", "classes"])
def test_as_many_as_classes_may_be(train, kwargs):
    assert read(train, long([1]), **kwargs).task == "single"
    assert read(long(range(30)), long([1]), task="number").task == "number"


@pytest.mark.parametrize("values, held", [
    ([{}] * 4, "a dict"), ([{1}] * 4, "a set"), ([pd.Timestamp("2020")] * 4, "a Timestamp"),
])
def test_what_is_no_label(values, held):
    assert refusal(read_words, words(names=values), text="text", labels="names") == (
        f"label column 'names' of train holds {held}, which is no label, train.iloc[[0, 1, 2, 3]]; expected str, whole "
        f"numbers or bools")


# -- lists of labels -------------------------------------------------------------------------------


@pytest.mark.parametrize("values, line", [
    ([["x", None], [], ["y"], []], "label column 'names' of train holds None, which is no label, train.iloc[[0]]; "
                                   "expected str, whole numbers or bools"),
    ([["x"], [np.nan], ["y"], [np.nan]], "label column 'names' of train holds nan, which is no label, train.iloc[[1, "
                                         "3]]; expected str, whole numbers or bools"),
    ([[1.], [.5], [.5], []], "label column 'names' of train holds 0.5, which is no label, train.iloc[[1, 2]]; expected "
                             "str, whole numbers or bools"),
    ([["x"], "x", ["y"], []], "label column 'names' of train holds 'x', train.iloc[[1]]; expected a list in every row, "
                              "as in the others"),
    ([[0, 1], [1, 0], [1, 1], [0, 1]],
     "label column 'names' holds lists of 2 times 0 or 1; expected lists of the names of labels, or columns of 0 and "
     "1: train[names] = train['names'].tolist() and labels=names"),
], ids=["None", "nan", "numbers", "no list", "bits"])
def test_lists_that_hold_no_names(values, line):
    assert refusal(read_words, words(names=values), words().iloc[1:2], text="text", labels="names") == line


def test_lists_of_another_task_are_refused():
    assert refusal(read_words, text="text", labels="names", task="single") == (
        "label column 'names' of train holds a list, which is no label, train.iloc[[0, 1, 2, 3]]; expected str, whole "
        "numbers or bools")


def test_a_label_per_word_of_a_text_that_is_not_in_words_is_not_guessed_at():
    train = words(text=["EU rejects", "Peter", "", "in Bonn"])
    assert refusal(read_words, train, text="text") == (
        "label column 'tags' holds as many labels as 'text' has words, in every row of train; write task='several' if "
        "they belong to the text, or give lists of words (one label per word): train['text'] = "
        "train['text'].str.split()")
    assert read_words(train, text="text", task="several").task == "several"


def test_one_label_of_one_word_is_no_sign_of_a_label_per_word():
    train = words(text=["EU", "Peter", "in", "Bonn"], names=[["x"], ["y"], ["x"], ["y"]])
    assert read_words(train, text="text", labels="names").task == "several"


def test_words_and_labels_must_be_as_many():
    for split in ("train", "valid", "test"):
        assert refusal(read_words, **{split: words(tags=[["B", "O"], ["B", "O"], [], ["O"]])}) == (
            f"2 row(s) of {split} have other numbers of words and labels, {split}.iloc[[1, 3]] (the first: 1 words in "
            f"'words', 2 labels in 'tags'); expected one label per word")


def test_words_that_are_none():
    assert refusal(read_words, words(words=[["EU", 3], ["Peter"], [], ["in", None]])) == (
        "text column 'words' of train holds a list with int in 2 of 4 row(s), train.iloc[[0, 3]]; task 'tokens' needs "
        "a list of str in each, as .str.split() gives")
    assert refusal(read_words, words(), words(), pair="text") == (
        "pair='text' was given and task is 'tokens'; expected one text of words per row: leave pair out")


# -- whatever the frame ----------------------------------------------------------------------------

INDEX = st.one_of(st.integers(-2, 2), st.sampled_from(["i", "j"]), st.none())


@st.composite
def frames(draw):
    n = draw(st.integers(4, 20))
    kind = draw(st.sampled_from([st.integers(-3, 3), st.sampled_from(["x", "y", "Z", "10", "9"]), st.booleans()]))
    rows = draw(st.lists(st.tuples(st.text(max_size=4), kind, INDEX), min_size=n, max_size=n))
    texts, labels, index = zip(*rows)
    return pd.DataFrame({"label": labels, "text": pd.Series(texts, dtype=object)}).set_index(
        pd.Index(index, dtype=object))


@quick
@given(held=frames(), fraction=st.floats(.1, .9), seed=st.integers(0, 99))
def test_any_split_of_any_frame_holds_its_rows_in_order_and_decodes_to_its_labels(held, fraction, seed):
    before = held.copy(deep=True)
    try:
        got = read_examples(held, fraction, "text", "label", task="single", seed=seed)
    except UnusableInput as error:
        assert any(why in str(error) for why in ("holds only", "train never does", "expected both above 0"))
    else:
        rows = list(zip(held.text, held.label.map(str)))
        sides = [list(zip(side.texts, (got.names[i] for i in side.targets))) for side in (got.train, got.valid)]
        assert sorted(sides[0] + sides[1]) == sorted(rows)
        for side in sides:
            left = iter(rows)
            assert all(row in left for row in side), "a subsequence: in order"
        assert any("also in train" in line for line in got.said) == bool(set(got.train.texts) & set(got.valid.texts))
    pd.testing.assert_frame_equal(held, before)


@quick
@given(held=frames(), marks=st.lists(st.booleans(), min_size=20, max_size=20))
def test_marked_rows_are_exactly_the_rows_of_valid(held, marks):
    held["mark"] = marks[:len(held)]
    try:
        got = read_examples(held, "mark", "text", "label", task="single")
    except UnusableInput as error:
        assert any(why in str(error) for why in ("holds only", "train never does", "expected some to train"))
    else:
        assert got.valid.texts == [text for text, mark in zip(held.text, held.mark) if mark]
        assert [got.names[i] for i in got.train.targets] == [
            str(label) for label, mark in zip(held.label, held.mark) if not mark]


@quick
@given(lists=st.lists(st.lists(st.sampled_from("xyzuv"), max_size=4), min_size=3, max_size=12))
def test_lists_decode_to_the_sets_and_sequences_they_were(lists):
    held = pd.DataFrame({"text": [f"{i} two three four five six" for i in range(len(lists))],
                         "words": [list("w" * len(each)) for each in lists], "held": lists})
    try:
        per_word = read_examples(held, held, "words", "held", task="tokens")
        assert [[per_word.names[i] for i in target] for target in per_word.valid.targets] == lists
        several = read_examples(held, held, "text", "held", task="several")
        assert [{name for name, bit in zip(several.names, row) if bit} for row in several.valid.targets] == list(
            map(set, lists))
    except UnusableInput as error:
        assert "holds only" in str(error) or "is always 1" in str(error)


@pytest.mark.parametrize("kwargs", [
    dict(valid=.25), dict(valid="mark"), dict(labels=["a", "b"]), dict(labels="score"), dict(labels=["a", "score"]),
    dict(test=frame()), dict(train=frame(text=["", None] * 4)), dict(labels="lable"), dict(pair="label", labels="a"),
], ids=str)
def test_the_caller_s_frames_are_never_changed(kwargs):
    given = dict(dict(train=frame(), valid=valid_of()), **kwargs)
    frames_given = [each for each in given.values() if isinstance(each, pd.DataFrame)]
    before = [each.copy(deep=True) for each in frames_given]
    try:
        got = read(**given)
        got.train.targets[:] = 0
        got.train.texts[:] = []
    except UnusableInput:
        pass
    for each, was in zip(frames_given, before):
        pd.testing.assert_frame_equal(each, was)


def test_numpy_s_own_generator_is_not_touched():
    before = np.random.get_state()[1].copy()
    read(valid=.5, seed=1)
    assert (np.random.get_state()[1] == before).all()


# -- what would pass for something else ----------------------------------------------------------------


def test_a_stray_value_among_bits_is_told_and_changes_no_task():
    assert refused(frame(a=[0, 1, 2, 1, 0, 1, 0, 1]), labels=["a", "b"]) == (
        "label column 'a' of train holds 2, train.iloc[[2]]; several labels need columns that hold 0 and 1 only: write "
        "1 for yes and 0 for no (numbers: task='number'; one column of classes: give it alone)")
    assert read(frame(a=range(N), b=range(N)), valid_of(a=range(N), b=range(N)), labels=["a", "b"]).task == "number"


def test_codes_with_a_leading_zero_stay_as_they_are_written(csv):
    train, valid = csv("text,label\nt,01\nu,1\nv,02\nw,01\n"), csv("text,label\nx,1\n", "valid.csv")
    found = read(train, valid)
    assert found.names == ["01", "1", "02"] and found.train.targets.tolist() == [0, 1, 2, 0]
    assert found.valid.targets.tolist() == [1]


def test_lists_that_a_file_turned_into_text_are_told(csv):
    path = csv(pd.DataFrame(dict(text=["a", "b", "c", "d"], label=[["x"], ["y"], ["x", "y"], ["x"]])))
    assert refused(path, 0.25) == (
        "label column 'label' holds lists written as text, as \"['x']\"; expected lists: frame['label'] = "
        "frame['label'].map(ast.literal_eval), and give the frame")


def test_a_whole_number_that_train_never_has_may_be_one_to_predict():
    line = refused(frame(label=[1, 2, 3, 4] * 2), valid_of(label=[9] * N))
    assert line.endswith("give train rows of it, or leave these out; numbers to be predicted: task='number'")


@pytest.mark.parametrize("seed", ["a", -1, 1.5, None, True])
def test_a_seed_is_a_whole_number(seed):
    assert refused(frame(), 0.25, seed=seed) == f"seed={seed!r} was given; expected a whole number from 0 on"
