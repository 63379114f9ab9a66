"""Split: a table's rows to train and to validate, described and encoded."""

import numpy as np

from fastai_hf_callback.data.encoding.encoder import TextEncoder
from fastai_hf_callback.data.encoding.table_split import TableSplit, describe_split, encode_split
from fastai_hf_callback.data.tables.table import Table
from tests.installed_stack import is_installed
from tests.tiny_texts import fast_tokenizer, slow_tokenizer

TEXTS = ["the old fox", "a fern", "two toads", "red moss here", "old owl"]
TRAIN, VALID = np.array([0, 2, 3]), np.array([1, 4])


def several(*columns):
    return TableSplit(Table(TEXTS, np.array(columns, dtype=np.float32).T, ["animal", "plant"]), TRAIN, VALID)


def one_of(*numbers):
    return TableSplit(Table(TEXTS, np.array(numbers, dtype=np.int64), ["animal", "plant"]), TRAIN, VALID)


def test_a_split_is_told_in_a_line():
    assert describe_split(one_of(0, 1, 0, 1, 0)) == "5 texts, 2 classes: 3 to train, 2 to validate"
    assert describe_split(several([1, 0, 1, 0, 1], [0, 1, 0, 1, 0])) == "5 texts, 2 labels: 3 to train, 2 to validate"


def test_a_label_that_validation_never_sees_is_named():
    _first, second = describe_split(several([1, 0, 1, 0, 1], [1, 0, 1, 1, 0])).splitlines()
    assert second == "mean_auc is over the other columns: plant has one class only in validation"


def test_rows_keep_their_targets(tmp_path):
    tokenizer = (fast_tokenizer if is_installed("transformers") else slow_tokenizer)(tmp_path)
    made = encode_split(several([1, 0, 1, 0, 1], [0, 1, 0, 1, 0]), TextEncoder(tokenizer, 16))
    assert made.task == "multi_label_classification" and made.names == ["animal", "plant"] and made.test is None
    assert made.train.targets.tolist() == [[1, 0], [1, 0], [0, 1]] and made.valid.targets.tolist() == [[0, 1], [1, 0]]
    for part, rows in ((made.train, TRAIN), (made.valid, VALID)):
        assert [tokenizer.decode(row.input_ids, skip_special_tokens=True) for row in part.texts] == [
            TEXTS[i] for i in rows
        ]


def test_classes_are_a_task_of_their_own(tmp_path):
    tokenizer = (fast_tokenizer if is_installed("transformers") else slow_tokenizer)(tmp_path)
    made = encode_split(one_of(0, 1, 0, 1, 0), TextEncoder(tokenizer, 16))
    assert made.task == "single_label_classification" and made.valid.targets.tolist() == [1, 0]
