"""Valid input, tiny: what must go on working while bad input is refused."""

import gzip
import os
import shutil
from pathlib import Path
from typing import List, Optional, Tuple

from .case import BITS, MODEL, RUNS, Case, Prepare, csv_command, diagnose_command, factory_command, write
from .room import FACTORIES, table_text

__all__ = ["cases"]

KIND = "valid input"


def cases() -> List[Case]:
    """All of this kind."""
    return [*_tables(), *_models(), *_factories(), *_outputs()]


def _valid(name: str, argv: List[str], prepare: Optional[Prepare] = None, must_write: Tuple[str, ...] = ()) -> Case:
    return Case(KIND, name, argv, codes=RUNS, prepare=prepare, must_write=must_write)


def _tables() -> List[Case]:
    text = table_text()
    umlauts = text.replace("fox", "f\xf6x")
    return [
        _valid("one column of classes", csv_command()),
        _valid("several columns of 0 and 1", csv_command(labels=BITS)),
        _valid("a table with a byte order mark", csv_command(), write("train.csv", "\ufeff" + text)),
        _valid("a table of CRLF lines", csv_command(), write("train.csv", text.replace("\n", "\r\n"))),
        _valid(
            "a table in latin-1, said so",
            csv_command(encoding="latin-1"),
            write("train.csv", umlauts.encode("latin-1")),
        ),
        _valid(
            "a table in UTF-16, said so", csv_command(encoding="utf-16"), write("train.csv", umlauts.encode("utf-16"))
        ),
        _valid("a gzipped table", csv_command(csv="train.csv.gz"), write("train.csv.gz", gzip.compress(text.encode()))),
        _valid(
            "tabs, said so",
            csv_command(sep="\\t"),
            write("train.csv", "text\tkind\n" + "the fox sees\tyes\nan oak\tno\n" * 12),
        ),
        _valid(
            "columns with a blank around their names",
            csv_command(),
            write("train.csv", " text , kind \n" + "the fox sees,yes\nan oak,no\n" * 12),
        ),
        _valid(
            "a text of several lines",
            csv_command(),
            write("train.csv", "text,kind\n" + '"the fox\nsees ""a"" toad, here",yes\nan oak,no\n' * 12),
        ),
        _valid(
            "NA and null as classes",
            csv_command(),
            write("train.csv", "text,kind\n" + "the fox sees,NA\nan oak,null\n" * 12),
        ),
        _valid(
            "True and False as classes",
            csv_command(),
            write("train.csv", "text,kind\n" + "the fox sees,True\nan oak,False\n" * 12),
        ),
        _valid(
            "True and False as labels",
            csv_command(labels="toxic,rude"),
            write("train.csv", "text,toxic,rude\n" + "the fox sees,True,False\nan oak,False,True\n" * 12),
        ),
        _valid(
            "decimals as numbers to predict",
            csv_command(),
            write("train.csv", "text,kind\n" + "".join(f"fox {i},{i / 7:.4f}\n" for i in range(24))),
        ),
        _valid("texts that say nan", csv_command(), write("train.csv", "text,kind\n" + "nan,yes\nNone,no\n" * 12)),
        _valid(
            "half a character as an escape",
            csv_command(),
            write("train.csv", "text,kind\n" + "the fox \\ud83d,yes\nan oak,no\n" * 12),
        ),
        _valid(
            "columns with names beyond ASCII",
            csv_command(text="K\xf6rper", labels="\u985e"),
            write("train.csv", "K\xf6rper,\u985e\n" + "the fox sees,yes\nan oak,no\n" * 12),
        ),
        _valid(
            "one long text",
            csv_command(),
            write("train.csv", "text,kind\n" + "fox " * 20000 + ",yes\n" + "the fox,yes\nan oak,no\n" * 12),
        ),
        _valid("a table by its absolute path", csv_command(csv="{here}/train.csv")),
        _valid(
            "a table through a link",
            csv_command(csv="link.csv"),
            lambda here: os.symlink("train.csv", str(here / "link.csv")),
        ),
        _valid(
            "a table whose name is no UTF-8",
            csv_command(csv="tr\udcff.csv"),
            lambda here: shutil.copy(str(here / "train.csv"), str(here / "tr\udcff.csv")),
        ),
        _valid("one arm alone", csv_command(arms="callback")),
        _valid("a seed of 0", csv_command(seed=0)),
        _valid("the largest seed of 32 bits", csv_command(seed=2**32 - 1)),
        _valid("batches larger than the table", csv_command(bs=500)),
        _valid("as many tokens as the model has positions", csv_command(max_length=32)),
        _valid("a high learning rate", csv_command(lr="1e6")),
    ]


