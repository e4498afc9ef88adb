"""A Sphinx extension for what Jupyter Book's config cannot say about this site.

- Thebe's scripts, which nothing uses, go.
- The playground's script and style come only to pages that have a place for it.
- Three directives show a shipped network: `explorer` its weights in a widget, on pages
  whose notebook would be too large with them inside, `network-facts` the metadata of
  its file, and `network-scores` a table of the scores in it.
- Buttons and links that need the repository's address get it, as scripts/set_address.py
  finds it; where there is none, they are left out.
- The directive `train-in-browser` makes a place in which the reader's browser trains a
  GAN; its scripts, too, come only to pages that have one.
- The foot of every page links to the page of symptoms.
- Every page has what a preview of it shows; a page for wrong addresses, robots.txt and,
  once html.baseurl in _config.yml names the public address, a sitemap are written.
  (The usual extensions for these need that address to begin with.)
"""

import json
import re
import sys
from html import escape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import torch
from docutils import nodes
from docutils.statemachine import StringList
from ipywidgets.embed import dependency_state, embed_data
from outputs import lines_html
from sphinx.util.docutils import SphinxDirective

from ganlib.checkpoint import ASSETS, load_generator, read_metadata
from ganlib.errors import GanlibError
from ganlib.results import RESULTS, load_result
from ganlib.sampling import sample_noise
from ganlib.widgets import BROWSER, edit, explore
from ganlib.widgets import Explorer as ExplorerWidget

sys.path.append(str(Path(__file__).parents[2]))
from scripts import set_address

PLAYGROUND = 'class="gan-playground"'
TRAINER = "gan-trainer"  # and gt-compact
EXPLORER = "shipped-explorer"
FIRST = 11  # seed of the noise that a widget with sliders begins with
HELP = "book/my_gan_does_not_work"
SOCIAL = "_static/social.png"
SOCIAL_WORDS = (
    "Handwritten digits that come out of noise while a generator learns."  # its alt
)
NO_SUCH_PAGE = (
    "<h1>There is no such page</h1>"
    "<p>It may have moved; the contents and the search know all pages.</p>"
)
SITEMAP = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{}</urlset>\n'
)
WIDGET = "application/vnd.jupyter.widget"
# Too long to show, or shown by network-scores.
LISTS = "history", "scores_by_epoch", "modules", "behaviour"
SCORES = {  # a score, its words, which way is better, and its digits behind the point
    "frechet": ("{term}`Fréchet distance`", "low", 1),
    "frechet_even": ("the same, classes weighed evenly", "low", 1),
    "kid": ("{term}`kernel distance`", "low", 1),
    "precision": ("{term}`precision`", "high", 3),
    "recall": ("{term}`recall`", "high", 3),
    "density": ("{term}`density`", "near 1", 3),
    "coverage": ("{term}`coverage`", "high", 3),
    "classes": ("classes that occur", "high", 0),
    "kl": ("KL divergence from the real shares of classes", "low", 3),
}
KID_ERROR = "the standard error of the kernel distance"
OF_SPREAD = {  # what ± is of the other scores, by the channels of the images
    1: "the standard deviation over five other draws of noise from the same network",
    3: "the standard deviation over samples drawn again from these (a bootstrap)",
}
NEAREST = {
    "training": "median distance to the nearest of 4,000 training images",
    "unseen": "the same to 4,000 images that it has not seen",
    "real": "the same between training images",
}

# Parts of a page for a book that has an address, and for one that has none.
DEAD_LINK = re.compile(
    rf"\[([^][]*)\]\(https://github\.com/{set_address.PLACEHOLDER}[^)\s]*\)"
)
PART = re.compile(r"^% (with|without) address\n(.*?)^% end\n", re.M | re.S)


