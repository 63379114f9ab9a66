"""The folder that each case begins with: a table, a model with its tokenizer, a file of factories."""

from pathlib import Path

from tests.installed_stack import FASTAI_1
from tests.tiny_models import tiny_transformers_model
from tests.tiny_texts import fast_tokenizer, frame

from .case import MODEL

__all__ = ["FACTORIES", "LEARNERS", "make_room", "table_text"]

LEARNERS = f"tests.{'fastai1' if FASTAI_1 else 'fastai2'}.learners"

FACTORIES = f"""from pathlib import Path
from {LEARNERS} import make_learner

def good():
    return make_learner("bert")

def marked():
    Path(__file__).with_name("made").write_text("a learner was made")
    return good()
"""


def table_text(rows: int = 24) -> str:
    """The table as CSV: columns text, second, kind, animal, plant, plural, share, words, tags, asked, answers."""
    return frame(rows, seed=26, longest=6).to_csv(index=False)  # six rows at least of each kind


def make_room(folder: Path) -> None:
    """Fill an empty folder."""
    (folder / "train.csv").write_text(table_text(), encoding="utf-8")
    (folder / "factories.py").write_text(FACTORIES, encoding="utf-8")
    model = folder / MODEL
    model.mkdir()
    tiny_transformers_model("bert", 3).save_pretrained(str(model))
    fast_tokenizer(model).save_pretrained(str(model))
    for path in model.iterdir():  # some cases are run as another user, who must be able to read it
        path.chmod(0o644)
