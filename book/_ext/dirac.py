"""```{dirac}```: the Dirac-GAN to play with, two numbers and a path for each loss.

What stands inside the directive is its caption. Without JavaScript only that is there:
the page itself draws the paths from one start.
"""

from docutils import nodes
from sphinx.util.docutils import SphinxDirective


def setup(app):
    app.add_directive("dirac", DiracDirective)
    app.connect("html-page-context", add_script)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def add_script(app, pagename, templatename, context, doctree):
    """The script comes to pages that have the figure."""
    if 'class="dirac-figure"' in context.get("body", ""):
        app.add_js_file("dirac.js", loading_method="defer")


class DiracDirective(SphinxDirective):
    has_content = True

    def run(self):
        caption = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, caption)
        return [
            nodes.raw("", '<figure class="dirac-figure"><figcaption>', format="html"),
            *caption.children,
            nodes.raw("", "</figcaption></figure>", format="html"),
        ]
