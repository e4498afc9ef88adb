"""A Sphinx extension that lets the pages of the site take answers.

- In the place of a cell that calls `check("7.1", answer_1)` comes what the script
  exercises.js makes a form of: the options and the hint. The options are the list
  before the cell, or those of questions.toml where the kernel would run an answer.
- A paragraph after the comment `<!-- predict 7.a -->` and the list after it become a
  form as well. The script shows the outputs that follow once an option is chosen.

Without JavaScript, and on paper, the options are a list, hint and solution are folded
or open text, and the outputs are there. The right answer stands in an attribute, in
base64, so that nobody reads it by accident; it is no secret.
"""

import json
import re
from base64 import b64encode
from html import escape

from docutils import nodes
from sphinx.util import logging

from ganlib.exercise import QUESTIONS, load_questions

CHECK = re.compile(r'^check\("(\d+\.\d+)", \w+\)$', re.M)
PREDICT = re.compile(r"^<!-- predict (\d+\.[a-z]) -->$")
PLACE = 'class="exercise"'

logger = logging.getLogger(__name__)


def setup(app):
    app.connect("doctree-read", make_places)
    app.connect("html-page-context", add_scripts)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def make_places(app, doctree):
    """Put a place for a form wherever a page asks for an answer."""
    app.env.note_dependency(str(QUESTIONS))
    for cell in list(doctree.findall(nodes.container)):
        if cell.get("nb_element") == "cell_code" and (key := key_of_cell(cell)):
            replace_check(cell, key)
    for mark in [*doctree.findall(nodes.raw), *doctree.findall(nodes.comment)]:
        if found := PREDICT.match(mark.astext().strip()):
            wrap_prediction(mark, found[1])


def key_of_cell(cell):
    """The key of the exercise that a code cell checks, if it checks one."""
    for block in cell.findall(nodes.literal_block):
        if found := CHECK.search(block.astext()):
            return found[1]
    return None


def replace_check(cell, key):
    """The options, moved from the list before the cell, and the hint in its place."""
    question = question_of(key, cell)
    if question is None:
        return
    parent, at = cell.parent, cell.parent.index(cell)
    parts = []
    if "checker" in question:
        parts.append(raw(options_of(question)))
    elif isinstance(question["answer"], str):
        options = take_options(parent, at - 1, key)
        parts.append(options)
        at -= options is not None
    hint = f'<p class="hint-text">{marked_up(question["hint"])}</p>'
    parts.append(
        raw(f'<details class="hint"><summary>Hint</summary>{hint}</details>'),
    )
    parts = [start_of(key, question), *filter(None, parts), raw("</div>")]
    parent.children[at : parent.index(cell) + 1] = []
    parent.insert(at, parts)


def wrap_prediction(mark, key):
    """The question after its mark and the options after that, in one place."""
    question = question_of(key, mark)
    if question is None:
        return
    parent, at = mark.parent, mark.parent.index(mark)
    options = take_options(parent, at + 2, key)
    if options is None:
        return
    parts = [start_of(key, question), parent[at + 1], options, raw("</div>")]
    parent.children[at : at + 2] = []
    parent.insert(at, parts)


def question_of(key, node):
    """What is known of a question; None, and a warning, for an unknown key."""
    question = load_questions().get(key)
    if question is None:
        logger.warning("There is no question %s in %s.", key, QUESTIONS, location=node)
    return question


def take_options(parent, at, key):
    """The list at a place of its parent, taken out; None, and a warning, if none is."""
    if not (0 <= at < len(parent) and isinstance(parent[at], nodes.bullet_list)):
        logger.warning("Question %s has no list of options.", key, location=parent)
        return None
    options = parent[at]
    options["classes"].append("options")  # terms.py leaves them alone
    del parent.children[at]
    return options


def options_of(question):
    """The options of what the kernel checks by running it, as a list."""
    code = question.get("code", False)
    items = []
    for place, text in enumerate(question["options"]):
        letter = chr(ord("a") + place)
        shown = f"<code>{escape(text)}</code>" if code else marked_up(text)
        items.append(f"<li><p><strong>{letter}</strong> {shown}</p></li>")
    ask = marked_up(question["ask"])
    return f"<p>{ask}</p><ul>{''.join(items)}</ul>"


def marked_up(text):
    """Plain text, with code between backticks -> HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def start_of(key, question):
    """The opening tag of a place; what is right is encoded, so that nobody reads it."""
    right = {"answer": question["answer"], "tolerance": question.get("tolerance", 0)}
    encoded = b64encode(json.dumps(right).encode()).decode()
    name = "question-" + key.replace(".", "-")
    return raw(
        f'<div {PLACE} id="{name}" data-key="{key}" data-right="{encoded}"'
        f' data-unit="{escape(question.get("unit", ""))}">'
    )


def raw(html):
    return nodes.raw("", html, format="html")


def add_scripts(app, pagename, templatename, context, doctree):
    """Give pages that ask for answers what takes them, and no others."""
    if PLACE in context.get("body", ""):
        app.add_js_file("exercises.js", loading_method="defer")
        app.add_css_file("exercises.css")
