#!/usr/bin/env bash
# transformers 5.23.0, tokenizers 0.23.3 (Python 3.11, no torch): tokenizer.pad_token = "<pad>" where the vocabulary has
# no such token.
#
# Expected: an error, a new id, or None. Seen: pad_token_id is unk's id and rows are padded with it, without a warning;
# so pad_token_id is not None though there is no such token. After save_pretrained and from_pretrained the same tokenizer
# has one token more and pads with that id, which a model made for the first one has no embedding for.
# Given to the constructor, or by add_special_tokens, the token gets its own id at once.
#
#     bash findings/transformers-pad-token-not-in-vocabulary.sh     # exits 1 where the behaviour is another
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "transformers==5.23.0" "tokenizers==0.23.3"
cd "$folder"
HF_HUB_OFFLINE=1 venv/bin/python -W error::UserWarning - <<'PYTHON' | tee seen
from pathlib import Path

from tokenizers import ByteLevelBPETokenizer
from transformers import AutoTokenizer, BertTokenizer, GPT2Tokenizer

Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film"]))
bpe = ByteLevelBPETokenizer()
bpe.train_from_iterator(["a good film"] * 9, vocab_size=300, special_tokens=["<|endoftext|>"], show_progress=False)
bpe.save_model(".")
files = dict(vocab="vocab.json", merges="merges.txt")


def show(what, tokenizer):
    rows = tokenizer(["a good film", "a"], padding=True)["input_ids"]
    print(what, "| tokens", len(tokenizer), "unk", tokenizer.unk_token_id, "pad", tokenizer.pad_token_id, "|", rows[1])


for kind, make in (("BERT", lambda: BertTokenizer(vocab="vocab.txt")), ("GPT-2", lambda: GPT2Tokenizer(**files))):
    tokenizer = make()
    tokenizer.pad_token = "<pad>"
    show(f"{kind}, set", tokenizer)
    tokenizer.save_pretrained(kind)
    show(f"{kind}, saved and loaded", AutoTokenizer.from_pretrained(f"./{kind}"))
    tokenizer = make()
    tokenizer.add_special_tokens({"pad_token": "<pad>"})
    show(f"{kind}, add_special_tokens", tokenizer)
show("GPT-2, constructor", GPT2Tokenizer(**files, pad_token="<pad>"))
PYTHON
diff seen - <<'SEEN' && echo "as seen with transformers 5.23.0"
BERT, set | tokens 8 unk 1 pad 1 | [2, 5, 3, 1, 1]
BERT, saved and loaded | tokens 9 unk 1 pad 8 | [2, 5, 3, 8, 8]
BERT, add_special_tokens | tokens 9 unk 1 pad 8 | [2, 5, 3, 8, 8]
GPT-2, set | tokens 265 unk 0 pad 0 | [65, 0, 0]
GPT-2, saved and loaded | tokens 266 unk 0 pad 265 | [65, 265, 265]
GPT-2, add_special_tokens | tokens 266 unk 0 pad 265 | [65, 265, 265]
GPT-2, constructor | tokens 266 unk 0 pad 265 | [65, 265, 265]
SEEN
