"""A Sphinx extension for the two things that Jupyter Book's config cannot say about this site.

Formulas are set by a MathJax file inside the site, so that it also works without a network and from a folder; where
the package that holds it is not installed, Sphinx's own address is used. Thebe's scripts, which nothing uses, go.
"""

from importlib.util import find_spec
from pathlib import Path

MATHJAX = "tex-svg-full.js"  # the variant that fetches no fonts


def setup(app):
    app.connect("config-inited", use_local_mathjax)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", mend_citations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def use_local_mathjax(app, config):
    """Point Sphinx to the MathJax of the package sphinx-mathjax-offline and copy that one file."""
    package = find_spec("sphinx-mathjax-offline")
    if package is not None:
        script = Path(package.origin).parent / "static" / "mathjax" / MATHJAX
        config.html_static_path.append(str(script))
        config.mathjax_path = MATHJAX


def drop_thebe(app, pagename, templatename, context, doctree):
    """Jupyter Book adds Thebe's settings twice to every page, which is an error in the browser."""
    scripts = context["script_files"]
    context["script_files"] = [script for script in scripts if "thebe" not in _words(script).lower()]


def mend_citations(app, pagename, templatename, context, doctree):
    """docutils calls the references a list and its entries something else: a screen reader would find an empty list."""
    if "body" in context:
        context["body"] = context["body"].replace('class="citation-list" role="list"', 'class="citation-list"')
        context["body"] = context["body"].replace('role="list" class="citation-list"', 'class="citation-list"')


def _words(script):
    """A script of a page -> its file name and its text."""
    return f"{script.filename} {getattr(script, 'attributes', {}).get('body', '')}"
