"""Install from here; all but the license stands in pyproject.toml."""

from setuptools import setup

setup(license="Apache-2.0")