def _to_bin(here: Path) -> None:
    import torch
    from safetensors.torch import load_file

    weights = here / MODEL / "model.safetensors"
    torch.save(load_file(str(weights)), str(here / MODEL / "pytorch_model.bin"))
    weights.unlink()


def _body_alone(here: Path) -> None:
    from transformers import AutoModel

    AutoModel.from_pretrained(str(here / MODEL)).save_pretrained(str(here / MODEL))


def _models() -> List[Case]:
    return [
        _valid("a model's folder with a slash", csv_command(model=MODEL + "/")),
        _valid("a model's folder by its absolute path", csv_command(model="{here}/" + MODEL)),
        _valid(
            "a model's folder through a link",
            csv_command(model="./link"),
            lambda here: os.symlink(MODEL, str(here / "link")),
        ),
        _valid("a head of another size", csv_command(labels=BITS)),
        _valid("weights as pytorch_model.bin", csv_command(), _to_bin),
        _valid("weights of a body without a head", csv_command(), _body_alone),
    ]


def _factories() -> List[Case]:
    extra = {
        "a lambda": "made = lambda: good()\n",
        "a factory with defaults": "def made(*args, size=1, **kwargs):\n    return good()\n",
        "functools.partial": "from functools import partial\nmade = partial(make_learner, 'bert')\n",
        "an object that can be called": "class _Made:\n    def __call__(self): return good()\nmade = _Made()\n",
        "a file that prints a lot": "print('progress\\n' * 20000)\nmade = good\n",
    }
    found = []
    for verb, command in (("compare", factory_command), ("diagnose", diagnose_command)):
        found += [_valid(f"{verb}: a factory", command())]
        found += [
            _valid(f"{verb}: {name}", command("factories.py:made"), write("factories.py", FACTORIES + code))
            for name, code in extra.items()
        ]
        found += [
            _valid(f"{verb}: a factory file named {name}", command(f"{name}:good"), write(name, FACTORIES))
            for name in ("my-train.py", "my train.py", "tr\xe4in.v2.py", "json.py", "random.py")
        ]
    return found


def _outputs() -> List[Case]:
    return [
        _valid(
            "compare writes all three",
            factory_command(json="out.json", html="out.html", plot="out.png"),
            must_write=("out.json", "out.html", "out.png"),
        ),
        _valid(
            "diagnose writes both",
            diagnose_command(json="out.json", html="out.html"),
            must_write=("out.json", "out.html"),
        ),
        _valid(
            "compare of a table writes all three",
            csv_command(json="out.json", html="out.html", plot="out.svg"),
            must_write=("out.json", "out.html", "out.svg"),
        ),
        _valid(
            "an output of an earlier run is replaced",
            factory_command(json="out.json"),
            write("out.json", "old"),
            must_write=("out.json",),
        ),
        _valid(
            "an output in another folder",
            factory_command(json="{here}/new/out.json"),
            lambda here: (here / "new").mkdir(),
            must_write=("new/out.json",),
        ),
        _valid(
            "an output through a link that leads nowhere yet",
            factory_command(json="link.json"),
            lambda here: os.symlink("real.json", str(here / "link.json")),
            must_write=("link.json", "real.json"),
        ),
        _valid(
            "a factory that changes the folder",
            factory_command("factories.py:good", json="out.json"),
            write("factories.py", FACTORIES + "import os\nos.chdir('tinybert')\n"),
            must_write=("out.json",),
        ),
        _valid(
            "a diagnosed factory that changes the folder",
            diagnose_command("factories.py:good", json="out.json"),
            write("factories.py", FACTORIES + "import os\nos.chdir('tinybert')\n"),
            must_write=("out.json",),
        ),
    ]
