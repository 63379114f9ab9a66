"""TextEncoder in chunks and processes: the same rows, and no process left behind."""

import multiprocessing
import os
from unittest.mock import patch

import numpy as np
import pytest

from fastai_hf_callback.data.encoding import fast_tokenization, slow_tokenization
from fastai_hf_callback.data.encoding.encoder import EncodedText, TextEncoder
from tests.data.encoding.tiny_tokenizers import Loud, as_lists, every_slow, fast_bert, listed

NUMBERED = [f"good bad fishy {'a ' * (i % 7)}! [SEP] {i}" for i in range(60)]


@pytest.fixture
def in_processes(monkeypatch):
    """A few rows are many."""
    monkeypatch.setattr(slow_tokenization, "MIN_CHARS_FOR_PROCESSES", 0)
    monkeypatch.setattr(slow_tokenization, "MIN_CHARS_FOR_PROCESSES_CACHED", 0)
    monkeypatch.setattr(slow_tokenization.SlowTokenizerJob, "rows", 7)


@every_slow
def test_in_processes_the_rows_are_the_same_in_the_same_order(slow, make, in_processes):
    tokenizer, pairs = slow(make), NUMBERED[::-1]
    serial, parallel = (TextEncoder(tokenizer, 16, tokenizer_workers=n) for n in (1, 2))
    assert as_lists(parallel.encode(NUMBERED)) == as_lists(serial.encode(NUMBERED))
    for one, other in zip(parallel.encode(NUMBERED, pairs), serial.encode(NUMBERED, pairs)):
        assert one.input_ids.tolist() == other.input_ids.tolist() and listed(one.token_type_ids) == listed(
            other.token_type_ids
        )
    assert not multiprocessing.active_children()


class Unsendable(Exception):
    """It can be pickled, and fails when it is unpickled."""

    def __init__(self, pid):
        super().__init__()
        self.pid = pid


linux = pytest.mark.skipif(not hasattr(os, "fork") or os.uname().sysname != "Linux", reason="processes are for Linux")


@linux
def test_an_error_in_another_process_reaches_the_caller_and_no_process_stays(in_processes):
    with pytest.raises(ValueError) as caught:
        TextEncoder(Loud(), tokenizer_workers=2).encode([*NUMBERED, "boom", *NUMBERED])
    assert caught.value.args[0] != os.getpid()
    assert not multiprocessing.active_children()


@linux
def test_an_error_that_cannot_be_sent_is_raised_here(in_processes):
    with pytest.raises(Unsendable) as caught:
        TextEncoder(Loud(Unsendable), tokenizer_workers=2).encode([*NUMBERED, "boom", *NUMBERED])
    assert caught.value.pid == os.getpid()
    assert not multiprocessing.active_children()


@linux
def test_a_tokenizer_that_cannot_be_pickled_works_in_this_process(in_processes):
    tokenizer = Loud()
    tokenizer.handle = lambda: None
    encoder = TextEncoder(tokenizer, tokenizer_workers=2)
    assert as_lists(encoder.encode(["a bb", "ccc"] * 20)) == [[1, 2], [3]] * 20
    with pytest.raises(ValueError, match=str(os.getpid())):
        encoder.encode([*NUMBERED, "boom"])


@linux
def test_what_a_killed_process_had_to_do_is_done_here(in_processes):
    parent = os.getpid()

    class Dying(Loud):
        def tokenize(self, text):
            if os.getpid() != parent and text == "ccc":
                os._exit(1)
            return super().tokenize(text)

    with patch.object(slow_tokenization, "_is_picklable", lambda tokenizer: True):
        rows = as_lists(TextEncoder(Dying(), tokenizer_workers=2).encode(["a bb"] * 20 + ["ccc"] * 20))
    assert rows == [[1, 2]] * 20 + [[3]] * 20
    assert not multiprocessing.active_children()


@linux
def test_a_progress_that_stops_leaves_no_process(in_processes, a_bert):
    def stopping(parts, total):
        next(iter(parts))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TextEncoder(a_bert, tokenizer_workers=2).encode(NUMBERED, progress=stopping)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("tokenizer_workers", [1, 2])
def test_progress_sees_every_chunk_and_their_number(a_bert, in_processes, tokenizer_workers):
    seen = []

    def progress(parts, total):
        for part in parts:
            seen.append((len(part), total))
            yield part

    rows = TextEncoder(a_bert, tokenizer_workers=tokenizer_workers).encode(NUMBERED, progress=progress)
    assert len(rows) == 60 and seen == [(7, 9)] * 8 + [(4, 9)]


def test_a_fast_tokenizer_is_called_once_for_each_chunk(fast, monkeypatch):
    monkeypatch.setattr(fast_tokenization.FastTokenizerJob, "rows", 25)
    encoder, totals = TextEncoder(fast(fast_bert)), []
    rows = encoder.encode(NUMBERED, progress=lambda parts, total: totals.append(total) or parts)
    assert totals == [3]
    assert as_lists(rows) == fast(fast_bert)(NUMBERED)["input_ids"]


def test_rows_are_small_arrays(a_bert):
    (row,) = TextEncoder(a_bert).encode([["good", "bad"]])
    assert isinstance(row, EncodedText) and row.input_ids.dtype == row.word_ids.dtype == np.int32
    assert TextEncoder(a_bert).encode([]) == []