def setup(app):
    app.add_directive("explorer", Explorer)
    app.add_directive("network-facts", NetworkFacts)
    app.add_directive("network-scores", NetworkScores)
    app.add_config_value("book_repository", None, "env")
    app.add_directive("train-in-browser", TrainInBrowser)
    app.connect("config-inited", find_repository)
    app.connect("source-read", fill_in_repository)
    app.connect("doctree-read", unlink_nowhere)
    app.connect("html-page-context", drop_thebe, priority=900)
    app.connect("html-page-context", mend_citations)
    app.connect("html-page-context", add_scripts)
    app.connect("html-page-context", describe)
    app.connect("html-page-context", link_help)
    app.connect("html-collect-pages", page_404)
    app.connect("build-finished", write_for_robots)
    app.connect("build-finished", mend_downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def find_repository(app, config):
    """Point the buttons at the repository, or leave them out if it has no address."""
    if config.book_repository is None:
        config.book_repository = set_address.find() or ""
    options = config.html_theme_options
    if config.book_repository:
        options["repository_url"] = f"https://github.com/{config.book_repository}"
        return
    options.pop("repository_url", None)
    options["launch_buttons"] = {}
    for button in ("repository", "issues", "edit_page", "source"):
        options.pop(f"use_{button}_button", None)


def fill_in_repository(app, docname, source):
    """The address for its placeholder, and the parts of a page that are for it."""
    slug = app.config.book_repository
    wanted = "with" if slug else "without"
    text = PART.sub(lambda part: part[2] if part[1] == wanted else "", source[0])
    source[0] = text.replace(set_address.PLACEHOLDER, slug) if slug else text


def unlink_nowhere(app, doctree):
    """Leave the words of links to a repository that has no address, not the links."""
    for link in list(doctree.findall(nodes.reference)):
        if set_address.PLACEHOLDER in link.get("refuri", ""):
            link.replace_self(link.children)


def mend_downloads(app, exception):
    """The same in the notebooks and texts that a page offers for download."""
    if exception or app.builder.name != "html":
        return
    for path in Path(app.outdir, "_sources").rglob("*.*"):
        text = path.read_text(encoding="utf-8")
        if set_address.PLACEHOLDER in text:
            mended = with_repository(text, app.config.book_repository)
            path.write_text(mended, encoding="utf-8", newline="\n")


def with_repository(text, slug):
    """Markdown with links to the repository, or their words if it has no address."""
    if slug:
        return text.replace(set_address.PLACEHOLDER, slug)
    return DEAD_LINK.sub(r"\1", text)


def drop_thebe(app, pagename, templatename, context, doctree):
    """Remove Thebe's settings: they come twice, which is an error in the browser."""
    for files in ("script_files", "css_files"):
        context[files] = [
            file for file in context[files] if "thebe" not in _text_of(file).lower()
        ]


def mend_citations(app, pagename, templatename, context, doctree):
    """Take role="list" off the references, whose entries docutils gives another role.

    A screen reader would find an empty list.
    """
    if "body" in context:
        for wrong in (
            'class="citation-list" role="list"',
            'role="list" class="citation-list"',
        ):
            context["body"] = context["body"].replace(wrong, 'class="citation-list"')


def add_scripts(app, pagename, templatename, context, doctree):
    """Give pages with the playground or an explorer what draws it, and no others."""
    body = context.get("body", "")
    if PLAYGROUND in body:
        app.add_js_file("playground.js", loading_method="defer")
        app.add_css_file("playground.css")
    if TRAINER in body:
        app.add_js_file("trainer.js", loading_method="defer")
        app.add_css_file("trainer.css")
    scripts = " ".join(_text_of(script) for script in context["script_files"])
    if EXPLORER in body and "widgets.js" not in scripts:
        app.add_js_file("widgets.js")


def describe(app, pagename, templatename, context, doctree):
    """Title, first sentences and picture for previews; the address, if there is one."""
    address = app.config.html_baseurl
    here = context["pathto"]
    if pagename == "404" and address:
        # It is shown at any depth, so its links start from the site's root.
        base = f'<base href="{escape(urlsplit(address).path)}">'
        context["metatags"] = base + context.get("metatags", "")
    if doctree is None:
        return
    words = escape(summary(doctree))
    properties = {
        "og:title": re.sub("<[^>]+>", "", context["title"]),
        "og:type": "article",
        "og:site_name": escape(app.config.html_title),
        "og:description": words,
        "og:image": urljoin(address, SOCIAL) if address else here(SOCIAL, 1),
        "og:image:alt": escape(SOCIAL_WORDS),
    }
    if address:
        properties["og:url"] = urljoin(address, app.builder.get_target_uri(pagename))
    named = {"description": words, "twitter:card": "summary_large_image"}
    for kind, tags in (("property", properties), ("name", named)):
        for name, text in tags.items():
            context["metatags"] += f'<meta {kind}="{name}" content="{text}">\n'


def link_help(app, pagename, templatename, context, doctree):
    """A link from the foot of every page to the page of symptoms."""
    place = context["pathto"](HELP)
    context["theme_extra_footer"] = f'<a href="{place}">My GAN does not work</a>'


def summary(doctree, most=200):
    """The first paragraph of at least ten words, cut between words."""
    for paragraph in doctree.findall(nodes.paragraph):
        text = " ".join(paragraph.astext().split())
        if len(text.split()) >= 10:
            text = text.removeprefix("The question. ")
            if len(text) <= most:
                return text
            return text[: text.rindex(" ", 0, most)] + " …"
    return ""


def page_404(app):
    """The page that a server shows for an address that does not exist."""
    yield "404", {"title": "No such page", "body": NO_SUCH_PAGE}, "page.html"


def write_for_robots(app, exception):
    """robots.txt, and where the public address is known the list of all pages."""
    if exception is not None or app.builder.format != "html":
        return
    address = app.config.html_baseurl
    folder = Path(app.outdir)
    robots = "User-agent: *\nAllow: /\n"
    if address:
        robots += f"Sitemap: {urljoin(address, 'sitemap.xml')}\n"
        rows = ""
        for name in sorted(app.env.found_docs):
            place = urljoin(address, app.builder.get_target_uri(name))
            rows += f"<url><loc>{escape(place)}</loc></url>\n"
        sitemap = SITEMAP.format(rows)
        (folder / "sitemap.xml").write_text(sitemap, encoding="utf-8")
    (folder / "robots.txt").write_text(robots, encoding="utf-8")


class Explorer(SphinxDirective):
    """```{explorer} NAME```: a shipped network with its weights, in a widget.

    What stands inside the directive is shown in Jupyter, which does not know it. With
    `{explorer} NAME RESULT` there is a slider for each of the "directions" of a stored
    result.
    """

    required_arguments = 1
    optional_arguments = 1
    has_content = True

    def run(self):
        name, *results = self.arguments
        stored = [RESULTS / f"{result}.json" for result in results]
        for path in (ASSETS / f"{name}.safetensors", *BROWSER.iterdir(), *stored):
            self.env.note_dependency(str(path))
        try:
            widget = widget_of(name, *results)
        except GanlibError as error:
            raise self.error(str(error)) from None
        state = dependency_state([widget], drop_defaults=False)
        data = embed_data(views=[widget], state=state)["manager_state"]
        # The same id at each build, and no end of a script within the script.
        model_id = f"{EXPLORER}-{name}"
        text = json.dumps(data).replace(widget.model_id, model_id)
        text = text.replace("</", "<\\/")
        html = (
            '<div class="cell_output">'
            f'<script type="{WIDGET}-view+json">{{"model_id": "{model_id}"}}</script>'
            f'<script type="{WIDGET}-state+json">{text}</script>'
            "</div>"
        )
        return [nodes.raw("", html, format="html")]


def widget_of(name, result=None):
    """An explorer of a shipped network; with the name of a result, an editor."""
    G, config = load_generator(name)
    if result is None:
        return explore(G)
    directions = load_result(result)["directions"]
    vectors = {what: torch.tensor(one) for what, one in directions.items()}
    return edit(G, vectors, sample_noise(1, config.latent_dim, seed=FIRST)[0])


class TrainInBrowser(SphinxDirective):
    """```{train-in-browser}```: a place in which the reader's browser trains a GAN.

    What stands inside the directive is shown until training starts, and stays where
    there is no JavaScript. The explorer's own module opens on what was trained. With
    the argument `compact` there is only a button beside it until then.
    """

    optional_arguments = 1
    has_content = True

    def run(self):
        for path in BROWSER.iterdir():
            self.env.note_dependency(str(path))
        place = nodes.Element()
        self.state.nested_parse(self.content, self.content_offset, place)
        parts = {"esm": ExplorerWidget._esm, "css": ExplorerWidget._css}
        text = json.dumps(parts).replace("</", "<\\/")
        if self.arguments not in ([], ["compact"]):
            raise self.error(f"The argument may be compact, not {self.arguments[0]}.")
        kind = f"{TRAINER} gt-compact" if self.arguments else TRAINER
        start = f'<div class="{kind}">'
        end = f'<script type="application/json" data-explorer>{text}</script></div>'
        return [
            nodes.raw("", start, format="html"),
            *place.children,
            nodes.raw("", end, format="html"),
        ]


class NetworkFacts(SphinxDirective):
    """```{network-facts} NAME```: what the file of a shipped network says, folded."""

    required_arguments = 1

    def run(self):
        name = self.arguments[0]
        self.env.note_dependency(str(ASSETS / f"{name}.safetensors"))
        try:
            facts = read_metadata(name)
        except GanlibError as error:
            raise self.error(str(error)) from None
        lines = []
        for key in sorted(facts.keys() - set(LISTS)):
            text = json.dumps(_rounded(facts[key]), ensure_ascii=False, indent=2)
            lines.append(f"{key}: {text}")
        title = f"<summary>The metadata of {escape(name)}.safetensors</summary>"
        text = "\n".join(lines)
        html = f"<details>{title}{lines_html(text)}</details>"
        return [nodes.raw("", html, format="html")]


class NetworkScores(SphinxDirective):
    """```{network-scores} NAME NAME```: a table of what shipped networks score.

    Below it stands what each ± is.
    """

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        names = self.arguments[0].split()
        for name in names:
            self.env.note_dependency(str(ASSETS / f"{name}.safetensors"))
        try:
            facts = [read_metadata(name) for name in names]
        except GanlibError as error:
            raise self.error(str(error)) from None
        lines = scores_table(names, facts)
        node = nodes.Element()
        self.state.nested_parse(StringList(lines, source="network-scores"), 0, node)
        return node.children


def scores_table(names, facts):
    """Lines of a Markdown table: a row for each score, a column for each network."""
    heads = ["Measure", "Better", *(f"`{name}`" for name in names)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for score, (words, better, digits) in SCORES.items():
        cells = [_score(one, score, digits) for one in facts]
        if any(cells):
            lines.append(f"| {words} | {better} | {' | '.join(cells)} |")
    for key, words in NEAREST.items():
        values = [one.get("nearest", {}).get(key) for one in facts]
        cells = ["–" if value is None else f"{value:.2f}" for value in values]
        if set(cells) != {"–"}:
            lines.append(f"| {words} | | {' | '.join(cells)} |")
    for words, about in (
        ("trained", facts),
        ("scored", [one.get("scored", one) for one in facts]),
    ):
        cells = [f"`{one['commit']}`" for one in about]
        lines.append(f"| commit that {words} it | | {' | '.join(cells)} |")
    kinds = {OF_SPREAD[one["config"]["channels"]] for one in facts}
    return [
        *lines,
        "",
        f"± is {KID_ERROR}, and of the others {' or '.join(sorted(kinds))}.",
    ]


def _score(facts, score, digits):
    """A cell of the table: the score and its spread; nothing if there is none."""
    value = facts["scores"].get(score)
    if value is None:
        return ""
    spread = facts.get("spread", {}).get(score)
    if score == "kid":
        spread = facts["scores"].get("kid_error")
    plus_minus = "" if spread is None else f"\u202f±\u202f{spread:.{max(digits, 1)}f}"
    return f"{value:.{digits}f}{plus_minus}"


def _rounded(value):
    """A fact with its fractions to four digits, however deep it is nested."""
    if isinstance(value, dict):
        return {
            key: _rounded(inner) for key, inner in value.items() if key not in LISTS
        }
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _text_of(script):
    """A script of a page -> its file name and its text."""
    return f"{script.filename} {getattr(script, 'attributes', {}).get('body', '')}"
