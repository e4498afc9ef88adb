"""A Sphinx extension for what Jupyter Book's config cannot say about this site.

Formulas are set by a MathJax file inside the site, so that it also works without a network and from a folder; where
the package that holds it is not installed, Sphinx's own address is used and the build says so. Thebe's scripts, which
nothing uses, go. The playground's script and style come to every page that has a place for it.
"""

from importlib.util import find_spec
from pathlib import Path

from sphinx.util import logging

MATHJAX = "tex-svg-full.js"  # the variant that fetches no fonts
PLAYGROUND = 'class="gan-playground"'
logger = logging.getLogger(__name__)


def setup(app):
    app.connect("config-inited", use_local_mathjax)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", mend_citations)
    app.connect("html-page-context", bring_playground)
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


def bring_playground(app, pagename, templatename, context, doctree):
    """A page with a place for the playground gets its script and its style; the others stay as light as they are."""
    if PLAYGROUND in context.get("body", ""):
        app.add_js_file("playground.js", loading_method="defer")
        app.add_css_file("playground.css")


def _words(script):
    """A script of a page -> its file name and its text."""
    return f"{script.filename} {getattr(script, 'attributes', {}).get('body', '')}"
