"""A ``Comparison`` or a ``Diagnosis`` -> text, JSON, a plot, a page. Rooms: ``words`` (shared by text and page),
``looks`` (how far a diagnosis reaches), ``series`` (shared by plot and page), ``text``, ``json``, ``plot``, ``chart``
and ``page``."""
