"""The house rules: what is shown is what is imported, rooms keep to their arrows, pages are run and complete."""

import ast
import json
import statistics
from pathlib import Path

import pytest
import tomllib
import yaml

HOUSE = Path(__file__).parents[1]
PAGES = sorted((HOUSE / "notebooks").glob("*.ipynb"))
ROOMS = {path.stem: ast.parse(path.read_text()) for path in (HOUSE / "ganlib").glob("*.py")}
TAUGHT = "pixels", "models", "dcgan", "losses", "train", "ranks"  # each public name of these has a home on a page
# Who may import whom. A room that is not listed here has no place in the house.
ARROWS = {
    "__init__": set(),
    "config": set(),
    "exercise": set(),
    "pixels": {"config"},
    "dcgan": {"config"},
    "models": {"config", "dcgan"},
    "losses": {"config"},
    "files": {"config"},
    "pictures": {"config", "files"},
    "brush": set(),
    "portrait": {"brush"},
    "avatars": {"config", "portrait"},
    "data": {"config", "files", "pictures", "avatars"},
    "ranks": {"config"},
    "launch": {"config"},
    "train": {"config", "pixels", "models", "losses", "ranks"},
    "weights": {"config", "files"},
    "checkpoint": {"config", "files", "models", "train", "weights"},
    "show": {"config", "files", "pixels"},
    "publish": {"config", "files"},
    "logs": {"config", "show"},
    "metrics": {"config", "checkpoint", "models", "pixels", "weights"},
    "reader": {"config", "avatars", "checkpoint", "metrics", "portrait", "weights"},
    "widgets": {"config", "dcgan", "models"},
    "runs": {"config", "checkpoint", "files", "models", "show", "train"},
}
ARROWS["__main__"] = set(ARROWS) - {"__init__", "publish", "exercise", "widgets", "brush", "portrait"}
RITUAL = [
    "Objectives", "Where we stand", "Break it", "Check", "Summary", "Exercises", "Where this lives", "References"
]  # fmt: skip
MOST_LINES, MOST_BYTES, MOST_IGNORED = 25, 1_000_000, 0.2


