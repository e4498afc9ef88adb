"""The repository's public address: one truth, in _config.yml, and a command that carries it everywhere."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
sys.path.insert(0, str(HOUSE / "tools"))
import address  # noqa: E402


@pytest.fixture
def copy(tmp_path):
    """A copy of every file of this repository that may hold the address, and of the tool."""
    for path in [*address.holders(), HOUSE / "tools" / "address.py"]:
        (tmp_path / path.relative_to(HOUSE)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(HOUSE))
    return tmp_path


def run(folder, *arguments):
    command = [sys.executable, str(folder / "tools" / "address.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


def text_of(folder):
    return {path.relative_to(folder): path.read_bytes().decode() for path in address.holders(folder)}


def test_no_two_places_disagree():
    assert address.disagreements() == []


def test_every_notebook_installs_from_the_address():
    wanted = f"git+https://github.com/{address.current()}"
    notebooks = sorted((HOUSE / "notebooks").glob("*.ipynb"))
    assert notebooks
    for notebook in notebooks:
        code = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
        assert wanted in "".join(code[0]["source"]), notebook.name


def test_readme_and_front_page_lead_to_the_address():
    for page in ("README.md", "book/index.md"):
        assert f"https://github.com/{address.current()}" in (HOUSE / page).read_text(), page
    colab = f"https://colab.research.google.com/github/{address.current()}/blob/"
    assert colab in (HOUSE / "book" / "index.md").read_text()


def test_the_command_sets_it_everywhere_and_nothing_else(copy):
    before = text_of(copy)
    old = address.current(copy)
    done = run(copy, "https://github.com/some-one/my.book-2")
    assert done.returncode == 0, done.stderr
    after = text_of(copy)
    assert after == {path: text.replace(old, "some-one/my.book-2") for path, text in before.items()}
    assert address.current(copy) == "some-one/my.book-2"
    assert address.disagreements(copy) == []
    assert run(copy).returncode == 0


def test_there_and_back_leaves_every_byte(copy):
    before = text_of(copy)
    old = address.current(copy)
    run(copy, "https://github.com/some-one/my-book.git")
    assert address.current(copy) == "some-one/my-book"
    run(copy, f"https://github.com/{old}/")
    assert text_of(copy) == before


@pytest.mark.parametrize(
    "file, line",
    [
        ("notebooks/01_problem.ipynb", '"git+https://github.com/else/where"'),
        ("README.md", "git clone https://github.com/else/where folder"),
        ("README.md", "git clone --depth 1 https://github.com/else/where.git"),
        ("book/index.md", "[Colab](https://colab.research.google.com/github/else/where/blob/main/a.ipynb)"),
        ("book/index.md", "[Binder](https://mybinder.org/v2/gh/else/where/main)"),
        ("book/index.md", "[Binder](https://mybinder.org/v2/gh/OWNER/REPOSITORY-2/main)"),
    ],
)
def test_a_stray_address_is_found_and_mended(copy, file, line):
    with open(copy / file, "a") as opened:
        opened.write(line)
    assert [sentence.split()[0] for sentence in address.disagreements(copy)] == [file]
    assert run(copy).returncode == 1
    assert run(copy, "https://github.com/me/book").returncode == 0
    assert address.disagreements(copy) == []


def test_a_config_changed_by_hand_is_found_and_mended(copy):
    config = copy / "_config.yml"
    config.write_text(config.read_text().replace(address.current(copy), "changed/by-hand"))
    found = address.disagreements(copy)
    assert any("01_problem.ipynb" in sentence for sentence in found)
    assert any("index.md" in sentence for sentence in found)
    run(copy, "https://github.com/changed/by-hand")
    assert address.disagreements(copy) == []


def test_a_forgotten_placeholder_is_found(copy):
    run(copy, "https://github.com/me/book")
    with open(copy / "README.md", "a") as opened:
        opened.write("See https://github.com/OWNER/REPOSITORY/issues.")
    assert len(address.disagreements(copy)) == 1


def test_other_repositories_stay(copy):
    links = "[a](https://github.com/pytorch/vision) [b](https://github.com/me/book-two) [c](https://me.github.io/x)"
    with open(copy / "README.md", "a") as opened:
        opened.write(links)
    run(copy, "https://github.com/me/book")
    run(copy, "https://github.com/you/else")
    assert (copy / "README.md").read_text().endswith(links)
    assert address.disagreements(copy) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["github.com/me/book"],
        ["https://github.com/me"],
        ["https://gitlab.com/me/book"],
        ["https://github.com/me/book/tree/main"],
        ["https://github.com/me/bo ok"],
        ["https://github.com/me/book", "more"],
        [""],
    ],
)
def test_what_is_no_address_changes_nothing(copy, arguments):
    before = text_of(copy)
    done = run(copy, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert done.stderr.startswith("Give one address such as https://github.com/you/book")
    assert text_of(copy) == before


def test_a_config_without_an_address_is_named(copy):
    (copy / "_config.yml").write_text("title: A book\n")
    done = run(copy, "https://github.com/me/book")
    assert done.returncode == 1 and "_config.yml has no line" in done.stderr
