"""Scripts in the head of a page do not hold it up.

Themes and extensions add theirs so that each is fetched and run before the text is read
on. Here all run after the text, in their order; a widget's own comes first.

The theme leaves it to a script to say whether the page is light or dark, and without an
answer it has no colours: a page is light until then.
"""

# Small, and read by scripts in the page itself.
AT_ONCE = "documentation_options.js"
AUTO, LIGHT = ' data-theme="auto">', ' data-theme="light">'
WIDGETS = "playground.js", "trainer.js", "widgets.js", "sliders.js", "dirac.js"


def setup(app):
    app.connect("html-page-context", defer, priority=990)
    app.connect("build-finished", begin_light)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def defer(app, pagename, templatename, context, doctree):
    """Give scripts the attribute `defer`; search.html gives it to those of its own."""
    scripts = context["script_files"]
    for script in scripts:
        name = str(script.filename or "")
        if name and AT_ONCE not in name:
            script.attributes["defer"] = "defer"
            script.attributes.pop("async", None)
    context["script_files"] = sorted(
        scripts, key=lambda one: not str(one.filename or "").endswith(WIDGETS)
    )


def begin_light(app, exception):
    """Write `light` where the theme's template wrote `auto`, which no style knows."""
    if exception is not None or app.builder.format != "html":
        return
    for path in app.outdir.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if AUTO in text:
            path.write_text(text.replace(AUTO, LIGHT, 1), encoding="utf-8")
