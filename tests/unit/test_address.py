"""The repository's public address: _config.yml decides it, and a command carries it everywhere."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from scripts import set_address

ROOT = Path(__file__).parents[2]
STRAYS = [
    ("notebooks/01_problem.ipynb", "git+https://github.com/else/where"),
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
    """Add text at the end of a file, in a notebook as a cell."""
    if path.suffix != ".ipynb":
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
        return
    notebook = json.loads(path.read_text())
    notebook["cells"].append({"cell_type": "markdown", "source": [text]})
    path.write_text(json.dumps(notebook))


def test_no_two_places_disagree():
    assert set_address.disagreements() == []


def test_the_command_sets_it_everywhere_and_only_there(copy):
    before = contents(copy)
    assert run(copy, "https://github.com/some-one/my.book-2") is None
    notebooks = [path for path in contents(copy) if path.suffix == ".ipynb"]
    assert notebooks
    for path in notebooks:
        new, old = (json.loads(text[path]) for text in (contents(copy), before))
        first = next(c for c in new["cells"] if c["cell_type"] == "code")
        address = 'ADDRESS = "https://github.com/some-one/my.book-2"\n'
        assert address in first["source"], path
        for was, now in zip(old["cells"], new["cells"], strict=True):
            if now is not first:
                assert json.dumps(now) == json.dumps(was).replace(
                    set_address.PLACEHOLDER, "some-one/my.book-2"
                )
    assert (
        "git clone https://github.com/some-one/my.book-2"
        in (copy / "README.md").read_text()
    )
    assert run(copy) is None


def test_a_copy_without_an_address_leads_nowhere(copy):
    run(copy, f"https://github.com/{set_address.PLACEHOLDER}")
    assert run(copy) is None
    readme = (copy / "README.md").read_text()
    assert set_address.PLACEHOLDER not in readme and "git clone" not in readme
    assert set_address.SET_IT in readme
    for path in (copy / "notebooks").glob("*.ipynb"):
        cells = json.loads(path.read_text())["cells"]
        first = next(cell for cell in cells if cell["cell_type"] == "code")
        assert set_address.PLACEHOLDER not in "".join(first["source"])


def test_a_first_cell_without_an_address_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANLIB_URL", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match="into ADDRESS above"):
        exec(set_address.FIRST_CELL, {})


@pytest.mark.parametrize(
    "origin, slug",
    [
        ("https://github.com/me/my.book.git", "me/my.book"),
        ("https://me:word@github.com/me/book", "me/book"),
        ("git@github.com:me/book.git", "me/book"),
        ("ssh://git@github.com/me/book", "me/book"),
        ("https://gitlab.com/me/book", None),
        ("/somewhere/book", None),
        (None, None),
    ],
)
def test_the_address_is_found_in_gits_origin(copy, origin, slug):
    run(copy, f"https://github.com/{set_address.PLACEHOLDER}")
    subprocess.run(["git", "init", "-q", copy], check=True)
    if origin:
        command = ["git", "-C", copy, "remote", "add", "origin", origin]
        subprocess.run(command, check=True)
    assert set_address.find(copy, {}) == slug
    assert set_address.find(copy, {"GITHUB_REPOSITORY": "flow/book"}) == "flow/book"
    run(copy, "https://github.com/by/hand")
    assert set_address.find(copy, {"GITHUB_REPOSITORY": "flow/book"}) == "by/hand"


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
