"""A comparison or a diagnosis -> text, JSON, a plot, a page.

Text and page share ``wording`` and ``scope`` (how far a diagnosis reaches), plot and page share ``curves``; the page is
drawn by ``chart`` and ``tables``.
"""
