"""The public address of the repository, which _config.yml decides.

    python -m scripts.set_address
    python -m scripts.set_address https://github.com/you/book

The first says what it is, and which files disagree; the second sets it everywhere.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "OWNER/REPOSITORY"  # what stands for "you/book" until there is one
# Where the address may stand.
PATTERNS = "_config.yml", "README.md", "book/**/*.md", "notebooks/*.ipynb"

SLUG = r"[\w-]+/[\w.-]*\w(?<!\.git)"
END = r"(?=(?:\.git)?(?![\w-]))"
# Wherever one of these comes before "you/book", the book's own repository is meant.
BEFORE = (
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


def disagreements(root: Path = ROOT) -> list[str]:
    """Sentences, one for each address that is not the one in _config.yml."""
    wanted = current(root)
    sentences = []
    for path in holders(root):
        text = _read(path)
        strays = [found["slug"] for found in OWN.finditer(text)]
        if wanted != PLACEHOLDER and PLACEHOLDER in text:
            strays.append(PLACEHOLDER)
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
        print(f"https://github.com/{current(root)}")
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
