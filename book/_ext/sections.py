"""What the search finds: the sections of the book, with their words.

Sphinx finds pages and takes its excerpts from whole pages, menus included. Here each
section, and each entry of the glossary, is one thing to find; search.js ranks them. The
words of all of them stand in one script, so that it also works from a folder.
"""

import json
import re

from docutils import nodes

FILE = "searchsections.js"
UNREAD = nodes.raw, nodes.comment, nodes.Invisible, nodes.math, nodes.math_block
WORD = re.compile(r"[A-Za-z_]\w{2,}")


def setup(app):
    app.connect("build-finished", write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write(app, exception):
    """Write the script that search.html loads."""
    if exception is not None or app.builder.format != "html":
        return
    pages = []
    for name in sorted(app.env.found_docs):
        title = app.env.titles[name].astext()
        number = app.env.toc_secnumbers.get(name, {}).get("")
        if number:
            title = f"{'.'.join(map(str, number))}. {title}"
        found = sections(app.env.get_doctree(name))
        place = app.builder.get_target_uri(name)
        pages.append([place, title, [[*section.values()] for section in found]])
    text = json.dumps(pages, ensure_ascii=False, separators=(",", ":"))
    script = f"window.bookSections = {text};\n"
    (app.outdir / FILE).write_text(script, encoding="utf-8")


def sections(doctree):
    """Sections of a page, each without those in it -> [{anchor, title, text, code}]."""
    found = []
    for node in doctree.findall(_has_anchor):
        title = node if isinstance(node, nodes.term) else node[0]
        anchor = "" if isinstance(node.parent, nodes.document) else node["ids"][0]
        body = node.parent if isinstance(node, nodes.term) else node
        text, code = [], []
        for part in body.children:
            if part is not title and not isinstance(part, nodes.section):
                _collect(part, text, code)
        words = sorted(set(WORD.findall(" ".join(code))))
        found.append(
            {
                "anchor": anchor,
                "title": title.astext(),
                "text": " ".join(" ".join(text).split()),
                "code": " ".join(words),
            }
        )
    return found


def _has_anchor(node):
    return isinstance(node, nodes.section | nodes.term) and node["ids"]


def _collect(node, text, code):
    """The words of a part of a page: prose as it is, code apart, outputs not at all."""
    if isinstance(node, UNREAD) or node.get("nb_element") == "cell_code_output":
        return
    if isinstance(node, nodes.literal_block):
        code.append(node.astext())
    elif isinstance(node, nodes.term):
        return  # an entry of its own
    elif isinstance(node, nodes.TextElement):
        text.append(_words(node))
    else:
        for child in node.children:
            _collect(child, text, code)


def _words(node):
    """Text of a paragraph; formulas as they stand are not to be read."""
    parts = node.findall(lambda part: isinstance(part, nodes.Text))
    return "".join(
        "…" if isinstance(part.parent, nodes.math) else part.astext() for part in parts
    )
