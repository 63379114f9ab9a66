"""Loads exported learners in a process that knows nothing of how they were made.

    python -m tests.today.new_process FOLDER ...

Prints a JSON object: each folder -> what differs from the learner that was exported, or "".
"""

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Dict, List, Sequence

ROOT = Path(__file__).resolve().parents[2]

__all__ = ["check_exported", "find_fault"]


def check_exported(folders: Sequence[Path]) -> Dict[str, str]:
    """Return the faults of exported learners, found by one new process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "tests.today.new_process", *map(str, folders)],
        capture_output=True,
        env=environment,
        cwd=str(ROOT),
        text=True,
    )
    if done.returncode:
        return {str(folder): f"the new process ended: {done.stderr.strip().splitlines()[-1:]}" for folder in folders}
    return json.loads(done.stdout.splitlines()[-1])


def main(folders: List[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(json.dumps({folder: find_fault(Path(folder)) for folder in folders}))


def find_fault(folder: Path) -> str:
    """Return how the learner in `folder` differs from the one that was exported, or an empty text."""
    import torch
    from fastai.learner import load_learner

    from fastai_hf_callback import ordered_preds

    try:
        answers, texts = torch.load(folder / "answers.pt"), json.loads((folder / "texts.json").read_text("utf-8"))
        learn = load_learner(folder / "learner.pkl")
        probabilities = ordered_preds(learn, texts)[0]
        name = str(learn.predict(texts[0])[0])
    except Exception as error:
        return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[-1]}"
    if not torch.equal(probabilities, answers["probabilities"]):
        return f"predictions differ by up to {float((probabilities - answers['probabilities']).abs().max()):.2g}"
    return "" if name == answers["name"] else f"predict says {name} instead of {answers['name']}"


if __name__ == "__main__":
    main(sys.argv[1:])
