"""Hugging Face's Trainer, with and without length grouping."""

import tempfile

import torch
from serving import CPU, serve, versions
from transformers import DataCollatorWithPadding, Trainer, TrainingArguments
from workload import BATCH, LR, WEIGHT_DECAY, Counted, encoded, model, tokenizer

SAMPLING = {"random": "random", "grouped": "group_by_length"}


def epoch(arm, size, rows, seed=0, device="cpu", batch=BATCH, bf16=False, drawn=None):
    """Seconds of an epoch, and the tokens computed in it. Clipping off and the rate constant, as in the other arms."""
    data, net = encoded(rows, size, drawn=drawn), model(size)
    counted = Counted(net)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=batch,
            seed=seed,
            learning_rate=LR,
            weight_decay=WEIGHT_DECAY,
            lr_scheduler_type="constant",
            max_grad_norm=0,
            optim="adamw_torch",
            train_sampling_strategy=SAMPLING[arm],
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=device == "cpu",
            bf16=bf16,
            dataloader_pin_memory=device != "cpu",
        )
        trainer = Trainer(net, arguments, DataCollatorWithPadding(tokenizer(size)), data)
        with CPU(device) as clock:
            found = trainer.train()
    return {"seconds": clock.seconds, "tokens": counted.tokens, "pairs": counted.pairs, "loss": found.training_loss}


def padded_tokens(lengths, batch=BATCH, seed=0):
    """Tokens computed in an epoch in the order of Trainer's own length grouping, without a model."""
    from transformers.trainer_pt_utils import get_length_grouped_indices

    order = get_length_grouped_indices(lengths, batch, generator=torch.Generator().manual_seed(seed))
    parts = [order[at : at + batch] for at in range(0, len(order), batch)]
    return sum(max(lengths[i] for i in part) * len(part) for part in parts)


if __name__ == "__main__":
    serve(
        {
            "epoch": epoch,
            "padded_tokens": padded_tokens,
            "versions": lambda: versions("torch", "transformers", "accelerate"),
        }
    )
