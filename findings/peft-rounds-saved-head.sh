#!/usr/bin/env bash
# peft 0.21.2, transformers 5.23.0, torch 2.13.0 (Python 3.11, CPU): a LoRA with its classifier, trained in float32 over a
# bfloat16 checkpoint, saved, and put back on that checkpoint in the way it was made: load, wrap, .float().
#
# Expected: the head that was saved. Seen: the file holds it in float32, and PeftModel.from_pretrained takes the LoRA
# weights as they are, but rounds the head to the base's bfloat16 before .float() can help, without a warning. Of a short
# training at 1e-5 most of the head's 64 weights fall back to the untrained ones. With base.float() first all is as saved.
#
#     bash findings/peft-rounds-saved-head.sh     # exits 1 where the behaviour is another
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q "torch==2.13.0" "transformers==5.23.0" "peft==0.21.2"
cd "$folder"
HF_HUB_OFFLINE=1 venv/bin/python -W error::UserWarning - <<'PYTHON' | tee seen
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertForSequenceClassification

small = dict(vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64)
torch.manual_seed(0)
BertForSequenceClassification(BertConfig(**small)).bfloat16().save_pretrained("base")
ids, labels = torch.randint(5, 40, (8, 10)), torch.randint(0, 2, (8,))


def base():
    return AutoModelForSequenceClassification.from_pretrained("./base")


def logits(model):
    with torch.no_grad():
        return model.eval()(input_ids=ids).logits


def head(model):
    return model.base_model.model.classifier.modules_to_save.default.weight


def how_many(new, old):
    count = (new != old).sum().item()
    return "all" if count == new.numel() else "none" if count == 0 else "fewer than half" if 2 * count < new.numel() else count


model = get_peft_model(base(), LoraConfig(task_type="SEQ_CLS", target_modules=["query", "value"])).float()
first = head(model).detach().clone()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-5, weight_decay=0.0)
for _ in range(3):
    model(input_ids=ids, labels=labels).loss.backward()
    optimizer.step()
    optimizer.zero_grad()
model.save_pretrained("adapter")
saved = load_file("adapter/adapter_model.safetensors")["base_model.model.classifier.weight"]
print("in the file:", saved.dtype, how_many(saved, first), "of the head trained")
for way, again in (
    ("from_pretrained(base).float()", PeftModel.from_pretrained(base(), "./adapter").float()),
    ("from_pretrained(base.float())", PeftModel.from_pretrained(base().float(), "./adapter")),
):
    adapter = all(torch.equal(p, dict(model.named_parameters())[n]) for n, p in again.named_parameters() if "lora_" in n)
    print(f"{way}: LoRA {'as saved' if adapter else 'other'}, {how_many(head(again), first)} of the head trained,",
          "the same logits" if torch.equal(logits(again), logits(model)) else "other logits")
PYTHON
diff seen - <<'SEEN' && echo "as seen with peft 0.21.2"
in the file: torch.float32 all of the head trained
from_pretrained(base).float(): LoRA as saved, fewer than half of the head trained, other logits
from_pretrained(base.float()): LoRA as saved, all of the head trained, the same logits
SEEN
