"""Words of the glossary: the first of each on a page leads there and says its meaning.

The meaning appears when the pointer or the keyboard is on the word; terms.js shows it.
Without JavaScript the word is a link to the glossary.
"""

import re
from html import escape

from docutils import nodes
from formulas import translate
from sphinx.util.nodes import make_refnode

GLOSSARY = "book/glossary"
# Names of everyday things, or single letters: only where the text itself says {term}.
PLAIN = {
    *("D", "G", "z", "Loss_D, Loss_G", "batch", "label", "noise", "seed", "state"),
    *("step", "record", "recipe", "config", "fake", "epoch", "rank", "density"),
    *("precision", "recall", "coverage", "adversarial", "gradient", "generator"),
    *("discriminator", "event file", "interpolation"),
}
NOT_HERE = (
    *(nodes.title, nodes.literal, nodes.literal_block, nodes.reference, nodes.math),
    *(nodes.math_block, nodes.raw, nodes.term, nodes.caption, nodes.citation),
)


def setup(app):
    app.connect("doctree-read", depend_on_glossary)
    app.connect("doctree-resolved", explain_terms)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def depend_on_glossary(app, doctree):
    """A page is made anew when the glossary changes."""
    if GLOSSARY in app.env.found_docs:
        app.env.note_dependency(str(app.env.doc2path(GLOSSARY)))


def explain_terms(app, doctree, docname):
    """Give links to the glossary their meaning, and more words such a link."""
    if GLOSSARY not in app.env.found_docs or app.builder.format != "html":
        return
    glossary = app.env.get_doctree(GLOSSARY)
    meanings = dict(meanings_of(glossary))
    said = set()
    for link in list(doctree.findall(nodes.reference)):
        anchor = link.get("refuri", link.get("refid", "")).rpartition("#")[2]
        if anchor in meanings:
            said.add(anchor)
            link.replace_self(_explained(link, meanings[anchor]))
    if docname == GLOSSARY:
        return
    words = words_of(glossary)
    pattern = re.compile(
        "|".join(rf"\b{re.escape(word)}s?\b" for word in sorted(words, key=len)[::-1]),
        re.I,
    )
    for text in list(doctree.findall(_is_prose)):
        parts = _with_links(app, docname, text.astext(), pattern, words, meanings, said)
        if parts:
            text.parent.replace(text, parts)


def _with_links(app, docname, text, pattern, words, meanings, said):
    """A text -> its parts, some of which are links; none if no term is new in it."""
    parts, end = [], 0
    for found in pattern.finditer(text):
        anchor = words.get(found[0]) or words.get(found[0].removesuffix("s"))
        anchor = anchor or words.get(found[0].lower().removesuffix("s"))
        if anchor is None or anchor in said:
            continue
        said.add(anchor)
        link = make_refnode(
            app.builder, docname, GLOSSARY, anchor, nodes.Text(found[0])
        )
        before = nodes.Text(text[end : found.start()])
        parts += [before, _explained(link, meanings[anchor])]
        end = found.end()
    return [*parts, nodes.Text(text[end:])] if parts else []


def _explained(link, meaning):
    """A link to the glossary -> one that terms.js knows."""
    words = escape("".join(child.astext() for child in link.children))
    place = escape(link.get("refuri") or f"#{link['refid']}")
    html = (
        f'<a class="term" href="{place}" data-meaning="{escape(meaning)}">{words}</a>'
    )
    return nodes.raw("", html, format="html")


def _is_prose(node):
    if not isinstance(node, nodes.Text) or isinstance(node.parent, NOT_HERE):
        return False
    while node := node.parent:
        if isinstance(node, NOT_HERE) or node.get("nb_element") == "cell_code_output":
            return False
        if "options" in node.get("classes", ()):  # each is the label of a button
            return False
    return True


def meanings_of(glossary):
    """(anchor, meaning as HTML) of each entry, without what only leads on to pages."""
    for item in glossary.findall(nodes.definition_list_item):
        paragraph = next(item.findall(nodes.paragraph))
        html = " ".join("".join(map(_html, paragraph.children)).split())
        html = re.split(r"\s(?:Pages? \d|Data cards\.|Model card\.)", html)[0]
        for term in item.findall(nodes.term):
            yield term["ids"][0], html.replace(" .", ".").replace(" ;", ";")


def _html(part):
    """A part of a paragraph: formulas as such, citations not at all."""
    if isinstance(part, nodes.math):
        return translate(part.astext())
    if isinstance(part, nodes.Element) and part.get("refdomain") == "cite":
        return ""
    if isinstance(part, nodes.literal):
        return f"<code>{escape(part.astext())}</code>"
    return escape(part.astext())


def words_of(glossary):
    """What is linked wherever it occurs: {as written, or in small letters: anchor}."""
    words = {}
    for term in glossary.findall(nodes.term):
        name = term.astext()
        if name in PLAIN:
            continue
        word = name.partition(", ")[0]
        words[word if re.search("[A-Z]", word[1:]) else word.lower()] = term["ids"][0]
    return words


def add_script(app, pagename, templatename, context, doctree):
    """The script comes to pages with such a word."""
    if 'class="term"' in context.get("body", ""):
        app.add_js_file("terms.js", loading_method="defer")
