"""The demo, whatever the fastai: ``stage``, on what it trains and what it tells; ``comments`` and their ``phrases``."""
