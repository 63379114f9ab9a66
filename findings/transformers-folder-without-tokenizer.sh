#!/usr/bin/env bash
# transformers 5.23.0, tokenizers 0.23.3 (Python 3.11, no torch): AutoTokenizer.from_pretrained on a local model folder in
# which the tokenizer's files were forgotten.
#
# Expected: an error that names what is missing. Seen: for seven of eight model types a tokenizer is returned that knows
# its special tokens alone, without a warning. BERT's, DistilBERT's and ELECTRA's give [UNK] for every word, with an id
# that is another token of the checkpoint's own vocabulary; RoBERTa's and GPT-2's drop every word. Only Llama's raises.
# A model fine-tuned through it reads nothing of its texts, and nothing fails.
#
#     bash findings/transformers-folder-without-tokenizer.sh     # exits 1 where the behaviour is another
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "transformers==5.23.0" "tokenizers==0.23.3"
cd "$folder"
HF_HUB_OFFLINE=1 venv/bin/python -W error::UserWarning - <<'PYTHON' | tee seen
import json
from pathlib import Path

from transformers import AutoTokenizer

for kind in ("bert", "distilbert", "electra", "roberta", "gpt2", "t5", "xlnet", "llama"):
    Path(kind).mkdir()
    Path(kind, "config.json").write_text(json.dumps({"model_type": kind}))
    try:
        tokenizer = AutoTokenizer.from_pretrained(f"./{kind}")
    except ValueError:
        print(kind, "ValueError")
    else:
        print(kind, type(tokenizer).__name__, len(tokenizer), tokenizer("a good film")["input_ids"])
PYTHON
diff seen - <<'SEEN' && echo "as seen with transformers 5.23.0"
bert BertTokenizer 5 [2, 1, 1, 1, 3]
distilbert BertTokenizer 5 [2, 1, 1, 1, 3]
electra BertTokenizer 5 [2, 1, 1, 1, 3]
roberta RobertaTokenizer 5 [2, 3]
gpt2 GPT2Tokenizer 1 []
t5 T5Tokenizer 104 [3, 2, 3, 2, 3, 2, 1]
xlnet XLNetTokenizer 9 [0, 0, 0, 3, 5]
llama ValueError
SEEN
