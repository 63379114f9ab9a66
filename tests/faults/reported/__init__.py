"""The second catalogue: faults that people met and reported, none of which the first catalogue holds.

It was written and committed before anything was mended for it; what the package said of it then stands in
``first_run.json``. ``python -m tests.faults.reported.page`` asks about all of it.
"""
