"""The fast tokenizer's own call for many texts, and ``TextEncoder``, over the bundled comments."""

import ctypes
import os
import time
from pathlib import Path

from serving import serve, versions
from workload import SPECIAL

MAX_LEN, DIFFERENT, LEARNED_FROM, PIECES = 128, 20_000, 2_000, 8_000
made = {}


def corpus(rows, path=None, column="comment_text"):
    """The bundled comments, or a CSV's texts, over and over."""
    if path is None:
        from fastai_hf_callback.demo.comments import make_comments

        different = [comment.text for comment in make_comments(min(rows, DIFFERENT))]
    else:
        import pandas as pd

        different = pd.read_csv(path)[column].tolist()
    return [different[at % len(different)] for at in range(rows)]


def tokenizer(texts):
    """A WordPiece tokenizer that learned from the first texts; the same each time."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer, backend.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    backend.train_from_iterator(
        texts[:LEARNED_FROM], trainers.WordPieceTrainer(vocab_size=PIECES, special_tokens=SPECIAL, show_progress=False)
    )
    cls, sep = (backend.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    backend.post_processor = processors.BertProcessing(("[SEP]", sep), ("[CLS]", cls))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL))
    return PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **names)


def prepare(rows, path=None):
    texts = corpus(rows, path)
    made.update(texts=texts, tokenizer=tokenizer(texts))
    return len(texts)


def encode(arm):
    """Seconds on the clock and on the CPUs, all threads together; and how many tokens came out."""
    texts, own = made["texts"], made["tokenizer"]
    clock, cpu = time.perf_counter(), time.process_time()
    if arm == "own call":
        found = own(texts, truncation=True, max_length=MAX_LEN)["input_ids"]
    else:
        from fastai_hf_callback.data.encoding.encoder import TextEncoder

        found = [row.input_ids for row in TextEncoder(own, MAX_LEN).encode(texts)]
    clock, cpu = time.perf_counter() - clock, time.process_time() - cpu
    return {"clock": clock, "cpu": cpu, "tokens": sum(map(len, found))}


def lengths(rows, path=None):
    """Tokens of each text, special ones included."""
    prepare(rows, path)
    return [len(ids) for ids in made["tokenizer"](made["texts"], truncation=True, max_length=512)["input_ids"]]


def peak_memory(arm, rows, path=None):
    """MiB of the process before encoding, and at its most during it. Asked of a process of its own, on Linux."""
    prepare(rows, path)
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # freed blocks of the preparation would be used again, and not be seen
    Path("/proc/self/clear_refs").write_text("5")  # the most so far is forgotten; getrusage keeps a parent's even
    before = resident("VmRSS")
    encode(arm)
    return {"before": before, "peak": resident("VmHWM")}


def resident(which):
    """MiB, of ``/proc/self/status``."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(which + ":")) / 1024


if __name__ == "__main__":
    serve(
        {
            "prepare": prepare,
            "encode": encode,
            "lengths": lengths,
            "peak_memory": peak_memory,
            "versions": lambda: {
                **versions("tokenizers", "transformers"),
                "cores": len(os.sched_getaffinity(0)),
                "threads": os.environ.get("RAYON_NUM_THREADS", "all"),
            },
        }
    )
