"""The pages: run, whole, readable, and showing what the library has."""

import ast
import json
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = sorted((ROOT / "ganlib").rglob("*.py"))
MAX_COLUMNS = 88  # more is cut off on a screen of 1440 pixels
MAX_BYTES = 1_000_000  # GitHub shows no larger notebook
LEADS = "**The question.**", "**What you need.**", "**Minutes.**"
SECTIONS = [
    "Break it",
    "Check",
    "Summary",
    "Exercises",
    "Where this lives",
    "References",
]
MACHINE_PATHS = "/root", "/home/", "/Users/", "/work/"
PRIVATE = *MACHINE_PATHS, "site-packages", "api_key", "API_KEY"
SOURCE_LINK = re.compile(
    r"\]\(https://github\.com/[\w.-]+/[\w.-]+/blob/main/([\w./-]+)"
)
PAGE_LINK = re.compile(r"\]\(((?:\.\./book/)?[\w-]+\.(?:ipynb|md))(?:#[\w-]+)?\)")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def cells(page, kind):
    return [
        cell
        for cell in json.loads(page.read_text())["cells"]
        if cell["cell_type"] == kind
    ]


def source(cell):
    return "".join(cell["source"])


def prose(page):
    return "\n\n".join(source(cell) for cell in cells(page, "markdown"))


def tags(cell):
    return cell["metadata"].get("tags", [])


# What a page shows of the library


