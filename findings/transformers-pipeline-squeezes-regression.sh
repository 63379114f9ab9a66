#!/usr/bin/env bash
# transformers 5.23.0, torch 2.13.0 (Python 3.11, CPU): pipeline("text-classification") on a model with one output whose
# config.problem_type is not set, as it is after training with a loss of one's own.
#
# Expected: the number the model predicts, since the model itself takes one output for regression (its loss is the mean
# squared error). Seen: the pipeline takes it for one label and gives its sigmoid, without a warning: 4.5 and 3.5 stars
# become .989 and .971. config.function_to_apply = "none" is not looked at. One call of the model with labels, which
# sets problem_type by the way, makes the same pipeline object give the numbers themselves. (The rule stands in the
# pipeline's docstring; it is not the one that the model goes by.)
#
#     bash findings/transformers-pipeline-squeezes-regression.sh     # exits 1 where the behaviour is another
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "transformers==5.23.0" "tokenizers==0.23.3"
cd "$folder"
HF_HUB_OFFLINE=1 venv/bin/python -W error::UserWarning - <<'PYTHON' | tee seen
from pathlib import Path

import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer, pipeline

Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "good", "film"]))
tokenizer = BertTokenizer(vocab="vocab.txt")
small = dict(vocab_size=8, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)


def model(stars, **config):
    model = BertForSequenceClassification(BertConfig(**small, num_labels=1, **config)).eval()
    torch.nn.init.zeros_(model.classifier.weight)
    torch.nn.init.constant_(model.classifier.bias, stars)
    return model


def show(what, pipe):
    print(f"{what}: problem_type {pipe.model.config.problem_type}, score {pipe('a good film')[0]['score']:.3f}")


def pipe(stars, **config):
    return pipeline("text-classification", model=model(stars, **config), tokenizer=tokenizer, device="cpu")


show("4.5", pipe(4.5))
show("3.5", pipe(3.5))
show("3.5, function_to_apply in the config", pipe(3.5, function_to_apply="none"))
show("3.5, problem_type in the config", pipe(3.5, problem_type="regression"))
one = pipe(3.5)
show("3.5, before a call with labels", one)
loss = one.model(**tokenizer("a good film", return_tensors="pt"), labels=torch.tensor([4.0])).loss.item()
print("its loss against 4.0:", loss)
show("3.5, after it", one)
PYTHON
diff seen - <<'SEEN' && echo "as seen with transformers 5.23.0"
4.5: problem_type None, score 0.989
3.5: problem_type None, score 0.971
3.5, function_to_apply in the config: problem_type None, score 0.971
3.5, problem_type in the config: problem_type regression, score 3.500
3.5, before a call with labels: problem_type None, score 0.971
its loss against 4.0: 0.25
3.5, after it: problem_type regression, score 3.500
SEEN
