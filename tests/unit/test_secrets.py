"""No key, token or path of somebody's machine is stored in a notebook."""

import json
import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PATH = "a path of somebody's machine"
PRIVATE = {
    "a key": r"\b(gh[opsu]|github_pat|glpat|hf|sk|pk|pypi|xox[abp])[-_][\w-]{16,}"
    r"|\bAKIA[0-9A-Z]{16}\b",
    "a signed token": r"\bey[\w-]{16,}\.[\w-]{16,}\.[\w-]+",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY",
    "a named secret": r"(?i)(api[-_ ]?key|token|secret|passw(or)?d|bearer)"
    r"\W{1,5}[\w+/-]{16,}",
    PATH: r"/(root|home|Users|work|tmp|content|mnt|var/folders)/|\b[A-Z]:\\+Users",
}


def private_in(text):
    return {what for what, pattern in PRIVATE.items() if re.search(pattern, text)}


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a key", "login: ghp_0123456789abcdefABCDEF"),
        ("a key", "AKIAIOSFODNN7EXAMPLE"),
        ("a key", "sk-0123456789abcdef"),
        ("a signed token", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0"),
        ("a private key", "-----BEGIN RSA PRIVATE KEY-----"),
        ("a named secret", '{"API_KEY": "0123456789abcdef0123"}'),
        ("a named secret", "Authorization: Bearer 0123456789abcdef"),
        (PATH, "/home/reader/x.pt"),
        (PATH, "saved to /tmp/tmpabc/x.pt"),
        (PATH, "C:\\Users\\me"),
    ],
)
def test_what_is_private_is_recognised(what, text):
    assert private_in(text) == {what}


def test_prose_is_not_private():
    assert not private_in("the tokens of generator.pt, 1,797 digits: one by one")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_nothing_private_is_stored_in_a_notebook(page):
    """In code, paths are allowed; pictures, whose letters say nothing, are left out."""
    notebook = json.loads(page.read_text())
    for cell in notebook["cells"]:
        for output in cell.pop("outputs", []):
            data = output.get("data", {})
            output["data"] = {
                kind: content
                for kind, content in data.items()
                if not kind.startswith("image/")
            }
            assert not private_in(json.dumps(output, ensure_ascii=False))
    assert private_in(json.dumps(notebook, ensure_ascii=False)) <= {PATH}
