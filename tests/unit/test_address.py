"""The repository's public address: _config.yml decides it, and a command carries it everywhere."""

import json
import shutil
from pathlib import Path

import pytest

from scripts import set_address

ROOT = Path(__file__).parents[2]
STRAYS = [
    ("notebooks/01_problem.ipynb", '"git+https://github.com/else/where"'),
    ("README.md", "git clone https://github.com/else/where folder"),
    ("README.md", "git clone --depth 1 https://github.com/else/where.git"),
    (
        "book/index.md",
        "[Colab](https://colab.research.google.com/github/else/where/blob/main/a.ipynb)",
    ),
    ("book/index.md", "[Binder](https://mybinder.org/v2/gh/OWNER/REPOSITORY-2/main)"),
]


@pytest.fixture
def copy(tmp_path):
    """A copy of every file of this repository that may hold the address."""
    for path in set_address.holders():
        to = tmp_path / path.relative_to(ROOT)
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)
    return tmp_path


def run(folder, *arguments):
    """The exit status or message of the command: None if all is well."""
    try:
        set_address.main(list(arguments), folder)
    except SystemExit as stopped:
        return stopped.code
    return None


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes()
        for path in set_address.holders(folder)
    }


def append(path, text):
    with open(path, "a") as file:
        file.write(text)


def test_no_two_places_disagree():
    assert set_address.disagreements() == []


def test_every_notebook_installs_from_the_address():
    wanted = f"git+https://github.com/{set_address.current()}"
    notebooks = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert notebooks
    for notebook in notebooks:
        cells = json.loads(notebook.read_text())["cells"]
        first = next(cell for cell in cells if cell["cell_type"] == "code")
        assert wanted in "".join(first["source"]), notebook.name


def test_readme_and_front_page_lead_to_the_address():
    address = f"https://github.com/{set_address.current()}"
    for page in ("README.md", "book/index.md"):
        assert address in (ROOT / page).read_text(), page


def test_the_command_sets_it_everywhere_and_nothing_else(copy):
    before, old = contents(copy), set_address.current(copy)
    assert run(copy, "https://github.com/some-one/my.book-2") is None
    wanted = {
        path: text.replace(old.encode(), b"some-one/my.book-2")
        for path, text in before.items()
    }
    assert contents(copy) == wanted
    assert run(copy) is None


def test_there_and_back_leaves_every_byte(copy):
    before, old = contents(copy), set_address.current(copy)
    run(copy, "https://github.com/some-one/my-book.git")
    assert set_address.current(copy) == "some-one/my-book"
    run(copy, f"https://github.com/{old}/")
    assert contents(copy) == before


@pytest.mark.parametrize("file, line", STRAYS)
def test_a_stray_address_is_found_and_mended(copy, file, line):
    append(copy / file, line)
    assert run(copy).startswith(file)
    run(copy, "https://github.com/me/book")
    assert run(copy) is None


def test_a_config_changed_by_hand_is_found(copy):
    config = copy / "_config.yml"
    config.write_text(
        config.read_text().replace(set_address.current(copy), "changed/by-hand")
    )
    assert "01_problem.ipynb" in run(copy) and "index.md" in run(copy)


def test_a_forgotten_placeholder_is_found(copy):
    run(copy, "https://github.com/me/book")
    append(copy / "README.md", "See https://github.com/OWNER/REPOSITORY/issues.")
    assert "README.md has OWNER/REPOSITORY" in run(copy)


def test_other_repositories_stay(copy):
    links = "https://github.com/pytorch/vision https://github.com/me/book-two https://me.github.io/x"
    append(copy / "README.md", links)
    run(copy, "https://github.com/me/book")
    run(copy, "https://github.com/you/else")
    assert (copy / "README.md").read_text().endswith(links)


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
    before = contents(copy)
    assert run(copy, *arguments).startswith(
        "Give one address such as https://github.com/you/book"
    )
    assert contents(copy) == before


def test_a_config_without_an_address_is_named(copy):
    (copy / "_config.yml").write_text("title: A book\n")
    assert run(copy, "https://github.com/me/book").startswith("_config.yml has no line")
