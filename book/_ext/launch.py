"""Under the title of each notebook: where to run it, in words.

Colab and Binder need the repository's address and are left out where there is none; the
file itself can always be had.
"""

COLAB = "https://colab.research.google.com/github/{slug}/blob/{branch}/{name}.ipynb"
BINDER = "https://mybinder.org/v2/gh/{slug}/{branch}?urlpath=lab/tree/{name}.ipynb"
TITLE_END = "</h1>"


def setup(app):
    app.connect("html-page-context", add_links)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def add_links(app, pagename, templatename, context, doctree):
    """Put the links behind the title."""
    source = context.get("sourcename", "")
    if not source.endswith(".ipynb") or TITLE_END not in context.get("body", ""):
        return
    links = []
    slug = app.config.book_repository
    if slug:
        branch = app.config.html_theme_options.get("repository_branch") or "main"
        place = {"slug": slug, "branch": branch, "name": pagename}
        links += [
            ("run-main", COLAB.format(**place), "Run in Colab"),
            ("", BINDER.format(**place), "Run in Binder"),
        ]
    file = context["pathto"](f"_sources/{source}", 1)
    links.append(("", f'{file}" download="', "Download the notebook"))
    anchors = " ".join(
        f'<a class="{kind}" href="{url}">{words}</a>' for kind, url, words in links
    )
    start, end, rest = context["body"].partition(TITLE_END)
    context["body"] = f'{start}{end}\n<p class="run-here">{anchors}</p>{rest}'
