"""TextEncoder gives what the tokenizer itself gives, text by text; each bad input's message.

The tokenizers are real ones with small vocabularies, made here.
"""
import json
import logging
import multiprocessing
import os
import pickle
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastai_hf_callback import BridgeError
from fastai_hf_callback.errors import UnusableInput
from fastai_hf_callback.texts import tokenizing
from fastai_hf_callback.texts.encoder import Encoded, TextEncoder

quick = settings(deadline=None, max_examples=40)
WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "fish", "##y", "!", "a", "##a", "i", "\u4e2d",
         "g", "##o", "##d", ".", "'", "3", ",", "\u03b1", "##\u03c2", "##\u03c3", "[", "]")
CLS, SEP = WORDS.index("[CLS]"), WORDS.index("[SEP]")
PIECES = ("good", "bad fishy", " ", "  ", "\n", "\t", "\x1c", "\x85", "\u00a0", "\u2028", "\x00", "[SEP]", "[UNK]",
          "</s>", "<s>", "<sep>", "\u0130", "\u0391\u03a3", "e\u0301", "\u0301", "\u4e2d\u6587", "a", "a.", "don't",
          "3,000", "!", "\U0001f600")

texts_of_all_kinds = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=12).map("".join)


# -- the tokenizers --------------------------------------------------------------------------------


def bert(library, folder, kind="Bert", **more):
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    return getattr(library, f"{kind}Tokenizer")(str(folder / "vocab.txt"), **more)


def distilbert(library, folder):
    return bert(library, folder, "DistilBert")


BYTE_MERGES = (("\u0120", "g"), ("o", "o"), ("\u0120g", "oo"), ("\u0120goo", "d"), ("g", "oo"), ("goo", "d"))


def byte_vocabulary():
    letters = pytest.importorskip("pytorch_transformers").tokenization_gpt2.bytes_to_unicode().values()
    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>", *letters, *map("".join, BYTE_MERGES)]
    return {token: i for i, token in enumerate(tokens)}


def gpt2(library, folder, kind="GPT2"):
    (folder / "vocab.json").write_text(json.dumps(byte_vocabulary()), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version", *map(" ".join, BYTE_MERGES)]) + "\n", encoding="utf-8")
    return getattr(library, f"{kind}Tokenizer")(str(folder / "vocab.json"), str(folder / "merges.txt"))


def roberta(library, folder):
    return gpt2(library, folder, "Roberta")


def xlm(library, folder, kind="XLM"):
    if kind == "XLM":
        pytest.importorskip("sacremoses")
    tokens = ("<s>", "</s>", "<pad>", "<unk>", "<special0>", "<special1>", "good</w>", "g", "o", "d", "a", "a</w>",
              "goo", ".</w>", "t", "t</w>")
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}), encoding="utf-8")
    (folder / "merges.txt").write_text("#version\ng o\ngo o\ngoo d</w>\n", encoding="utf-8")
    return getattr(library, f"{kind}Tokenizer")(str(folder / "vocab.json"), str(folder / "merges.txt"))


def openai(library, folder):
    return xlm(library, folder, "OpenAIGPT")


def transfoxl(library, folder):
    tokenizer = library.TransfoXLTokenizer(special=["<unk>", "<eos>", "good", "bad", "a"], lower_case=True)
    tokenizer.build_vocab()
    return tokenizer


def xlnet(library, folder):
    trainer = pytest.importorskip("sentencepiece").SentencePieceTrainer
    (folder / "corpus.txt").write_text("good day bad fish a cat. the dog sat 3,000 times\n" * 30, encoding="utf-8")
    trainer.Train(f"--input={folder}/corpus.txt --model_prefix={folder}/pieces --vocab_size=40 --minloglevel=2 "
                  "--hard_vocab_limit=false --user_defined_symbols=<cls>,<sep>,<pad>,<mask>")
    return library.XLNetTokenizer(str(folder / "pieces.model"))


