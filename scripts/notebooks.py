"""``make notebooks``: run each notebook that names this stack, and store it with its outputs.

    python scripts/notebooks.py STACK [NOTEBOOK ...]

A notebook says which stack it is for in its own metadata. Needs nbclient and ipykernel, which no stack has: `make
notebooks` puts them in .venvs/notebook-tools.
"""

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "notebooks"


def main(stack, *paths):
    for path in map(Path, paths) if paths else sorted(FOLDER.glob("*.ipynb")):
        notebook = nbformat.read(str(path), as_version=4)
        if notebook.metadata.get("fastai_hf_callback", {}).get("stack") == stack:
            executed(notebook)
            nbformat.write(notebook, str(path))
            print(f"{path.name}: {sum(cell.cell_type == 'code' for cell in notebook.cells)} cells run and stored")


def executed(notebook):
    """Run it in a folder of its own. When the cells ran is not kept, nor is the bar of a fit that failed."""
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}, record_timing=False).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_a_bar(output)]
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["kernelspec"] = {"display_name": "Python 3", "language": "python", "name": "python3"}


def is_a_bar(output):
    return "<progress" in output.get("data", {}).get("text/html", "")


if __name__ == "__main__":
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", PYTHONWARNINGS="ignore")
    main(*sys.argv[1:])
