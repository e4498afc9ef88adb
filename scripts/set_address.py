"""The public address of the repository: found, or set in _config.yml.

    python -m scripts.set_address
    python -m scripts.set_address https://github.com/you/book

The first says what it is, and which files disagree; the second sets it everywhere. The
site takes what `find` gives; notebooks and README have it once it is set.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "OWNER/REPOSITORY"  # what stands for "you/book" until there is one
SET_IT = "make address URL=https://github.com/you/book"
README_BLOCK = re.compile(
    r"(?<=<!-- address -->\n).*?(?=<!-- end of address -->)", re.S
)
FIRST_CELL = """\
# Use the ganlib beside this notebook, or install it (Colab, Kaggle, Binder).
import importlib.util
import os
import subprocess
import sys

# The address of the repository; `make address` writes it here.
ADDRESS = ""
if os.path.isdir("../ganlib"):
    sys.path.insert(0, os.path.abspath(".."))
elif importlib.util.find_spec("ganlib") is None:
    url = os.environ.get("GANLIB_URL") or (ADDRESS and f"git+{ADDRESS}")
    if not url:
        raise RuntimeError(
            "This copy of the book does not know where to get ganlib: put the address "
            "of its repository into ADDRESS above, and run the cell again."
        )
    pip = [sys.executable, "-m", "pip", "install", "--quiet"]
    subprocess.check_call([*pip, url, "anywidget", "tensorboard"])"""
# Where the address may stand.
PATTERNS = "_config.yml", "README.md", "book/**/*.md", "notebooks/*.ipynb"

SLUG = r"[\w-]+/[\w.-]*\w(?<!\.git)"
END = r"(?=(?:\.git)?(?![\w-]))"
# Wherever one of these comes before "you/book", the book's own repository is meant.
BEFORE = (
    r"ADDRESS = \\?\"https://github\.com/",
    r"git\+https://github\.com/",
    r"git clone (?:\S+ )*?https://github\.com/",
    r"https://colab\.research\.google\.com/github/",
    r"https://mybinder\.org/v2/gh/",
)
OWN = re.compile(rf"(?P<before>{'|'.join(BEFORE)})(?P<slug>{SLUG}){END}")
CONFIG = re.compile(
    r"^(?P<before>repository:\n(?:[ #].*\n)*?  url: https://github\.com/)"
    rf"(?P<slug>{SLUG})$",
    re.M,
)


def holders(root: Path = ROOT) -> list[Path]:
    """Every file of the repository in which the address may stand."""
    return sorted(path for pattern in PATTERNS for path in root.glob(pattern))


def current(root: Path = ROOT) -> str:
    """The address as _config.yml has it: "you/book"."""
    found = CONFIG.search(_read(root / "_config.yml"))
    if not found:
        sys.exit(
            "_config.yml has no line '  url: https://github.com/…' under "
            "'repository:'; put it back."
        )
    return found["slug"]


def find(root: Path = ROOT, environment: Mapping[str, str] = os.environ) -> str | None:
    """The address "you/book", or None: set by hand, else the workflow's, else git's."""
    slug = current(root)
    if slug != PLACEHOLDER:
        return slug
    if re.fullmatch(SLUG, environment.get("GITHUB_REPOSITORY", "")):
        return environment["GITHUB_REPOSITORY"]
    try:
        origin = subprocess.run(
            ["git", "-C", str(root), "remote", "get-url", "origin"],
            capture_output=True,
            encoding="utf-8",
        ).stdout.strip()
    except OSError:  # no git here
        return None
    at = r"(?:https://(?:[^@/]+@)?github\.com/|(?:ssh://)?git@github\.com[:/])"
    found = re.fullmatch(rf"{at}(?P<slug>{SLUG})(?:\.git)?/?", origin)
    return found["slug"] if found else None


def with_first_cell(text: str, slug: str) -> str:
    """The text of a notebook -> the same with the first code cell as it should be."""
    address = "" if slug == PLACEHOLDER else f"https://github.com/{slug}"
    source = FIRST_CELL.replace('ADDRESS = ""', f'ADDRESS = "{address}"')
    notebook = json.loads(text)
    cell = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    if "".join(cell["source"]) == source:
        return text
    cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def with_readme_block(text: str, slug: str) -> str:
    """README's text with the clone command, or with how to set an address."""
    if slug == PLACEHOLDER:
        block = f"This copy has no public address yet; `{SET_IT}` sets one.\n"
    else:
        block = f"```\ngit clone https://github.com/{slug}\n```\n"
    return README_BLOCK.sub(lambda _: block, text)


def disagreements(root: Path = ROOT) -> list[str]:
    """Sentences, one for each address that is not the one in _config.yml."""
    wanted = current(root)
    sentences = []
    for path in holders(root):
        text = _read(path)
        strays = [found["slug"] for found in OWN.finditer(text)]
        if wanted != PLACEHOLDER and PLACEHOLDER in text:
            strays.append(PLACEHOLDER)
        due = {".ipynb": with_first_cell, "README.md": with_readme_block}
        mend = due.get(path.suffix) or due.get(path.name)
        if mend and mend(text, wanted) != text:
            sentences.append(
                f"{path.relative_to(root)} has another address or first cell than "
                f"{wanted} asks for; `make address URL=…` writes it."
            )
        for slug in strays:
            if slug != wanted:
                name = path.relative_to(root)
                sentences.append(f"{name} has {slug}; _config.yml has {wanted}.")
    return sentences


def change(root: Path, slug: str) -> list[Path]:
    """Set the address to "you/book" in every file that has one -> the files changed."""
    old = re.escape(current(root))
    anywhere = re.compile(rf"(?:(?<=github\.com/){old}|{PLACEHOLDER}){END}")
    new_texts = {}
    for path in holders(root):
        text = _read(path)
        new = OWN.sub(rf"\g<before>{slug}", anywhere.sub(slug, text))
        if path.suffix == ".ipynb":
            new = with_first_cell(new, slug)
        if path.name == "README.md":
            new = with_readme_block(new, slug)
        if path.name == "_config.yml":
            new = CONFIG.sub(rf"\g<before>{slug}", new)
        if new != text:
            new_texts[path] = new
    for path, text in new_texts.items():
        path.write_bytes(text.encode())
    return list(new_texts)


def _read(path: Path) -> str:
    return path.read_bytes().decode()  # not read_text: line ends stay as they are


def main(arguments: list[str], root: Path = ROOT) -> None:
    if not arguments:
        slug = find(root)
        print(f"https://github.com/{slug}" if slug else f"No address yet: {SET_IT}")
        sys.exit("\n".join(disagreements(root)) or None)
    address = arguments[0].strip().removesuffix("/").removesuffix(".git")
    found = re.fullmatch(rf"https://github\.com/(?P<slug>{SLUG})", address)
    if len(arguments) != 1 or not found:
        sys.exit(
            "Give one address such as https://github.com/you/book; Colab and Binder "
            "open notebooks from there."
        )
    changed = change(root, found["slug"])
    print(f"{address} is set; files changed: {len(changed)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