SLOW = (bert, distilbert, roberta, gpt2, xlm, xlnet, openai, transfoxl)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """Makes a tokenizer of pytorch-transformers, once."""
    library, made = pytest.importorskip("pytorch_transformers"), {}

    def of(make):
        if make not in made:
            made[make] = make(library, tmp_path_factory.mktemp("tokenizer"))
        return made[make]

    return of


every_slow = pytest.mark.parametrize("make", SLOW, ids=lambda make: make.__name__)


def fast_bert(library):
    return library.BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)})


def fast_distilbert(library):
    return library.DistilBertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)})


def fast_roberta(library):
    return library.RobertaTokenizerFast(vocab=byte_vocabulary(), merges=list(BYTE_MERGES))


def fast_gpt2(library):
    return library.GPT2TokenizerFast(vocab=byte_vocabulary(), merges=list(BYTE_MERGES))


@pytest.fixture(scope="module")
def fast():
    library, made = pytest.importorskip("transformers", minversion="5"), {}
    return lambda make: made.setdefault(make, None) or made.update({make: make(library)}) or made[make]


every_fast = pytest.mark.parametrize("make", (fast_bert, fast_distilbert, fast_roberta, fast_gpt2),
                                     ids=lambda make: make.__name__)


@pytest.fixture(scope="module")
def slow_of_today(tmp_path_factory):
    library = pytest.importorskip("transformers", minversion="5")
    return xlm(library, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def a_bert(slow):
    return slow(bert)


# -- what the library itself says, one text at a time ------------------------------------------------


def ids_of(tokenizer, text):
    return tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) if text.strip() else []


def own_row(tokenizer, text, max_len):
    room = max_len - len(tokenizer.add_special_tokens_single_sentence([]))
    return tokenizer.add_special_tokens_single_sentence(ids_of(tokenizer, text)[:room])


def own_pair(tokenizer, text, pair, max_len):
    first, second = ids_of(tokenizer, text), ids_of(tokenizer, pair)
    while len(tokenizer.add_special_tokens_sentences_pair(first, second)) > max_len:  # as transformers' loop was
        longer = first if len(first) > len(second) else second
        longer.pop()
    return tokenizer.add_special_tokens_sentences_pair(first, second)


def encode(tokenizer, texts, max_len):
    return as_lists(TextEncoder(tokenizer, max_len).encode(texts))


def as_lists(rows):
    return [row.ids.tolist() for row in rows]


def listed(array):
    return None if array is None else array.tolist()


@every_slow
@settings(deadline=None, max_examples=25)
@given(texts=st.lists(texts_of_all_kinds, max_size=5), max_len=st.integers(3, 30))
def test_a_slow_tokenizer_s_rows_are_its_own(slow, make, texts, max_len):
    tokenizer = slow(make)
    for from_ in (1, 1000):  # with words remembered where they may be, and without
        with patch.object(tokenizing, "CHUNKS_PAY_FROM", from_):
            rows = as_lists(TextEncoder(tokenizer, max_len).encode(texts))
        assert rows == [own_row(tokenizer, text, max_len) for text in texts]


@every_slow
@settings(deadline=None, max_examples=15)
@given(rows=st.lists(st.tuples(texts_of_all_kinds, texts_of_all_kinds), max_size=4), max_len=st.integers(4, 25))
def test_a_slow_tokenizer_s_pairs_are_its_own(slow, make, rows, max_len):
    tokenizer, texts, pairs = slow(make), [a for a, _ in rows], [b for _, b in rows]
    with patch.object(tokenizing, "CHUNKS_PAY_FROM", 1):
        encoded = as_lists(TextEncoder(tokenizer, max_len).encode(texts, pairs))
    assert encoded == [own_pair(tokenizer, text, pair, max_len) for text, pair in rows]


@every_slow
@settings(deadline=None, max_examples=15)
@given(words=st.lists(st.one_of(st.sampled_from(["good", "bad", "", " ", "a", "fishy", "3,000"]), st.text(max_size=4)),
                      max_size=8), max_len=st.integers(3, 30))
