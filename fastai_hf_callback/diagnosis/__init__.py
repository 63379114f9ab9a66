"""Why metrics do not move: ``probes/`` measure, ``checks/`` judge, one function a cause; examination and fit monitor."""
