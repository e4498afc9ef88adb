"""One notebook opened alone, as in Colab: torch is there, ganlib is not, and the first cell fetches it from git."""

import os
import shutil
import site
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = "03_denormalization.ipynb"
RUN = """
import nbformat, sys
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
first_two = [cell for cell in notebook.cells if cell.cell_type == "code"][:2]  # the installer and the imports
where = nbformat.v4.new_code_cell("import ganlib, torch; print(ganlib.__file__, torch.__file__)")
notebook.cells = [*first_two, where]
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
print("".join(output.text for output in notebook.cells[-1].outputs))
"""
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_BUILD_ISOLATION": "0",
}  # 0 is pip's way of saying: no isolation
TRUST = {
    "GIT_CONFIG_COUNT": "1",
    "GIT_CONFIG_KEY_0": "safe.directory",
    "GIT_CONFIG_VALUE_0": "*",
}


@pytest.fixture
def colab(tmp_path):
    """Python of an environment that sees the packages of this one, but not ganlib, which is linked here."""
    venv.create(tmp_path / "venv", with_pip=True)
    base = dict.fromkeys(("base", "platbase"), str(tmp_path / "venv"))
    python = Path(sysconfig.get_path("scripts", "venv", base), "python")
    own = Path(sysconfig.get_path("purelib", "venv", base))
    (own / "there.pth").write_text("\n".join(site.getsitepackages()))
    # Its own setuptools is too old; that of this environment builds ganlib.
    subprocess.run([python, "-m", "pip", "uninstall", "-qy", "setuptools"], check=True)
    return python


def packages(python):
    """The packages that `python` sees, ganlib aside."""
    listing = [python, "-m", "pip", "list", "--format=freeze"]
    listed = subprocess.run(
        listing, check=True, capture_output=True, text=True, cwd="/"
    ).stdout.split()
    return {name for name in listed if not name.lower().startswith("ganlib")}


@pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="no git repository to install from"
)
def test_a_notebook_alone_installs_ganlib_and_leaves_torch(colab, tmp_path):
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(ROOT / "notebooks" / PAGE, folder)
    before = packages(colab)
    environment = {
        **os.environ,
        **OFFLINE,
        **TRUST,
        "GANLIB_URL": f"git+{ROOT.as_uri()}",
    }
    done = subprocess.run(
        [colab, "-c", RUN, PAGE],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    ganlib_file, torch_file = done.stdout.split()[-2:]
    assert Path(ganlib_file).is_relative_to(tmp_path / "venv")
    assert Path(torch_file).is_relative_to(site.getsitepackages()[0])
    assert packages(colab) == before