def test_words_are_tokenised_one_by_one_and_each_piece_knows_its_word(slow, make, words, max_len):
    tokenizer = slow(make)
    row, = TextEncoder(tokenizer, max_len).encode([words])
    pieces = [ids_of(tokenizer, word) for word in words]
    room = max_len - len(tokenizer.add_special_tokens_single_sentence([]))
    assert row.ids.tolist() == tokenizer.add_special_tokens_single_sentence(sum(pieces, [])[:room])
    kept = [(i, word) for i, word in zip(row.ids.tolist(), row.words.tolist()) if word >= 0]
    assert kept == [(i, n) for n, piece in enumerate(pieces) for i in piece][:room]


@every_fast
@settings(deadline=None, max_examples=25)
@given(rows=st.lists(st.tuples(texts_of_all_kinds, texts_of_all_kinds), max_size=4), max_len=st.integers(4, 25))
def test_a_fast_tokenizer_s_rows_are_its_own(fast, make, rows, max_len):
    tokenizer, texts, pairs = fast(make), [a for a, _ in rows], [b for _, b in rows]
    for seconds in (None, pairs):
        encoded = TextEncoder(tokenizer, max_len).encode(texts, seconds)
        for i, row in enumerate(encoded):
            own = tokenizer(texts[i:i + 1], seconds and seconds[i:i + 1], truncation=True, max_length=max_len)
            assert row.ids.tolist() == own["input_ids"][0]
            types = own.get("token_type_ids", [[]])[0]
            assert listed(row.types) == (types if any(types) else None)


@quick
@given(rows=st.lists(st.tuples(texts_of_all_kinds, texts_of_all_kinds), max_size=4), max_len=st.integers(5, 25))
def test_a_slow_tokenizer_of_today_gives_its_own_rows(slow_of_today, rows, max_len):
    tokenizer, texts, pairs = slow_of_today, [a for a, _ in rows], [b for _, b in rows]
    for seconds in (None, pairs):
        encoded = as_lists(TextEncoder(tokenizer, max_len).encode(texts, seconds))
        own = [tokenizer(texts[i], pairs[i] if seconds else None, truncation=True, max_length=max_len)["input_ids"]
               for i in range(len(texts))]
        assert encoded == own


def test_a_slow_tokenizer_of_today_that_cuts_on_the_left_keeps_the_end(slow_of_today):
    tokenizer = pickle.loads(pickle.dumps(slow_of_today))
    tokenizer.truncation_side = "left"
    row, = TextEncoder(tokenizer, 6).encode(["good a good a good good"])
    assert row.ids.tolist() == tokenizer("good a good a good good", truncation=True, max_length=6)["input_ids"]
    row, = TextEncoder(tokenizer, 5).encode([["good", "a", "good", "a"]])
    assert row.words.tolist() == [-1, 1, 2, 3, -1]


@every_fast
def test_words_of_a_fast_tokenizer_have_the_pieces_they_have_in_a_text(fast, make):
    tokenizer = fast(make)
    empty, row = TextEncoder(tokenizer, 30).encode([[], ["good", "", "bad", " ", "good", "!"]])
    assert row.ids.tolist() == tokenizer("good bad good !")["input_ids"]
    words = [word for word in row.words.tolist() if word >= 0]
    assert sorted(set(words)) == [0, 2, 4, 5] and words == sorted(words)
    assert (row.words == -1).sum() == tokenizer.num_special_tokens_to_add()
    assert empty.ids.tolist() == tokenizer("")["input_ids"]


def test_a_fast_bert_and_a_slow_one_agree(fast, a_bert):
    texts, pairs = ["good fishy bad !", "a", ""], ["bad", "good good good good good", "a"]
    for max_len in (4, 5, 30):
        one, other = (TextEncoder(tokenizer, max_len) for tokenizer in (fast(fast_bert), a_bert))
        assert as_lists(one.encode(texts)) == as_lists(other.encode(texts))
    for row, slow_row in zip(one.encode(texts, pairs), other.encode(texts, pairs)):
        assert row.ids.tolist() == slow_row.ids.tolist() and row.types.tolist() == slow_row.types.tolist()
    assert (one.pad_id, one.pad_side, one.vocabulary) == (other.pad_id, other.pad_side, other.vocabulary)


