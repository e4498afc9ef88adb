"""Formulas as MathML in the page: no script sets them, and none is loaded.

Every browser of today draws MathML. The package latex2mathml translates; here is what
it leaves to do: TeX's spaces around names of functions and signs, and numbers with
commas.
"""

import re
import xml.etree.ElementTree as ET
from html import unescape

from docutils import nodes
from latex2mathml.converter import convert_to_element
from sphinx.util import logging

THIN = "0.167em"
BARS = "|", "\u2016"
CLOSING = (*")]}", *BARS)
ROWS = "math", "mrow", "mtd", "msqrt"
NO_SPACE = (*CLOSING, *"([{.,=")

logger = logging.getLogger(__name__)


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.connect("config-inited", take_over)
    app.connect("html-page-context", add_style)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def take_over(app, config):
    """Set formulas with this renderer, whichever others are loaded."""
    config.html_math_renderer = "mathml"


def add_style(app, pagename, templatename, context, doctree):
    """The style and, through it, the font: only on pages with a formula."""
    if re.search("(<|&lt;)math", context.get("body", "")):
        app.add_css_file("formulas.css")


def visit_inline(self, node):
    self.body.append(f'<span class="math">{mathml(node)}</span>')
    raise nodes.SkipNode


def visit_block(self, node):
    # A long formula scrolls in its box, with the keyboard too.
    more = {"role": "region", "tabindex": "0", "aria-label": "Formula"}
    start = self.starttag(node, "div", CLASS="math", **more)
    self.body.append(f"{start}{mathml(node, block=True)}</div>\n")
    raise nodes.SkipNode


def mathml(node, block=False):
    """A formula of the page -> MathML, or its TeX and a warning."""
    tex = node.astext().strip()
    try:
        return translate(tex, block)
    except Exception as error:  # latex2mathml has many kinds
        logger.warning("This formula cannot be set: %s (%r)", tex, error, location=node)
        return f"<code>{tex}</code>"


def translate(tex, block=False):
    """TeX -> MathML."""
    tex = tex.replace("{aligned}", "{split}")  # the name that latex2mathml has for it
    if r"\\" in tex and not tex.startswith(r"\begin"):
        tex = rf"\begin{{split}}{tex}\end{{split}}"
    root = convert_to_element(tex, display="block" if block else "inline")
    root.attrib.pop("xmlns", None)  # HTML knows MathML
    for part in root.iter():
        text = unescape(part.text or "")  # it may come as &#x02212;
        part.text = re.sub(r"\\[lr]Vert|\\\|", "\u2016", text).replace(r"\_", "_")
        if "\\" in part.text or part.text == "&":
            raise ValueError(f"{part.text} is not known to latex2mathml")
        if part.text in BARS:
            part.attrib = {"lspace": "0", "rspace": "0", "stretchy": "false"}
    for row in root.iter():
        if row.tag in ROWS:
            _join_numbers(row)
            _space_out(row)
    return ET.tostring(root, encoding="unicode")


def _join_numbers(row):
    """60 , 000 is one number."""
    place = 0
    while place + 2 < len(row):
        one, comma, other = row[place : place + 3]
        whole = one.tag == "mn" and _text(comma) == "," and other.tag == "mn"
        if whole and re.fullmatch(r"\d{3}(\.\d*)?", other.text):
            one.text += f",{other.text}"
            row.remove(comma)
            row.remove(other)
        else:
            place += 1


def _space_out(row):
    """A space behind `log` as TeX has it, and none around the sign of a number."""
    for place, part in reversed(list(enumerate(row))):
        if part.tag == "mo" and re.fullmatch("[A-Za-z]{2,}", part.text or ""):
            part.tag = "mi"  # `max` and the like are no signs
        before = row[place - 1] if place else None
        is_sign = _text(part) in ("\u2212", "+", "-")
        if is_sign and _is_operator(before):
            part.set("form", "prefix")
        after = row[place + 1] if place + 1 < len(row) else None
        if after is None or after.tag == "mspace" or _text(after) in NO_SPACE:
            continue
        if _is_function(part):
            row.insert(place + 1, ET.Element("mspace", width=THIN))


def _is_function(part):
    base = part[0] if part.tag in ("msub", "msup", "munder") else part
    return base.tag == "mi" and re.fullmatch("[A-Za-z]{2,}", base.text or "")


def _is_operator(part):
    return part is not None and part.tag == "mo" and _text(part) not in CLOSING


def _text(part):
    return part.text or "" if part.tag in ("mo", "mn", "mi") else "\0"
