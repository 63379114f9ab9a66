"""A comparison or a diagnosis -> text, JSON, a plot, a page.

Text and page share ``wording`` and ``scope`` (what a diagnosis examined), plot and page share ``curves``; ``chart`` and
``tables`` draw the page.
"""
