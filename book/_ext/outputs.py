"""What cells print, as a page can show it: columns as tables, and lines that wrap.

A printed text whose first line names its columns becomes a table. Of any other text
each line stands in a box of its own, so that on a narrow screen it goes on below
itself, indented. Folded code says what it is, and short code in a
sentence is not broken.
"""

import re
from html import escape
from itertools import takewhile

from docutils import nodes

NUMBER = re.compile(r"[-+±–]?\d|–$|nan$|inf$")
JOINT = re.compile(r"(?<=\s)(to|±|->)\s+")  # between two numbers of one cell
SPREAD = re.compile(
    r"(?<=[^\s±]) (?=[-+]?\d[\d.,]* ±)"
)  # before a number with a spread
NOT_A_HEAD = re.compile(r"->|±|[,:=]$|(^|[\s(])[-+]?\d")


SHORT = 20  # characters of code that stay on one line
INSTALLER = "# Use the ganlib beside this notebook"


def setup(app):
    app.connect("doctree-read", name_folds)
    app.connect("doctree-read", keep_short_code_whole)
    app.connect("doctree-resolved", show_outputs)
    app.connect("doctree-resolved", keep_spreads_whole)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def name_folds(app, doctree):
    """Folded cells say what is in them."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") == "cell_code" and cell.get("hide_mode"):
            cell["prompt_show"] = cell["prompt_hide"] = fold_name(cell.astext())


def fold_name(code):
    """What a folded cell is: the installer, imports, or other code."""
    if code.startswith(INSTALLER):
        return "Installer, for Colab and Binder"
    return "Imports" if code.startswith(("import ", "from ")) else "Code"


def keep_short_code_whole(app, doctree):
    """`--resume` is not to be broken behind its first stroke."""
    for code in doctree.findall(nodes.literal):
        if len(code.astext()) <= SHORT:
            code["classes"].append("short")


def show_outputs(app, doctree, docname):
    """Replace what myst-nb made of the printed texts."""
    if app.builder.format != "html":
        return
    for block in list(doctree.findall(_is_printed)):
        rows, rest = table_of(block.astext())
        html = (table_html(rows) if rows else "") + (lines_html(rest) if rest else "")
        block.replace_self(nodes.raw("", html, format="html"))


def keep_spreads_whole(app, doctree, docname):
    """In tables, a mean and its spread (5.6 ± 0.4) stay on one line."""
    for text in list(doctree.findall(nodes.Text)):
        parent = text.parent
        is_html = isinstance(parent, nodes.raw) and "<table" in text
        if " ± " not in text or not (is_html or _is_in_table(parent)):
            continue
        whole = text.replace(" ± ", "\u00a0±\u00a0")
        if is_html:
            parent.rawsource = whole
        parent.replace(text, nodes.Text(whole))


def _is_in_table(node):
    while node is not None and not isinstance(node, nodes.entry):
        node = node.parent
    return node is not None


def _is_printed(node):
    return (
        isinstance(node, nodes.literal_block)
        and "output" in node["classes"]
        and "\x1b" not in node.astext()
    )


def lines_html(text):
    """A printed text as lines that wrap."""
    lines = text.rstrip("\n").split("\n")
    spans = "".join(f'<span class="line">{escape(line)}\n</span>' for line in lines)
    return f'<div class="output printed"><pre>{spans}</pre></div>'


def table_html(rows):
    """Rows of cells, the first of headings -> a table."""
    head = "".join(
        f'<th scope="col">{escape(cell)}</th>' if cell else "<td></td>"
        for cell in rows[0]
    )
    body = ""
    for label, *cells in rows[1:]:
        first = "td" if NUMBER.match(label) else 'th scope="row"'
        body += f"<tr><{first}>{escape(label)}</{first.split()[0]}>"
        body += "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    return (
        '<div class="output pst-scrollable-table-container">'
        f'<table class="table printed"><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def table_of(text):
    """A printed text -> rows of cells, headings first, and what is printed below them.

    There are rows if its first line has a heading for each column of those below, most
    of which are numbers.
    """
    text = text.rstrip("\n")
    head, *lines = text.split("\n")
    rows = [split_row(line) for line in lines]
    width = len(rows[0]) if rows else 0
    rows = list(takewhile(lambda row: len(row) == width, rows))
    cells = [cell for row in rows for cell in row[1:]]
    numbers = sum(bool(NUMBER.match(cell)) for cell in cells)
    if len(rows) < 2 or width < 2 or numbers < 0.5 * len(cells):
        return [], text
    if any(cell[-1:] in ",:=" for cell in cells):
        return [], text  # a sentence
    for gap in (r"\s{2,}", r"\s+"):
        heads = re.split(gap, head.strip())
        if len(heads) == width - 1:  # labels, or remarks, have no heading
            heads.insert(0 if head.startswith(" ") else len(heads), "")
        if len(heads) == width and not any(map(NOT_A_HEAD.search, heads)):
            return [heads, *rows], "\n".join(lines[len(rows) :])
    return [], text


def split_row(line):
    """A line -> its cells, which stand two spaces apart; `1.0 ±  0.2` is one."""
    line = SPREAD.sub("  ", JOINT.sub(r"\1 ", line.strip()))
    return re.split(r"\s{2,}", line)
