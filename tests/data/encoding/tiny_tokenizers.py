"""Real tokenizers with small vocabularies, and what they say themselves, one text at a time."""

import json
import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st

from fastai_hf_callback.data.encoding.encoder import TextEncoder

quick = settings(deadline=None, max_examples=40)
WORDS = (
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "good",
    "bad",
    "fish",
    "##y",
    "!",
    "a",
    "##a",
    "i",
    "\u4e2d",
    "g",
    "##o",
    "##d",
    ".",
    "'",
    "3",
    ",",
    "\u03b1",
    "##\u03c2",
    "##\u03c3",
    "[",
    "]",
)
CLS, SEP = WORDS.index("[CLS]"), WORDS.index("[SEP]")
PIECES = (
    "good",
    "bad fishy",
    " ",
    "  ",
    "\n",
    "\t",
    "\x1c",
    "\x85",
    "\u00a0",
    "\u2028",
    "\x00",
    "[SEP]",
    "[UNK]",
    "</s>",
    "<s>",
    "<sep>",
    "\u0130",
    "\u0391\u03a3",
    "e\u0301",
    "\u0301",
    "\u4e2d\u6587",
    "a",
    "a.",
    "don't",
    "3,000",
    "!",
    "\U0001f600",
)

texts_of_all_kinds = st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=6)), max_size=12).map("".join)


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
    tokens = (
        "<s>",
        "</s>",
        "<pad>",
        "<unk>",
        "<special0>",
        "<special1>",
        "good</w>",
        "g",
        "o",
        "d",
        "a",
        "a</w>",
        "goo",
        ".</w>",
        "t",
        "t</w>",
    )
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
    trainer.Train(
        f"--input={folder}/corpus.txt --model_prefix={folder}/pieces --vocab_size=40 --minloglevel=2 "
        "--hard_vocab_limit=false --user_defined_symbols=<cls>,<sep>,<pad>,<mask>"
    )
    return library.XLNetTokenizer(str(folder / "pieces.model"))


SLOW = (bert, distilbert, roberta, gpt2, xlm, xlnet, openai, transfoxl)


every_slow = pytest.mark.parametrize("make", SLOW, ids=lambda make: make.__name__)


def fast_bert(library):
    return library.BertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)})


def fast_distilbert(library):
    return library.DistilBertTokenizerFast(vocab={word: i for i, word in enumerate(WORDS)})


def fast_roberta(library):
    return library.RobertaTokenizerFast(vocab=byte_vocabulary(), merges=list(BYTE_MERGES))


def fast_gpt2(library):
    return library.GPT2TokenizerFast(vocab=byte_vocabulary(), merges=list(BYTE_MERGES))


every_fast = pytest.mark.parametrize(
    "make", (fast_bert, fast_distilbert, fast_roberta, fast_gpt2), ids=lambda make: make.__name__
)


def ids_of(tokenizer, text):
    return tokenizer.convert_tokens_to_ids(tokenizer.tokenize(text)) if text.strip() else []


def own_row(tokenizer, text, max_length):
    room = max_length - len(tokenizer.add_special_tokens_single_sentence([]))
    return tokenizer.add_special_tokens_single_sentence(ids_of(tokenizer, text)[:room])


def own_pair(tokenizer, text, pair, max_length):
    first, second = ids_of(tokenizer, text), ids_of(tokenizer, pair)
    while len(tokenizer.add_special_tokens_sentences_pair(first, second)) > max_length:  # as transformers' loop was
        longer = first if len(first) > len(second) else second
        longer.pop()
    return tokenizer.add_special_tokens_sentences_pair(first, second)


def encode(tokenizer, texts, max_length):
    return as_lists(TextEncoder(tokenizer, max_length).encode(texts))


def as_lists(rows):
    return [row.input_ids.tolist() for row in rows]


def listed(array):
    return None if array is None else array.tolist()


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
