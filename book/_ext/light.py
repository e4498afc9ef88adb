"""Scripts in the head of a page do not hold it up.

Themes and extensions add theirs so that each is fetched and run before the text is read
on. Here all run after the text, in their order; a widget's own comes first.
"""

# Small, and read by scripts in the page itself.
AT_ONCE = "documentation_options.js"
WIDGETS = "playground.js", "trainer.js", "widgets.js", "sliders.js", "dirac.js"


def setup(app):
    app.connect("html-page-context", defer, priority=990)
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