# -- special tokens, types, padding, and arms that break them -----------------------------------------

TYPES_OF_A_PAIR = {bert: [0, 0, 0, 1, 1, 1], xlnet: None, distilbert: None, roberta: None, gpt2: None, xlm: None,
                   openai: None, transfoxl: None}


@every_slow
def test_a_pair_has_types_where_the_model_has_segments(slow, make):
    row, = TextEncoder(slow(make), 40).encode(["good"], ["good good"] if make is bert else ["good"])
    if make is xlnet:
        half = (len(row.ids) - 3) // 2
        assert row.types.tolist() == [0] * (half + 1) + [1] * (half + 1) + [2]
    else:
        assert listed(row.types) == TYPES_OF_A_PAIR[make]


@every_slow
def test_a_single_text_has_types_only_where_some_are_not_0(slow, make):
    row, = TextEncoder(slow(make), 40).encode(["good"])
    assert listed(row.types) == ([0] * (len(row.ids) - 1) + [2] if make is xlnet else None)


@every_slow
def test_padding_as_the_tokenizer_would(slow, make):
    encoder = TextEncoder(slow(make), 40)
    assert encoder.pad_side == ("left" if make is xlnet else "right")
    assert encoder.pad_id == {roberta: 1, xlm: 2, xlnet: 5}.get(make, 0)
    assert encoder.pad_type_id == 0
    assert encoder.vocabulary == len(slow(make))


def test_types_are_padded_as_the_tokenizer_says(slow):
    tokenizer = pickle.loads(pickle.dumps(slow(xlnet)))
    tokenizer.pad_token_type_id = 3
    assert TextEncoder(tokenizer).pad_type_id == 3


def test_added_tokens_count_in_the_vocabulary(slow, tmp_path):
    tokenizer = bert(pytest.importorskip("pytorch_transformers"), tmp_path)
    encoder = TextEncoder(tokenizer)
    tokenizer.add_tokens(["[NAME]", "new york"])
    assert encoder.vocabulary == len(WORDS) + 2
    texts = ["good [NAME]! bad", "new york", "good new york a", "new  york", "x[NAME]y"] * 10  # words are remembered
    assert as_lists(encoder.encode(texts)) == [own_row(tokenizer, text, 128) for text in texts]


def frames_hold(encoder):
    """Whether a cut single text and a cut pair of a BERT are right in specials and types; it must be able to fail."""
    one, = encoder.encode(["good bad good bad good"])
    two, = encoder.encode(["good bad good bad good"], ["fish fish fish"])
    return (one.ids.tolist() == [CLS, 5, 6, 5, 6, SEP] and two.ids.tolist() == [CLS, 5, 6, SEP, 7, SEP]
            and two.types.tolist() == [0, 0, 0, 0, 1, 1])


def test_special_tokens_and_types_stay_in_a_cut_row(a_bert):
    assert frames_hold(TextEncoder(a_bert, 6))


@pytest.mark.parametrize("name, broken", [
    ("join", lambda self, a, b: [*self.before, *self.between, *a, *(b or ()), *self.after]),
    ("join", lambda self, a, b: [*self.after, *a, *self.between, *(b or ()), *self.before]),
    ("join", lambda self, a, b: [*self.before, *a, *self.between, *(b or ())]),
    ("types", lambda self, a, b: [1] * (len(a) + 2) + [0] * (len(b or ()) + 1)),
    ("types", lambda self, a, b: [0] * (len(a) + 1) + [1] * (len(b or ()) + 2)),
], ids=["separator first", "ends swapped", "last separator lost", "types swapped", "types one early"])
def test_a_broken_frame_is_noticed(a_bert, name, broken):
    encoder = TextEncoder(a_bert, 6)
    with patch.object(tokenizing._Frame, name, broken):
        assert not frames_hold(encoder)


