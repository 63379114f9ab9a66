"""Diagnosis by substitution: a planted signal, and the smallest set of parts without which it is learned.

``signals`` plants (``inputs``, ``targets``), ``runs`` fits through the learner's own loop, ``parts`` lists what can be
replaced and ``stand_ins`` what by, ``minimize`` searches, ``search`` is the whole.
"""
