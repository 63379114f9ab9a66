"""Packaging. `make venv` installs from here, held to one of the locks in constraints/."""

from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).resolve().parent
readme = here / "README.md"

# What both stacks use beside torch: metrics, plots, tables, the command line.
shared = ["scikit-learn", "matplotlib", "pandas", "rich", "jinja2"]  # jinja2: the report page

# No extra may be called "v1": pip on Python < 3.11 takes such a name for a version and dies of it.
extras = {
    "fastai1": [
        "fastai>=1.0.61,<2",  # fastai 2 is another library under the same name
        "pytorch-transformers>=1.2",  # 1.2.0 was its last release
        "setuptools<81",  # fastai 1 imports pkg_resources, which setuptools is dropping from 81 on
        "fastprogress<1.1",  # from 1.1 on it brings a web server along
        "spacy",  # fastai.text imports it; fastai 1 declares it for Python < 3.8 only
        *shared,
    ],
    "fastai2": ["fastai>=2.7.19", "transformers>=4.57", "accelerate", *shared],  # fastai.distributed needs accelerate
    # transformers 5 works beside fastai 1 too, and is tested there.
    "test": [
        "pytest",
        "hypothesis",
        "pytest-xdist",
        "transformers>=4.57; python_version >= '3.10'",
        "datasets; python_version >= '3.10'",
        "selenium; python_version >= '3.9'",
    ],
    "dev": ["ruff", "mypy", "pre-commit", "build"],
}

setup(
    name="fastai-hf-callback",
    version="0.1.0",
    description="Train any Hugging Face model under an unmodified fastai Learner, by adding one callback",
    long_description=readme.read_text(encoding="utf-8") if readme.exists() else "",
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["fastai_hf_callback", "fastai_hf_callback.*"]),
    package_data={"fastai_hf_callback": ["py.typed", "*.pyi"], "fastai_hf_callback.report": ["templates/*"]},
    python_requires=">=3.8",
    install_requires=["torch", "numpy"],
    extras_require=extras,
    entry_points={"console_scripts": ["fastai-hf = fastai_hf_callback.cli.main:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.8",
        "Programming Language :: Python :: 3.11",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