def test_a_cut_of_the_whole_row_which_loses_the_last_separator_is_noticed(a_bert):
    encoder, join = TextEncoder(a_bert, 6), tokenizing._Frame.join
    with patch.object(tokenizing, "_shares", lambda room, first, second: (first, second)):
        assert not frames_hold(encoder)
        with patch.object(tokenizing._Frame, "join", lambda *given_: join(*given_)[:6]):
            row, = encoder.encode(["good bad good bad good"])
            assert row.ids.tolist() == [CLS, 5, 6, 5, 6, 5] and not frames_hold(encoder)


@pytest.mark.parametrize("make", [roberta, xlm], ids=lambda make: make.__name__)
def test_words_that_depend_on_their_neighbours_are_noticed_on_the_tokenizer_at_hand(slow, make):
    """RoBERTa's pieces carry the space, XLM splits off a text's last full stop; here both say they have wordpieces."""
    tokenizer, texts = slow(make), ["good cat. good day ", "a"] * 20
    with patch.object(tokenizer, "wordpiece_tokenizer", None, create=True):
        assert not tokenizing._Slow(tokenizer, 20, texts, None, False).by_chunk
    with patch.object(tokenizing._Slow, "_chunks_are_independent", lambda self: True):  # the broken arm
        broken = as_lists(TextEncoder(tokenizer, 20).encode(texts))
    assert broken != [own_row(tokenizer, text, 20) for text in texts]


def test_words_are_remembered_for_a_bert_alone(slow):
    jobs = {make.__name__: tokenizing._Slow(slow(make), 9, ["good a"] * 40, None, False) for make in SLOW}
    assert {name for name, job in jobs.items() if job.by_chunk} == {"bert", "distilbert"}


# -- the tokenizer stays as it is ----------------------------------------------------------------------


@every_slow
def test_nothing_is_left_in_a_slow_tokenizer(slow, make):
    tokenizer = slow(make)
    before = pickle.dumps({name: value for name, value in vars(tokenizer).items() if name != "sp_model"})
    TextEncoder(tokenizer).encode(["good bad never seen before"] * 40)
    assert pickle.dumps({name: value for name, value in vars(tokenizer).items() if name != "sp_model"}) == before


@every_fast
@pytest.mark.parametrize("was_set", [False, True])
def test_a_fast_tokenizer_keeps_its_truncation_and_padding(fast, make, was_set):
    tokenizer = pickle.loads(pickle.dumps(fast(make)))
    backend = tokenizer.backend_tokenizer
    if was_set:
        backend.enable_truncation(7, stride=1)
        backend.enable_padding(length=9, pad_id=1)
    before = backend.truncation, backend.padding
    TextEncoder(tokenizer, 20).encode(["good bad", "a"])
    assert (backend.truncation, backend.padding) == before and (before == (None, None)) != was_set
    with pytest.raises(ZeroDivisionError):
        TextEncoder(tokenizer, 20).encode(["good bad", "a"], progress=lambda parts, total: [0 / 0 for _ in parts])
    assert (backend.truncation, backend.padding) == before


@every_slow
def test_an_encoder_of_a_slow_tokenizer_can_be_pickled(slow, make):
    encoder = TextEncoder(slow(make), 20)
    texts = ["good bad", "a a a"]
    assert as_lists(pickle.loads(pickle.dumps(encoder)).encode(texts)) == as_lists(encoder.encode(texts))


@every_fast
def test_an_encoder_of_a_fast_tokenizer_can_be_pickled(fast, make):
    encoder = TextEncoder(fast(make), 20)
    texts = ["good bad", "a a a"]
    assert as_lists(pickle.loads(pickle.dumps(encoder)).encode(texts)) == as_lists(encoder.encode(texts))


def test_no_warning_for_each_text_that_is_cut(tmp_path, caplog):
    library = pytest.importorskip("pytorch_transformers")
    tokenizers = [bert(library, tmp_path, max_len=4), gpt2(library, tmp_path)]
    with caplog.at_level(logging.WARNING):
        for tokenizer in tokenizers:
            encoder = TextEncoder(tokenizer, 4)
            encoder.encode(["good bad " * 9] * 3)
            encoder.encode(["good bad " * 9] * 3, ["a a a a a a"] * 3)
    assert not caplog.records


