"""Healthy learners of every other kind: language models, translations, spans, images, sound, losses of one's own.

A kind (``kind.Kind``) has choices; a spec, drawn from a seed (``specs``), takes one of each; a run (``runs.Run``)
builds the spec's learner and fits it as its user would. Whoever finds a fault in one is mistaken. ``page`` asks about
as many as one likes. fastai 2 alone: fastai 1's libraries have few of these kinds.
"""
