"""One notebook opened alone, as in Colab: torch is there, ganlib is not, and the first cell fetches it from git."""

import os
import shutil
import site
import subprocess
import venv
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
PAGE = "03_denormalization.ipynb"
RUN = """
import nbformat, sys
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], as_version=4)
notebook.cells.append(nbformat.v4.new_code_cell("import ganlib, torch; print(ganlib.__file__, torch.__file__)"))
NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
print("".join(output.text for output in notebook.cells[-1].outputs))
"""


def listed(python):
    """Distributions that `python` sees, one line each."""
    listing = [python, "-m", "pip", "list", "--format=freeze"]
    return set(subprocess.run(listing, check=True, capture_output=True, text=True, cwd="/").stdout.split())


@pytest.mark.skipif(not (HOUSE / ".git").exists(), reason="no git repository to install from")
def test_a_notebook_alone_installs_ganlib_and_leaves_torch(tmp_path):
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(HOUSE / "notebooks" / PAGE, folder)
    venv.create(tmp_path / "venv", with_pip=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    # The new environment sees the packages of this one, but not ganlib, which is installed here by a link.
    own = next((tmp_path / "venv" / "lib").glob("python*")) / "site-packages"
    (own / "there.pth").write_text("\n".join(site.getsitepackages()))
    subprocess.run([python, "-m", "pip", "uninstall", "-qy", "setuptools"], check=True)  # too old; ours builds ganlib
    before = {name for name in listed(python) if not name.lower().startswith("ganlib")}
    # pip reads this variable the other way round: 0 means no isolation, so that nothing is fetched for the build.
    environment = {
        **os.environ, "GANLIB_URL": f"git+file://{HOUSE}", "PIP_NO_BUILD_ISOLATION": "0", "PIP_NO_INDEX": "1",
        "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*",
    }  # fmt: skip
    done = subprocess.run([python, "-c", RUN, PAGE], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    ganlib_file, torch_file = done.stdout.split()[-2:]
    assert Path(ganlib_file).is_relative_to(own)
    assert Path(torch_file).is_relative_to(site.getsitepackages()[0])
    assert {name for name in listed(python) if not name.startswith("ganlib==")} == before