@every_slow
def test_decoding_leaves_special_tokens_visible(slow, make):
    tokenizer = slow(make)
    encoder = TextEncoder(tokenizer, 20)
    row, = encoder.encode(["good good"])
    shown = encoder.decode(row.ids)
    assert shown.count("good") == 2
    for i in tokenizer.add_special_tokens_single_sentence([]):
        assert tokenizer.convert_ids_to_tokens([i])[0] in shown


def test_decoding_with_a_fast_tokenizer_leaves_special_tokens_visible(fast):
    encoder = TextEncoder(fast(fast_bert), 20)
    assert encoder.decode(encoder.encode(["good fishy"])[0].ids) == "[CLS] good fishy [SEP]"


# -- chunks and processes --------------------------------------------------------------------------------

NUMBERED = [f"good bad fishy {'a ' * (i % 7)}! [SEP] {i}" for i in range(60)]


@pytest.fixture
def in_processes(monkeypatch):
    """A few rows are many."""
    monkeypatch.setattr(tokenizing, "PAYS_FROM", 0)
    monkeypatch.setattr(tokenizing, "PAYS_FROM_REMEMBERED", 0)
    monkeypatch.setattr(tokenizing._Slow, "rows", 7)


@every_slow
def test_in_processes_the_rows_are_the_same_in_the_same_order(slow, make, in_processes):
    tokenizer, pairs = slow(make), NUMBERED[::-1]
    serial, parallel = (TextEncoder(tokenizer, 16, n_workers=n) for n in (1, 2))
    assert as_lists(parallel.encode(NUMBERED)) == as_lists(serial.encode(NUMBERED))
    for one, other in zip(parallel.encode(NUMBERED, pairs), serial.encode(NUMBERED, pairs)):
        assert one.ids.tolist() == other.ids.tolist() and listed(one.types) == listed(other.types)
    assert not multiprocessing.active_children()


class Loud:
    """A tokenizer that fails at one text, and says where it was."""

    added_tokens_encoder, all_special_tokens = {}, []

    def __init__(self, error=ValueError):
        self.error = error

    def tokenize(self, text):
        if text.startswith("boom"):
            raise self.error(os.getpid())
        return text.split()

    def convert_tokens_to_ids(self, tokens):
        return len(tokens)

    def convert_ids_to_tokens(self, ids):
        return ["x" * i for i in ids]

    def add_special_tokens_single_sentence(self, ids):
        return ids

    def add_special_tokens_sentences_pair(self, ids, more):
        return ids + more


class Unsendable(Exception):
    """It can be pickled, and fails when it is unpickled."""

    def __init__(self, pid):
        super().__init__()
        self.pid = pid


linux = pytest.mark.skipif(not hasattr(os, "fork") or os.uname().sysname != "Linux", reason="processes are for Linux")


@linux
def test_an_error_in_another_process_reaches_the_caller_and_no_process_stays(in_processes):
    with pytest.raises(ValueError) as caught:
        TextEncoder(Loud(), n_workers=2).encode([*NUMBERED, "boom", *NUMBERED])
    assert caught.value.args[0] != os.getpid()
    assert not multiprocessing.active_children()


@linux
def test_an_error_that_cannot_be_sent_is_raised_here(in_processes):
    with pytest.raises(Unsendable) as caught:
        TextEncoder(Loud(Unsendable), n_workers=2).encode([*NUMBERED, "boom", *NUMBERED])
    assert caught.value.pid == os.getpid()
    assert not multiprocessing.active_children()


@linux
def test_a_tokenizer_that_cannot_be_pickled_works_in_this_process(in_processes):
    tokenizer = Loud()
    tokenizer.handle = lambda: None
    encoder = TextEncoder(tokenizer, n_workers=2)
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

    with patch.object(tokenizing, "_can_be_pickled", lambda tokenizer: True):
        rows = as_lists(TextEncoder(Dying(), n_workers=2).encode(["a bb"] * 20 + ["ccc"] * 20))
    assert rows == [[1, 2]] * 20 + [[3]] * 20
    assert not multiprocessing.active_children()


