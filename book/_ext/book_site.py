"""A Sphinx extension for what Jupyter Book's config cannot say about this site.

Formulas are set by a MathJax file inside the site, so that it also works without a network and from a folder; where
the package that holds it is not installed, Sphinx's own address is used and the build says so. Thebe's scripts, which
nothing uses, go. The playground's script and style come to every page that has a place for it. An explorer of a
shipped network may stand on a page whose notebook would be too large with the weights inside. Every page says what it
is to who shows a preview of it; a page for wrong addresses, robots.txt and, once html.baseurl in _config.yml names the
public address, a sitemap are written too. (The usual extensions for these three need that address to begin with.)
"""

import json
import re
from html import escape
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from docutils import nodes
from ipywidgets.embed import dependency_state, embed_data
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

MATHJAX = "tex-svg-full.js"  # the variant that fetches no fonts
PLAYGROUND, EXPLORER = 'class="gan-playground"', "shipped-explorer"
# A page opened from a folder may not read other pages, from which the search takes its excerpts; titles it has.
NO_EXCERPTS = "if (location.protocol === 'file:') DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;"
SOCIAL, SOCIAL_WORDS = "_static/social.png", "Handwritten digits that come out of noise while a generator learns."
WRONG = "<h1>There is no such page</h1><p>It may have moved; the contents and the search know all pages.</p>"
logger = logging.getLogger(__name__)


def setup(app):
    app.add_directive("explorer", Explorer)
    app.connect("config-inited", use_local_mathjax)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", mend_citations)
    app.connect("html-page-context", bring_scripts)
    app.connect("html-page-context", describe)
    app.connect("html-collect-pages", wrong_address)
    app.connect("build-finished", write_for_robots)
    app.connect("build-finished", say_what_is_fetched)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def use_local_mathjax(app, config):
    """Point Sphinx to the MathJax of the package sphinx-mathjax-offline and copy that one file."""
    package = find_spec("sphinx-mathjax-offline")
    if package is not None:
        script = Path(package.origin).parent / "static" / "mathjax" / MATHJAX
        config.html_static_path.append(str(script))
        config.mathjax_path = MATHJAX


def say_what_is_fetched(app, exception):
    """The last line of a build: nothing, or a plain word that the pages will ask another server for MathJax."""
    if exception is None and "://" in app.config.mathjax_path:
        logger.info(
            "This site is not self-contained: the package sphinx-mathjax-offline is not installed, so pages with "
            "formulas will fetch MathJax from %s. Run: pip install sphinx-mathjax-offline",
            app.config.mathjax_path,
        )


def drop_thebe(app, pagename, templatename, context, doctree):
    """Jupyter Book adds Thebe's settings twice to every page, which is an error in the browser."""
    scripts = context["script_files"]
    context["script_files"] = [script for script in scripts if "thebe" not in _words(script).lower()]


def mend_citations(app, pagename, templatename, context, doctree):
    """docutils calls the references a list and its entries something else: a screen reader would find an empty list."""
    if "body" in context:
        context["body"] = context["body"].replace('class="citation-list" role="list"', 'class="citation-list"')
        context["body"] = context["body"].replace('role="list" class="citation-list"', 'class="citation-list"')


def bring_scripts(app, pagename, templatename, context, doctree):
    """A page with a place for the playground or an explorer gets what draws it; others stay as light as they are."""
    body = context.get("body", "")
    if pagename == "search":
        app.add_js_file(None, body=NO_EXCERPTS)
    if PLAYGROUND in body:
        app.add_js_file("playground.js", loading_method="defer")
        app.add_css_file("playground.css")
    if EXPLORER in body and not any("widgets.js" in _words(script) for script in context["script_files"]):
        app.add_js_file("widgets.js")


def describe(app, pagename, templatename, context, doctree):
    """Title, first sentences and picture for previews; with a public address also where the page is."""
    address, here = app.config.html_baseurl, context["pathto"]
    if pagename == "404" and address:  # it is shown at any depth, so its links start from the site's root
        context["metatags"] = f'<base href="{escape(urlsplit(address).path)}">' + context.get("metatags", "")
    if doctree is None:
        return
    title = re.sub("<[^>]+>", "", context["title"])
    tags = {"og:title": title, "og:type": "article", "og:site_name": escape(app.config.html_title)}
    tags |= {"og:description": escape(summary(doctree)), "og:image:alt": escape(SOCIAL_WORDS)}
    tags["og:image"] = urljoin(address, SOCIAL) if address else here(SOCIAL, 1)
    if address:
        tags["og:url"] = urljoin(address, app.builder.get_target_uri(pagename))
    named = {"description": tags["og:description"], "twitter:card": "summary_large_image"}
    context["metatags"] += "".join(f'<meta property="{name}" content="{text}">\n' for name, text in tags.items())
    context["metatags"] += "".join(f'<meta name="{name}" content="{text}">\n' for name, text in named.items())


def summary(doctree, most=200):
    """A page -> its first paragraph of at least ten words, cut between words."""
    texts = (" ".join(node.astext().split()) for node in doctree.findall(nodes.paragraph))
    text = next((text for text in texts if len(text.split()) >= 10), "").removeprefix("The question. ")
    return text if len(text) <= most else text[: text.rindex(" ", 0, most)] + " …"


def wrong_address(app):
    """The page that a server shows for an address that does not exist."""
    yield "404", {"title": "No such page", "body": WRONG}, "page.html"


def write_for_robots(app, exception):
    """robots.txt, and where the public address is known the list of all pages."""
    address, folder = app.config.html_baseurl, Path(app.outdir)
    if exception is not None or app.builder.format != "html":
        return
    lines = ["User-agent: *", "Allow: /"]
    if address:
        lines.append(f"Sitemap: {urljoin(address, 'sitemap.xml')}")
        places = [urljoin(address, app.builder.get_target_uri(name)) for name in sorted(app.env.found_docs)]
        rows = "".join(f"<url><loc>{escape(place)}</loc></url>\n" for place in places)
        head = '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        (folder / "sitemap.xml").write_text(f"{head}{rows}</urlset>\n", encoding="utf-8")
    (folder / "robots.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


class Explorer(SphinxDirective):
    """```{explorer} NAME: a shipped network, its weights in the page; what stands inside is for Jupyter alone."""

    required_arguments = 1
    has_content = True

    def run(self):
        from ganlib.checkpoint import ASSETS, load_generator
        from ganlib.widgets import BROWSER, explore

        name = self.arguments[0]
        for path in (ASSETS / f"{name}.pt", *BROWSER.iterdir()):
            self.env.note_dependency(str(path))
        widget = explore(load_generator(name)[0])
        data = embed_data(views=[widget], state=dependency_state([widget], drop_defaults=False))
        text = json.dumps(data["manager_state"]).replace(widget.model_id, f"{EXPLORER}-{name}").replace("</", "<\\/")
        view = json.dumps({"model_id": f"{EXPLORER}-{name}"})
        kind = "application/vnd.jupyter.widget"
        html = f'<script type="{kind}-view+json">{view}</script><script type="{kind}-state+json">{text}</script>'
        return [nodes.raw("", f'<div class="cell_output">{html}</div>', format="html")]


def _words(script):
    """A script of a page -> its file name and its text."""
    return f"{script.filename} {getattr(script, 'attributes', {}).get('body', '')}"