def cells(page, kind):
    return [cell for cell in json.loads(page.read_text())["cells"] if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def code_lines(cell):
    return [line for line in source(cell).splitlines() if line.strip() and not line.strip().startswith("#")]


def imported_rooms(tree):
    """Names of the ganlib modules that a syntax tree imports."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "ganlib":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("ganlib.")}
    return found


def definitions(tree):
    """{name: its syntax, docstrings dropped} of the functions and classes at the top of a syntax tree."""
    class_coverage = ast.FunctionDef, ast.ClassDef
    return {node.name: ast.dump(without_docstrings(node)) for node in tree.body if isinstance(node, class_coverage)}


def without_docstrings(node):
    for inner in ast.walk(node):
        body = getattr(inner, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            if isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str):
                inner.body = body[1:] or [ast.Pass()]
    return node


def shown():
    """(page, cell, name, syntax) of every definition at the top of a code cell of the book."""
    return [
        (page.stem, cell, name, syntax)
        for page in PAGES
        for cell in cells(page, "code")
        for name, syntax in definitions(ast.parse(source(cell))).items()
    ]


def library():
    return {name: syntax for tree in ROOMS.values() for name, syntax in definitions(tree).items()}


def test_a_definition_is_shown_as_it_is_in_ganlib():
    ours = library()
    different = [f"{page}: {name}" for page, _, name, syntax in shown() if name in ours and syntax != ours[name]]
    assert not different, f"shown on a page and different in ganlib: {different}"


def test_a_definition_is_shown_once():
    names = [name for _, _, name, _ in shown()]
    twice = sorted({name for name in names if names.count(name) > 1})
    assert not twice, f"shown more than once: {twice}"


@pytest.mark.parametrize("room", TAUGHT)
def test_every_public_name_of_a_taught_room_has_a_home(room):
    names = {name for _, _, name, _ in shown()}
    homeless = sorted(name for name in definitions(ROOMS[room]) if not name.startswith("_") and name not in names)
    assert not homeless, f"in ganlib/{room}.py and on no page: {homeless}"


def test_no_cell_both_defines_and_demonstrates():
    allowed = ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom
    mixed = [
        f"{page}: {name}"
        for page, cell, name, _ in shown()
        if not all(isinstance(node, allowed) for node in ast.parse(source(cell)).body)
    ]
    assert not mixed, f"a cell that defines these does something else too: {mixed}"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_along_the_arrows(room):
    wrong = imported_rooms(ROOMS[room]) - ARROWS[room]
    assert not wrong, f"ganlib/{room}.py imports {sorted(wrong)}, which is against the arrows"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_was_run_top_to_bottom(page):
    counts = [cell["execution_count"] for cell in cells(page, "code")]
    assert counts == list(range(1, len(counts) + 1))
    outputs = [output for cell in cells(page, "code") for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error" or output.get("name") == "stderr"]


def test_the_table_of_contents_lists_exactly_the_pages():
    toc = yaml.safe_load((HOUSE / "book" / "_toc.yml").read_text())
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    listed = sorted(Path(name).stem for name in chapters if name.startswith("notebooks/"))
    assert listed == [page.stem for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_is_small(page):
    assert page.stat().st_size <= MOST_BYTES
    lengths = [len(source(cell).splitlines()) for cell in cells(page, "code")]
    assert max(lengths) <= MOST_LINES
    assert statistics.median(lengths) <= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_nearly_every_cell_of_a_page_is_compared(page):
    code = cells(page, "code")
    ignored = [cell for cell in code if "nbval-ignore-output" in tags(cell) or "NBVAL_" in source(cell)]
    assert len(ignored) <= 4 and len(ignored) <= MOST_IGNORED * len(code)
    assert not [cell for cell in code if {"nbval-skip", "skip-execution", "raises-exception"} & set(tags(cell))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_figure_has_an_alternative_text(page):
    for cell in cells(page, "code"):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 5, f"no alternative text below {source(cell)[:60]!r}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_keeps_the_ritual(page):
    lines = [line for cell in cells(page, "markdown") for line in source(cell).splitlines()]
    headings = [line[3:].strip() for line in lines if line.startswith("## ")]
    assert [heading for heading in headings if heading in RITUAL] == RITUAL
    assert len([line for line in lines if line.startswith("# ")]) == 1
    assert any(line.startswith("**The question.**") for line in lines)
    assert any("**Minutes.**" in line for line in lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_enough_about_its_code(page):
    words = sum(len(source(cell).split()) for cell in cells(page, "markdown"))
    lines = sum(len(code_lines(cell)) for cell in cells(page, "code")[1:])
    assert 8 <= words / lines <= 25, f"{words} words for {lines} lines of code"


def test_the_setup_cell_is_the_same_on_every_page():
    setups = {source(cells(page, "code")[0]) for page in PAGES}
    assert len(setups) == 1
    assert all("hide-input" in tags(cells(page, "code")[0]) for page in PAGES)
    assert len(setups.pop().splitlines()) <= 8


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_nothing_private_is_stored_in_an_output(page):
    outputs = json.dumps([cell["outputs"] for cell in cells(page, "code")])
    for private in ("/root", "/home/", "/Users/", "/work/", "api_key", "API_KEY"):
        assert private not in outputs, f"{private} stands in a stored output of {page.name}"


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_has_its_test(room):
    name = {"__init__": "house", "__main__": "main"}.get(room, room)
    assert (HOUSE / "tests" / f"test_{name}.py").is_file()


def test_the_readme_lists_every_room_and_counts_the_lines():
    readme = (HOUSE / "README.md").read_text()
    rooms = list((HOUSE / "ganlib").glob("*.py"))
    assert not [room.name for room in rooms if f"`ganlib/{room.name}`" not in readme]
    total = sum(len(room.read_text().splitlines()) for room in rooms)
    assert f"ganlib has {total:,} lines" in readme


def test_every_asset_is_packed():
    patterns = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["ganlib"]
    packed = {path for pattern in patterns for path in (HOUSE / "ganlib").glob(pattern)}
    files = [path for path in (HOUSE / "ganlib").rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    assert not [path.name for path in files if path not in packed]
