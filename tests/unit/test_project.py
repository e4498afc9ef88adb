"""What holds the project together: the direction of imports, the README, the packaging."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

import ganlib
from ganlib.checkpoint import read_metadata
from ganlib.results import load_result
from scripts.results_table import in_readme, table

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "ganlib").rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
# From the bottom up. A module imports from its own layer and from those below.
LAYERS = [
    {"errors"},
    {"config", "files"},
    {
        "recipes",
        "data",
        "losses",
        "models",
        "sampling",
        "augment",
        "plotting",
        "latent",
        "flow",
    },
    {"ema", "progressive"},
    {"training"},
    {"translation"},
    {"checkpoint", "results", "export", "tensorboard", "widgets", "jovian"},
    {"metrics", "accelerate", "transfer"},
    {"stopping"},
    {"own"},
    {"cli", "exercise"},
    {"__main__"},
]
LAYER_OF = {name: place for place, names in enumerate(LAYERS) for name in names}


def part(path):
    """ganlib/data/mnist.py -> data: what stands in LAYERS."""
    return path.relative_to(ROOT / "ganlib").parts[0].removesuffix(".py")


def imported(path):
    """Parts of ganlib that a module imports when it runs."""
    tree = ast.parse(path.read_text())
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found = set()
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module == "ganlib":
            names = [
                f"ganlib.{alias.name}"
                for alias in node.names
                if not alias.name.startswith("__")
            ]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("ganlib.")}
    return found


@pytest.mark.parametrize(
    "path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix()
)
def test_imports_point_one_way(path):
    if path.parent.name == "ganlib" and path.name == "__init__.py":
        assert not imported(path)
        return
    above = [name for name in imported(path) if LAYER_OF[name] > LAYER_OF[part(path)]]
    assert not above, f"{part(path)} stands below {above}"


def test_every_module_has_a_layer():
    assert {part(path) for path in MODULES} - {"__init__"} == set(LAYER_OF)


def test_the_readme_has_every_part_of_the_library_and_every_folder():
    tree = (ROOT / "README.md").read_text().split("```\nganlib/")[1].split("```")[0]
    for path in MODULES:
        if path.name not in ("__init__.py", "__main__.py"):
            assert re.search(rf"\b{re.escape(part(path))}\b", tree), path.name
    for folder in ("notebooks/", "book/", "experiments/", "scripts/", "tests/"):
        assert folder in tree


def test_the_readme_has_the_results_that_are_stored():
    assert in_readme() == table(), "run make readme"


def test_the_version_of_the_citation_is_that_of_the_library():
    assert (
        yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"]
        == ganlib.__version__
    )


def test_requirements_are_those_of_the_package_and_its_extras():
    project = PROJECT["project"]
    extras = dict(project["optional-dependencies"])
    del extras["imagenet"]  # one stored result needs it, and no page
    no_page = extras.pop("onnx") + extras.pop("completion")
    tests = (ROOT / "tests" / "requirements.txt").read_text().splitlines()
    assert set(no_page) <= set(tests)
    wanted = project["dependencies"] + [
        line for extra in extras.values() for line in extra
    ]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == wanted


def test_every_file_of_the_library_is_packed():
    patterns = PROJECT["tool"]["setuptools"]["package-data"]["ganlib"]
    packed = {
        path
        for pattern in patterns
        for path in (ROOT / "ganlib").glob(pattern.replace("**", "**/*"))
    }
    files = {
        path
        for path in (ROOT / "ganlib").rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert files <= packed


def test_the_licence_names_both_licences():
    text = (ROOT / "LICENSE").read_text()
    assert (
        "MIT License" in text and "https://creativecommons.org/licenses/by/4.0/" in text
    )


def test_the_card_of_faces_has_the_figures_that_are_stored():
    card = (ROOT / "book" / "model_card_faces.md").read_text(encoding="utf-8")
    result = load_result("imagenet_features")
    assert f"code of commit `{result['commit']}`" in card
    tables = result["tables"]["ImageNet"]
    columns = [tables[name] for name in ("other photographs", "faces", "faces-dcgan")]
    for digits, key in ((1, "frechet"), (2, "recall"), (2, "coverage")):
        cells = " | ".join(f"{one[key]:.{digits}f}" for one in columns)
        assert f"| {cells} |" in card, key
    kids = " | ".join(f"{one['kid']:.1f} ± {one['kid_error']:.1f}" for one in columns)
    assert f"| {kids} |" in card
    own = [read_metadata(name)["scores"] for name in ("faces", "faces-dcgan")]
    assert (
        " and ".join(f"{one['kid']:.1f} ± {one['kid_error']:.1f}" for one in own)
        in card
    )
