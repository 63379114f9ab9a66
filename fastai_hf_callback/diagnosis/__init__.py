"""Why metrics do not move: ``probes/`` measure, ``checks/`` judge, a function a cause; examination and fit monitor."""
