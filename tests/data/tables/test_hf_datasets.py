"""text_data's rows out of Hugging Face datasets: names of classes, splits, streams. No fastai here."""

import numpy as np
import pytest

from fastai_hf_callback import InvalidInputError
from fastai_hf_callback.data.tables.examples import read_examples

pytest.importorskip("datasets", reason="datasets is not installed: pip install datasets")
from datasets import ClassLabel, Dataset, DatasetDict, Features, Sequence, Value

KINDS = ClassLabel(names=["plant", "animal", "stone", "never used"])
TAGS = ClassLabel(names=["O", "B-X", "I-X"])


def of(rows=8, **changed):
    """Rows with a label of every kind; the classes' order is not the alphabet's."""
    held = dict(
        text=[f"t{i}" for i in range(rows)],
        kind=[i % 3 for i in range(rows)],
        bit=[i % 2 for i in range(rows)],
        other=[(i // 2) % 2 for i in range(rows)],
        score=[i / 3 for i in range(rows)],
        words=[["a", f"w{i}"] for i in range(rows)],
        tags=[[i % 3, 0] for i in range(rows)],
        **changed,
    )
    features = Features(
        dict(
            text=Value("string"),
            kind=KINDS,
            bit=ClassLabel(names=["no", "yes"]),
            other=Value("int64"),
            score=Value("float32"),
            words=Sequence(Value("string")),
            tags=Sequence(TAGS),
        )
    )
    return Dataset.from_dict(held, features=features)


SPLITS = DatasetDict(train=of(), validation=of(4), test=of(3))
TRAIN, VALID, TEST = SPLITS["train"], SPLITS["validation"], SPLITS["test"]


def read(labels="kind", train=TRAIN, valid=VALID, text="text", **kwargs):
    return read_examples(train, valid, text, labels, **kwargs)


def read_error(*args, **kwargs):
    with pytest.raises(InvalidInputError) as caught:
        read(*args, **kwargs)
    return str(caught.value)


# -- what a dataset brings --------------------------------------------------------------------------------------


def test_classes_have_their_names_and_numbers_as_the_dataset_declares_them():
    found = read(test=TEST)
    assert found.task == "single_label_classification" and found.names == KINDS.names
    assert found.train.targets.tolist() == TRAIN["kind"][:] and found.test.targets.tolist() == [0, 1, 2]
    assert found.train.texts == TRAIN["text"][:]
    of_frame = read_examples(TRAIN.to_pandas(), VALID.to_pandas(), "text", "kind")  # the broken arm: no names in it
    assert of_frame.names == ["0", "1", "2"]


def test_lists_of_classes_have_them_too():
    found = read("tags", text="words")
    assert found.task == "token-classification" and found.names == ["O", "B-X", "I-X"]
    assert [row.tolist() for row in found.train.targets] == TRAIN["tags"][:]
    assert sorted(found.names) != found.names


def test_a_class_that_no_row_of_train_has_keeps_its_number_and_the_others_theirs():
    found = read(train=TRAIN.filter(lambda row: row["kind"] != 1))
    assert (
        found.names == KINDS.names
        and set(found.train.targets) == {0, 2}
        and found.valid.targets.tolist() == [0, 1, 2, 0]
    )
    assert found.messages[0] == (
        "the 5 row(s) of train hold no 'animal', 'never used', which 4 classes were given for: the model has an output "
        "for it and learns nothing of it"
    )
    tags = read("tags", train=TRAIN.filter(lambda row: 1 not in row["tags"]), text="words")
    assert tags.names == TAGS.names and {int(n) for row in tags.train.targets for n in row} == {0, 2}
    assert "hold no 'B-X'," in tags.messages[0]
    assert not any("hold no" in line for line in read("tags", text="words").messages)


def test_names_of_another_kind_of_label_are_not_asked_of():
    """A column of classes read as numbers is refused for what it holds, not for a list that nobody gave."""
    assert "label column 'kind' of train holds 'plant'" in read_error(task="regression")


@pytest.mark.parametrize(
    "labels, task",
    ((["bit", "other"], "multi_label_classification"), ("score", "regression"), (["score", "other"], "regression")),
)
def test_other_columns_are_what_they_are_in_a_frame(labels, task):
    found, of_frame = read(labels), read_examples(TRAIN.to_pandas(), VALID.to_pandas(), "text", labels)
    assert found.task == of_frame.task == task and found.names == of_frame.names
    assert np.array_equal(found.train.targets, of_frame.train.targets)


def test_a_dataset_goes_with_frames_fractions_files_and_lists(tmp_path):
    names = read(valid=0.25).names
    VALID.to_pandas().assign(kind=["stone", "animal", "plant", "plant"]).to_csv(tmp_path / "valid.csv")
    for valid in (VALID.to_pandas().assign(kind=["stone", "animal", "plant", "plant"]), str(tmp_path / "valid.csv")):
        found = read(valid=valid)
        assert found.names == names and found.valid.targets.tolist() == [2, 1, 0, 0]
    assert read(test=TEST["text"]).test.texts == read(test=TEST["text"][:]).test.texts == ["t0", "t1", "t2"]


def test_rows_by_arrow_order_not_by_storage():
    """A dataset that was selected and shuffled keeps its rows in another order than it shows."""
    shuffled = TRAIN.shuffle(seed=3).select(range(6))
    assert read(train=shuffled).train.texts == shuffled["text"][:] != TRAIN["text"][:6]


def test_a_stream_is_read_to_its_end():
    stream = TRAIN.to_iterable_dataset()
    if not hasattr(stream, "to_pandas"):
        pytest.skip("streams of this release of datasets make no frames")
    assert read(train=stream).names == read().names
    assert read(train=stream).train.targets.tolist() == read().train.targets.tolist()


def test_the_dataset_stays_as_it_is():
    before = TRAIN.to_pandas(), dict(TRAIN.features), TRAIN.format
    read("tags", text="words")
    read()
    assert TRAIN.to_pandas().equals(before[0]) and dict(TRAIN.features) == before[1] and TRAIN.format == before[2]


def test_a_published_test_without_labels_is_one_without_labels():
    """All classes are -1 there."""
    found = read(test=TEST.map(lambda row: {"kind": -1}))
    assert found.test.targets is None and found.test.texts == ["t0", "t1", "t2"]


# -- what cannot be used ------------------------------------------------------------------------------------------


def test_rows_are_named_as_the_caller_can_write_them():
    some = TRAIN.map(lambda row, at: {"kind": -1 if at in (2, 5) else row["kind"]}, with_indices=True)
    assert read_error(train=some) == (
        "label column 'kind' of train is empty in 2 of 8 row(s), train.select([2, 5]); fill or remove these rows"
    )
    assert read_error(test=some).endswith("or leave the column out: test.remove_columns(['kind'])")
    assert len(some.select([2, 5])) == 2 and "kind" not in some.remove_columns(["kind"]).column_names
    inside = TRAIN.map(lambda row: {"tags": [-1, 0]})
    assert "holds None, which is no label, train.select([0, 1, 2, 3, 4]) and 3 more" in read_error(
        "tags", train=inside, text="words"
    )


def test_several_splits_at_once_are_told_apart():
    assert read_error(train=SPLITS) == (
        "train is a DatasetDict with the splits 'train', 'validation', 'test'; expected "
        "one of them: write dataset['train']"
    )
    assert read_error(valid=SPLITS).startswith("valid is a DatasetDict with the splits")


def test_a_column_that_is_not_there():
    assert "no column 'lable'; nearest: label" in read_error("lable", train=TRAIN.rename_column("kind", "label"))