@linux
def test_a_progress_that_stops_leaves_no_process(in_processes, a_bert):
    def stopping(parts, total):
        next(iter(parts))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TextEncoder(a_bert, n_workers=2).encode(NUMBERED, progress=stopping)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("n_workers", [1, 2])
def test_progress_sees_every_chunk_and_their_number(a_bert, in_processes, n_workers):
    seen = []

    def progress(parts, total):
        for part in parts:
            seen.append((len(part), total))
            yield part

    rows = TextEncoder(a_bert, n_workers=n_workers).encode(NUMBERED, progress=progress)
    assert len(rows) == 60 and seen == [(7, 9)] * 8 + [(4, 9)]


def test_a_fast_tokenizer_is_called_once_for_each_chunk(fast, monkeypatch):
    monkeypatch.setattr(tokenizing._Fast, "rows", 25)
    encoder, totals = TextEncoder(fast(fast_bert)), []
    rows = encoder.encode(NUMBERED, progress=lambda parts, total: totals.append(total) or parts)
    assert totals == [3]
    assert as_lists(rows) == fast(fast_bert)(NUMBERED)["input_ids"]


def test_rows_are_small_arrays(a_bert):
    row, = TextEncoder(a_bert).encode([["good", "bad"]])
    assert isinstance(row, Encoded) and row.ids.dtype == row.words.dtype == np.int32
    assert TextEncoder(a_bert).encode([]) == []


# -- what cannot be used -----------------------------------------------------------------------------------


@pytest.mark.parametrize("given_, said", [
    ("bert-base-uncased", "'bert-base-uncased' (str) was given as tokenizer; expected a tokenizer of"),
    (torch.nn.Linear(2, 2), "Linear(in_features=2, out_features=2, bias=True) (Linear) was given as tokenizer"),
    (Loud, "the class Loud was given as tokenizer"),
    (None, "None (NoneType) was given as tokenizer"),
])
def test_what_is_no_tokenizer_is_refused(given_, said):
    with pytest.raises(UnusableInput) as caught:
        TextEncoder(given_)
    assert said in str(caught.value) and "write AutoTokenizer.from_pretrained(name)" in str(caught.value)


@pytest.mark.parametrize("texts, pairs, said", [
    ([float("nan"), "a", None, 3, 4, 5, 6], None,
     "6 of 7 texts are no str (positions 0, 2, 3, 4, 5, ...; the first is nan, float); write "
     "dataframe[column].fillna('').astype(str) to keep such rows, or leave them out"),
    (["a", None], None, "1 of 2 texts are no str (positions 1; the first is None, NoneType)"),
    ("a text", None, "texts is 'a text'; expected a sequence of str; write [text] for a single one"),
    (3, None, "texts is 3; expected a sequence of str"),
    ([["a"], "b", ["c", 4]], None, "2 of 3 texts are no list of str (positions 1, 2; the first is 'b', str)"),
    (np.array([["a", "b"]]), None, "texts is a ndarray of 2 dimensions; expected a sequence of str; write dataframe["),
    (["a"], ["b", "c"], "1 texts and 2 pairs were given; expected one pair for each text"),
    (["a"], [None], "1 of 1 pairs are no str (positions 0; the first is None, NoneType)"),
    ([["a"]], ["b"], "texts of words and pairs were given; expected pairs only beside texts that are str"),
])
def test_texts_that_are_none_are_refused(a_bert, texts, pairs, said):
    with pytest.raises(UnusableInput) as caught:
        TextEncoder(a_bert).encode(texts, pairs)
    assert said in str(caught.value)


@pytest.mark.parametrize("max_len", [1.5, "128", True, None])
def test_a_length_that_is_no_number_is_refused(a_bert, max_len):
    with pytest.raises(UnusableInput, match="expected a whole number"):
        TextEncoder(a_bert, max_len)


