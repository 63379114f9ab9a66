"""Run by ``python -m tests.cli.bad_inputs``."""

import sys

from .run import main

sys.exit(main())
