"""A Sphinx extension for what Jupyter Book's config cannot say about this site.

Formulas are set by a MathJax file inside the site, so that it also works without a network and from a folder; where
the package that holds it is not installed, Sphinx's own address is used and the build says so. Thebe's scripts, which
nothing uses, go. The playground's script and style come to every page that has a place for it. And an explorer of a
shipped network may stand on a page whose notebook would be too large with the weights inside.
"""

import json
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from ipywidgets.embed import dependency_state, embed_data
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

MATHJAX = "tex-svg-full.js"  # the variant that fetches no fonts
PLAYGROUND, EXPLORER = 'class="gan-playground"', "shipped-explorer"
logger = logging.getLogger(__name__)


def setup(app):
    app.add_directive("explorer", Explorer)
    app.connect("config-inited", use_local_mathjax)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", mend_citations)
    app.connect("html-page-context", bring_scripts)
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
    if PLAYGROUND in body:
        app.add_js_file("playground.js", loading_method="defer")
        app.add_css_file("playground.css")
    if EXPLORER in body and not any("widgets.js" in _words(script) for script in context["script_files"]):
        app.add_js_file("widgets.js")


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