def bare(node):
    """The syntax of a definition without its annotations and docstrings."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.arg):
            inner.annotation = None
        if isinstance(inner, ast.FunctionDef):
            inner.returns = None
        if isinstance(inner, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(
            inner
        ):
            inner.body = inner.body[1:] or [ast.Pass()]
    return ast.dump(node)


def definitions(text):
    """{name: bare syntax} of the functions and classes at the top of a source."""
    kinds = ast.FunctionDef | ast.ClassDef
    return {
        node.name: bare(node)
        for node in ast.parse(text).body
        if isinstance(node, kinds)
    }


def library():
    """{name: every bare syntax that ganlib has under it}."""
    found = {}
    for path in MODULES:
        for name, syntax in definitions(path.read_text()).items():
            found.setdefault(name, set()).add(syntax)
    return found


def different(shown, ours):
    """Names that are shown and are not in the library, or otherwise than shown."""
    return [name for name, syntax in shown.items() if syntax not in ours.get(name, ())]


@each_page
def test_a_definition_on_a_page_is_that_of_ganlib(page):
    ours = library()
    for cell in cells(page, "code"):
        shown = definitions(source(cell))
        if "definition" in tags(cell):
            assert shown and not different(shown, ours)
        known = {name: syntax for name, syntax in shown.items() if name in ours}
        assert not different(known, ours), "a name of ganlib is defined otherwise here"


def test_a_definition_is_shown_once():
    ours = library()
    names = [
        name
        for page in PAGES
        for cell in cells(page, "code")
        for name in definitions(source(cell))
        if name in ours
    ]
    assert not {name for name in names if names.count(name) > 1}


@each_page
def test_an_excerpt_has_the_lines_of_ganlib_in_their_order(page):
    modules = [stripped_lines(path.read_text()) for path in MODULES]
    for cell in cells(page, "code"):
        if "excerpt" in tags(cell):
            body = stripped_lines(source(cell))[1:]  # the first line names the excerpt
            assert body and any(is_in_order(body, module) for module in modules), (
                source(cell)
            )


def stripped_lines(text):
    return [line.strip() for line in text.splitlines() if line.strip()]


def is_in_order(lines, module):
    rest = iter(module)
    return all(line in rest for line in lines)


def test_the_comparison_ignores_annotations_and_docstrings_and_nothing_else():
    plain, annotated = (
        "def f(a, b=1):\n    return a",
        'def f(a: int, b: int = 1) -> int:\n    """Words."""\n    return a',
    )
    assert definitions(plain) == definitions(annotated)
    assert definitions(plain) != definitions(plain.replace("b=1", "b=2"))
    assert definitions(plain) != definitions(plain.replace("return a", "return b"))


# Runs


@each_page
def test_a_page_was_run_once_from_top_to_bottom(page):
    code = cells(page, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for output in (output for cell in code for output in cell["outputs"]):
        assert output["output_type"] != "error" and output.get("name") != "stderr"


@each_page
def test_nearly_every_cell_of_a_page_is_compared(page):
    code = cells(page, "code")
    ignored = [
        cell
        for cell in code
        if "nbval-ignore-output" in tags(cell) or "NBVAL_" in source(cell)
    ]
    assert len(ignored) <= max(4, len(code) // 4)
    for cell in code:
        assert not {"nbval-skip", "skip-execution", "raises-exception"} & set(
            tags(cell)
        )


def test_the_first_cell_is_the_same_on_every_page_and_folded():
    first = [cells(page, "code")[0] for page in PAGES]
    assert len({source(cell) for cell in first}) == 1
    assert all("hide-input" in tags(cell) for cell in first)


@each_page
def test_nothing_private_is_stored_in_an_output(page):
    for cell in cells(page, "code"):
        for output in cell["outputs"]:
            output.get("data", {}).pop("image/png", None)
        text = json.dumps(cell["outputs"])
        assert not [word for word in PRIVATE if word in text]


@each_page
def test_no_path_of_a_machine_stands_on_a_page(page):
    text = "\n".join(
        source(cell) for kind in ("markdown", "code") for cell in cells(page, kind)
    )
    assert not [path for path in MACHINE_PATHS if path in text]


# What a reader sees


@each_page
def test_a_page_has_its_parts(page):
    text = prose(page)
    headings = re.findall(r"^## (.*?)\s*$", text, flags=re.M)
    assert [heading for heading in headings if heading in SECTIONS] == SECTIONS
    assert len(re.findall(r"^# ", text, flags=re.M)) == 1
    assert [text.count(lead) for lead in LEADS] == [1] * len(LEADS)


@each_page
def test_a_page_shows_its_result_before_it_begins(page):
    for cell in json.loads(page.read_text())["cells"]:
        if cell["cell_type"] == "code" and cell["outputs"]:
            return
        if re.search(r"^!\[|^```\{figure\}|^\|", source(cell), flags=re.M):
            return
        assert not re.search(r"^## ", source(cell), flags=re.M), (
            "no result before the first section"
        )


@each_page
def test_every_figure_has_an_alternative_text(page):
    for cell in cells(page, "code"):
        if any("image/png" in output.get("data", {}) for output in cell["outputs"]):
            alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt.split()) >= 5, source(cell)


@each_page
def test_no_code_line_is_cut_off(page):
    lines = [line for cell in cells(page, "code") for line in source(cell).splitlines()]
    assert not [line for line in lines if len(line) > MAX_COLUMNS]


@each_page
def test_long_imports_of_a_page_are_folded(page):
    for cell in cells(page, "code"):
        imports = [
            node
            for node in ast.parse(source(cell)).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        if len(imports) > 5:
            assert "hide-input" in tags(cell)


@each_page
def test_a_page_is_small_enough_for_github(page):
    assert page.stat().st_size <= MAX_BYTES


# Links


def test_the_table_of_contents_lists_exactly_the_pages():
    parts = yaml.safe_load((ROOT / "_toc.yml").read_text())["parts"]
    files = [Path(chapter["file"]) for part in parts for chapter in part["chapters"]]
    pages = [file.name for file in files if file.parent.name == "notebooks"]
    assert pages == [page.stem for page in PAGES]


@each_page
def test_the_files_that_a_page_names_exist(page):
    text = prose(page)
    assert SOURCE_LINK.search(text.split("\n## Where this lives")[-1]), (
        "no link to a source file"
    )
    named = re.findall(
        r"`((?:ganlib|experiments|scripts|tests|book)/[\w./-]+\.\w+)`", text
    )
    for name in named + SOURCE_LINK.findall(text):
        assert (ROOT / name).exists(), name
    for link in PAGE_LINK.findall(text):
        assert (page.parent / link).exists(), link


@each_page
def test_a_page_number_is_that_of_the_page_it_links_to(page):
    for number, link in re.findall(r"\[[Pp]age (\d+)\]\((\w+\.ipynb)", prose(page)):
        assert int(link[:2]) == int(number), f"page {number} links to {link}"
