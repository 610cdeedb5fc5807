"""Notebooks run from top to bottom, and are kept without what running them left."""

import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SHARED = ROOT.parent / "shared"  # the real data, which is not kept with the project
HERE = {str(ROOT), sys.prefix, tempfile.gettempdir(), str(Path.home())} - {"/"}  # paths of this machine

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def texts(cell):
    """Everything that a cell says in words; pictures are left out."""
    for output in cell.outputs:
        if output.output_type == "stream":
            yield output.text
        else:
            yield from (text for kind, text in output.data.items() if kind.startswith("text/"))


def test_there_are_notebooks():
    assert NOTEBOOKS


@each_notebook
def test_it_is_kept_clean(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert not [place for place in HERE if place in path.read_text()]


@pytest.mark.slow
@each_notebook
def test_it_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))  # nobody's own settings
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # the other core runs the other tests
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "configs", checkout / "configs")
    (checkout / "notebooks").mkdir()
    if SHARED.is_dir():
        (tmp_path / "shared").symlink_to(SHARED, target_is_directory=True)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": checkout / "notebooks"}}
    ).execute()
    said = [text for cell in notebook.cells if cell.cell_type == "code" for text in texts(cell)]
    assert len(said) > 10
    assert not [text for text in said if "Warning:" in text]
    assert not [text for text in said for place in HERE if place in text]
