"""What the catalogue asks of the fastai that is installed: the same names in ``fastai1.py`` and ``fastai2.py``."""

from importlib import import_module
from typing import Any

from tests.installed_stack import FASTAI_1

stack: Any = import_module(f"{__name__}.fastai{1 if FASTAI_1 else 2}")
