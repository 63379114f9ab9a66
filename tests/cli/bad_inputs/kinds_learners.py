"""Factories that return something else than a new, whole learner."""

from typing import Dict, List

from .case import ANSWERED, EITHER, INTERRUPTED, REFUSED, Case, Prepare, diagnose_command, factory_command, write
from .room import FACTORIES

__all__ = ["cases"]

# Bodies of the factory that return no learner -> what the line must hold.
NO_LEARNERS: Dict[str, str] = {
    "pass": "NoneType|None",
    "return {'learn': good()}": "dict",
    "return (good(), 1)": "tuple",
    "return [good()]": "list",
    "return type(good())": "type|Learner",
    "yield good()": "generator",
    "return good": "function",
    "return 3": "int",
    "return 'good'": "str",
    "return good().model": "HFModel|odule",
    "return good().dls": "DataLoaders",
    "return iter([good()])": "iterator",
    "return Ellipsis": "llipsis",
    "return NotImplemented": "NotImplemented",
    "import unittest.mock; return unittest.mock.MagicMock()": "MagicMock",
    "return Exception('x')": "Exception",
}

# Bodies that return a learner which cannot be trained; `learn` is a good one before them.
CRIPPLED: Dict[str, str] = {
    "without dls": "learn.dls = None",
    "of an empty dls": "learn.dls = DataLoaders()",
    "without a model": "learn.model = None",
    "without a loss": "learn.loss_func = None",
    "without an optimiser": "learn.opt_func = None",
    "with a loss of None": "learn.loss_func = lambda *args: None",
    "with a loss that raises": "learn.loss_func = raising(ValueError('the loss is lost'))",
    "with a metric that raises": "learn.metrics = [raising(ValueError('the metric is lost'))]",
    "with a loss that exits": "learn.loss_func = raising(SystemExit(0))",
    "with a metric that exits": "learn.metrics = [raising(SystemExit(0))]",
    "with a callback that raises": "learn.add_cb(Spoils(ValueError('the callback is lost')))",
    "with a callback that exits": "learn.add_cb(Spoils(SystemExit(0)))",
    "with a callback that is interrupted": "learn.add_cb(Spoils(KeyboardInterrupt()))",
    "with a callback of a bare exception": "learn.add_cb(Spoils(GeneratorExit()))",
    "whose model raises": "learn.model.forward = raising(ValueError('the model is lost'))",
    "whose model exits": "learn.model.forward = raising(SystemExit(None))",
    "whose model has no weights": "learn.model = torch.nn.Identity()",
    "without rows": "learn.dls = DataLoaders.from_dsets([], [], bs=8, num_workers=0)",
    "of one row": "one = [learn.dls.train_ds[0]]; learn.dls = DataLoaders.from_dsets(one, one, bs=8, num_workers=0)",
    "whose rows raise": "learn.dls = DataLoaders.from_dsets(Rows(), Rows(), bs=8, num_workers=0)",
    "whose rows raise in a worker": "learn.dls = DataLoaders.from_dsets(Rows(), Rows(), bs=8, num_workers=1)",
}

HELP = """
import torch
from fastai.callback.core import Callback
from fastai.data.core import DataLoaders
def raising(error):
    def spoils(*args, **kwargs): raise error
    return spoils
class Spoils(Callback):
    def __init__(self, error): super().__init__(error=error)
    def before_batch(self):
        if self.training: raise self.error
class Rows(list):
    def __len__(self): return 48
    def __getitem__(self, i): raise ValueError("the row is lost")
"""
COMMANDS = (("compare", factory_command, REFUSED), ("diagnose", diagnose_command, ANSWERED))


def cases() -> List[Case]:
    """All of this kind."""
    return [*_no_learners(), *_crippled(), *_shared()]


def _factory(body: str) -> Prepare:
    return write("factories.py", f"{FACTORIES}{HELP}def made():\n    {body}\n")


def _no_learners() -> List[Case]:
    found = []
    for i, (verb, command, _) in enumerate(COMMANDS):
        found += [
            Case(
                "factories of no learner",
                f"{verb}: {body}",
                command("factories.py:made"),
                names,
                prepare=_factory(body),
            )
            for body, names in list(NO_LEARNERS.items())[i::2]
        ]
        found.append(
            Case(
                "factories of no learner",
                f"{verb}: a coroutine",
                command("factories.py:made"),
                "coroutine",
                prepare=write("factories.py", FACTORIES + "async def made(): return good()\n"),
            )
        )
        found.append(
            Case(
                "factories of no learner",
                f"{verb}: a class",
                command("factories.py:made"),
                "made",
                prepare=write("factories.py", FACTORIES + "class made: pass\n"),
            )
        )
    return found


def _crippled() -> List[Case]:
    found = []
    for what, body in CRIPPLED.items():
        for verb, command, codes in COMMANDS:
            if "interrupted" in what:
                codes = INTERRUPTED
            elif what in ("of one row", "without an optimiser"):
                codes = EITHER
            elif what == "without rows":
                codes = ANSWERED  # 1: nothing was compared
            found.append(
                Case(
                    "learners that cannot be trained",
                    f"{verb}: a learner {what}",
                    command("factories.py:made"),
                    "lost|earner|dls|model|loss|opt|exit|Exit|interrupt|row|batch|Error",
                    codes,
                    _factory(f"learn = good(); {body}; return learn"),
                )
            )
    return found


def _shared() -> List[Case]:
    """Each arm must begin anew."""
    shared = {
        "the same learner each time": "learn = good()\ndef made(): return learn\n",
        "a learner of the same model each time": "model = good().model\ndef made():\n"
        "    learn = good(); learn.model = model; return learn\n",
        "a learner of other weights each time": "torch.manual_seed(1); states = [torch.get_rng_state()]\ndef made():\n"
        "    torch.set_rng_state(states[-1]); learn = good(); states.append(torch.get_rng_state()); return learn\n",
        "a learner the first time only": "left = [good]\ndef made(): return left.pop()() if left else None\n",
        "a learner the first time, and then the end": "left = [good]\ndef made():\n    if left: return left.pop()()\n"
        "    raise SystemExit(0)\n",
    }
    return [
        Case(
            "learners that are shared",
            what,
            factory_command("factories.py:made"),
            "earner|model|weight|arm|exit|None",
            ANSWERED,
            write("factories.py", FACTORIES + HELP + code),
        )
        for what, code in shared.items()
    ]
