"""The public address of the repository: _config.yml holds it, and this command sets it wherever else it stands.

python tools/address.py                              say what it is, and which files disagree
python tools/address.py https://github.com/you/book  set it everywhere
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "OWNER/REPOSITORY"  # what stands for "you/book" until there is one
HOLDERS = "_config.yml", "README.md", "pyproject.toml", "book/**/*.md", "notebooks/*.ipynb"

NAME = r"[\w.-]*\w(?<!\.git)"
SLUG = rf"[\w-]+/{NAME}"
END = r"(?=(?:\.git)?(?![\w-]))"
# Wherever one of these comes before "you/book", the book's own repository is meant.
OURS = (
    r"git\+https://github\.com/",
    r"git clone (?:\S+ )*?https://github\.com/",
    r"https://colab\.research\.google\.com/github/",
    r"https://mybinder\.org/v2/gh/",
)
OWN = re.compile(rf"(?P<before>{'|'.join(OURS)})(?P<slug>{SLUG}){END}")
CONFIG = re.compile(rf"^(?P<before>repository:\n(?:[ #].*\n)*?  url: https://github\.com/)(?P<slug>{SLUG})$", re.M)


def holders(root=ROOT):
    """Folder of the repository -> every file in which the address may stand."""
    return sorted(path for pattern in HOLDERS for path in Path(root).glob(pattern))


def current(root=ROOT):
    """Folder of the repository -> "you/book", as _config.yml has it."""
    found = CONFIG.search(_read(Path(root) / "_config.yml"))
    if not found:
        sys.exit("_config.yml has no line '  url: https://github.com/…' under 'repository:'; put it back.")
    return found["slug"]


def disagreements(root=ROOT):
    """Folder of the repository -> sentences, one per address that is not the one in _config.yml."""
    wanted, sentences = current(root), []
    for path in holders(root):
        for found in OWN.finditer(_read(path)):
            if found["slug"] != wanted:
                sentences.append(f"{path.relative_to(root)} has {found['slug']}; _config.yml has {wanted}.")
        if wanted != PLACEHOLDER and PLACEHOLDER in _read(path):
            sentences.append(f"{path.relative_to(root)} still has {PLACEHOLDER}; _config.yml has {wanted}.")
    return sentences


def change(root, slug):
    """Set the address to "you/book" in every file that has one; returns the files changed."""
    old = re.compile(rf"(?:(?<=github\.com/){re.escape(current(root))}|{PLACEHOLDER}){END}")
    new_texts = {}
    for path in holders(root):
        text = _read(path)
        new = OWN.sub(rf"\g<before>{slug}", old.sub(slug, text))
        if path.name == "_config.yml":
            new = CONFIG.sub(rf"\g<before>{slug}", new)
        if new != text:
            new_texts[path] = new
    for path, text in new_texts.items():
        path.write_bytes(text.encode())
    return list(new_texts)


def _read(path):
    return path.read_bytes().decode()  # not read_text: line ends stay as they are


def main(arguments, root=ROOT):
    if not arguments:
        print(f"https://github.com/{current(root)}")
        sys.exit("\n".join(disagreements(root)) or None)
    address = arguments[0].strip().removesuffix("/").removesuffix(".git")
    found = re.fullmatch(rf"https://github\.com/(?P<slug>{SLUG})", address)
    if len(arguments) != 1 or not found:
        sys.exit("Give one address such as https://github.com/you/book; Colab and Binder open notebooks from there.")
    changed = change(root, found["slug"])
    print(f"{address} now stands in _config.yml and wherever else it is needed; files changed: {len(changed)}.")


if __name__ == "__main__":
    main(sys.argv[1:])