def test_a_number_of_processes_below_one_is_refused(a_bert):
    with pytest.raises(UnusableInput, match="n_workers=0 was given; expected at least 1; write n_workers=1"):
        TextEncoder(a_bert, n_workers=0)


def test_a_length_with_room_for_one_text_but_not_for_a_pair_is_refused_with_pairs(a_bert):
    encoder = TextEncoder(a_bert, 2)
    assert as_lists(encoder.encode(["good"])) == [[CLS, SEP]]
    with pytest.raises(UnusableInput, match="max_len=2 was given.*3 special tokens of a pair; write max_len=4 or more"):
        encoder.encode(["good"], ["bad"])


def test_a_length_above_the_tokenizer_s_own_limit_is_refused(tmp_path):
    tokenizer = bert(pytest.importorskip("pytorch_transformers"), tmp_path, max_len=64)
    TextEncoder(tokenizer, 64)
    said = "max_len=65 was given, and the tokenizer's own limit is 64 tokens; write max_len=64 or less"
    with pytest.raises(UnusableInput, match=said):
        TextEncoder(tokenizer, 65)


def test_a_length_above_a_fast_tokenizer_s_own_limit_is_refused(fast):
    tokenizer = pickle.loads(pickle.dumps(fast(fast_bert)))
    tokenizer.model_max_length = 100
    with pytest.raises(UnusableInput, match="max_len=128 was given, and the tokenizer's own limit is 100 tokens"):
        TextEncoder(tokenizer)


def test_a_vocabulary_without_its_unknown_token_is_named(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[CLS]\n[SEP]\ngood", encoding="utf-8")
    tokenizer = pytest.importorskip("pytorch_transformers").BertTokenizer(str(tmp_path / "vocab.txt"))
    with pytest.raises(UnusableInput, match=r"the tokenizer has no id for '\[UNK\]'"):
        TextEncoder(tokenizer).encode(["good what"])


# -- encode ----------------------------------------------------------------------------------------


def test_texts_become_ids_between_special_tokens(a_bert):
    assert encode(a_bert, ["good fishy", "bad !", ""], 10) == [[CLS, 5, 7, 8, SEP], [CLS, 6, 9, SEP], [CLS, SEP]]


@quick
@given(texts=st.lists(st.text(alphabet="good badfishy!?\n", max_size=40), max_size=4), max_len=st.integers(2, 12))
def test_no_row_is_longer_than_asked_and_all_keep_their_special_tokens(a_bert, texts, max_len):
    rows, whole = encode(a_bert, texts, max_len), encode(a_bert, texts, 1000)
    assert len(rows) == len(texts)
    for row, full in zip(rows, whole):
        assert len(row) == min(max_len, len(full))
        assert row == [*full[:len(row) - 1], SEP]


@pytest.mark.parametrize("max_len", [1, 0, -3])
def test_a_length_with_no_room_for_the_special_tokens_is_refused(a_bert, max_len):
    with pytest.raises(BridgeError, match=f"max_len={max_len}.*2 special tokens"):
        encode(a_bert, ["good fish good fish"], max_len)


def test_a_tokenizer_without_special_tokens_adds_none(caplog):
    library = pytest.importorskip("pytorch_transformers")

    class Letters(library.PreTrainedTokenizer):
        def _tokenize(self, text):
            return list(text)

        def _convert_token_to_id(self, token):
            return ord(token)

    caplog.set_level(logging.ERROR, logger=library.tokenization_utils.__name__)  # it warns at each text
    assert encode(Letters(), ["abcd", ""], 3) == [[97, 98, 99], []]


def test_texts_may_be_any_sequence_and_stay_as_they_are(a_bert):
    texts = ("good", "bad fish")
    assert as_lists(TextEncoder(a_bert, 9).encode(np.array(texts))) == encode(a_bert, texts, 9)
    assert encode(a_bert, texts, 9) == encode(a_bert, list(texts), 9)
    assert texts == ("good", "bad fish")
