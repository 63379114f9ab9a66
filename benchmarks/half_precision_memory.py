"""Peak memory of training from a folder in half precision, next to the same weights in float32. fastai 2, a CPU.

    python benchmarks/half_precision_memory.py [--rounds 3] [--width 512] [--layers 6]

Each figure is a process of its own: it loads the folder, trains two epochs with ``HFCallback`` and says what was most
resident. glibc gives freed blocks back at once, so what is resident is what is alive. Ends with 1 above the limit.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

LIMIT = 1.02
EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "1000000"}
DTYPES = ("float32", "bfloat16", "float16")
ROWS, LENGTH, BATCH = 64, 64, 16


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--train", metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.train:
        print(train(arguments.train))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        write_folders(Path(folder), arguments.width, arguments.layers)
        found = {dtype: [peak_of(Path(folder) / dtype) for _ in range(arguments.rounds)] for dtype in DTYPES}
    whole = median(found["float32"])
    ratios = {dtype: median(values) / whole for dtype, values in found.items()}
    for dtype, values in found.items():
        print(f"{dtype:9} {median(values):8.1f} MiB, ÷ float32 {ratios[dtype]:.4f}  {[round(v, 1) for v in values]}")
    print(f"limit {LIMIT}: {'met' if max(ratios.values()) <= LIMIT else 'missed'}")
    return int(max(ratios.values()) > LIMIT)


def write_folders(folder: Path, width: int, layers: int) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(0)
    sizes = dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=8, intermediate_size=4 * width)
    model = BertForSequenceClassification(BertConfig(vocab_size=8000, **sizes))
    for dtype in DTYPES:
        model.to(getattr(torch, dtype)).save_pretrained(folder / dtype)


def peak_of(folder: Path) -> float:
    command = [sys.executable, "-W", "ignore", __file__, "--train", str(folder)]
    run = subprocess.run(command, env={**os.environ, **EXACT}, check=True, stdout=subprocess.PIPE, text=True)
    return float(run.stdout.split()[-1])


def train(folder: str) -> float:
    """MiB of this process at its most."""
    import torch
    from fastai.data.core import DataLoaders
    from fastai.data.load import DataLoader
    from fastai.learner import Learner
    from transformers import AutoModelForSequenceClassification

    from fastai_hf_callback import HFCallback, HFModel
    from fastai_hf_callback.fastai2.compat.no_progress import no_progress

    torch.set_num_threads(1)
    rows = [(torch.randint(5, 8000, (LENGTH,)), row % 2) for row in range(ROWS)]
    loaders = DataLoaders(*(DataLoader(rows, bs=BATCH, num_workers=0) for _ in range(2)))
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    learn = Learner(loaders, HFModel(model), loss_func=torch.nn.CrossEntropyLoss(), cbs=[HFCallback()])
    with no_progress(learn):
        learn.fit(2, 1e-4)
    assert all(p.dtype == torch.float32 for p in model.parameters())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
