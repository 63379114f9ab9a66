"""Why metrics do not move: ``probes/`` measure, ``checks/`` judge; ``examination`` and ``fit_monitor`` use both."""
