"""List the stored results whose code has changed since they were made.

    python -m experiments.stale
    python -m experiments.stale --verified scoreboard/mnist-on-mnist "network faces"

Looks at the results in ganlib/assets/experiments, at the shipped networks, their scores
and the starts, and at RESULTS.md; ends with 1 if any is stale. A result with digests of
its code is compared by them, so that comments and docstrings do not count; one without,
by what git says differs from its commit. Code that differs but still trains and scores
alike in the short runs of `common.behaviour` makes nothing stale. --verified marks
results that the code as it stands would make too, only after you have checked that: they
keep the commit that made them and get the one that they were verified at. A network with
the fact "exhibit" is shown for what older code made of it, so no newer code makes it
stale; such are listed apart.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from experiments import common
from experiments.common import code_digests, git, write_json
from ganlib.checkpoint import ASSETS, read_metadata, shipped
from ganlib.errors import GanlibError
from ganlib.recipes import RECIPES, recipe
from ganlib.results import RESULTS
from ganlib.transfer import STARTS

OLDEST = "312366d"  # the commit of what was stored before commits were
BENCHMARKS = Path(__file__).with_name("RESULTS.md")


def stored() -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, what is known of where it comes from) of everything that is stored."""
    for path in sorted(RESULTS.rglob("*.json")):
        name = path.relative_to(RESULTS).with_suffix("").as_posix()
        yield name, json.loads(path.read_text(encoding="utf-8"))
    for name in shipped():
        metadata = read_metadata(name)
        yield f"network {name}", metadata
        yield f"scores of {name}", metadata.get("scored", {})
    for path in sorted(STARTS.glob("*.safetensors")):
        yield f"start {path.stem}", read_metadata(path)
    found = re.search(r"<!-- (\{.*\}) -->", BENCHMARKS.read_text(encoding="utf-8"))
    yield BENCHMARKS.name, json.loads(found[1]) if found else {}


def changed(name: str, about: dict[str, Any]) -> list[str]:
    """What has changed since a result was made, of the parts of ganlib/ behind it."""
    if "exhibit" in about:
        return []
    now = code_digests(name)
    made_by = about.get("modules")
    if made_by is None:
        commit = about.get("commit", OLDEST).removesuffix("+changes")
        what = [module for module in now if differs(commit, module)]
    else:
        modules = sorted(made_by.keys() | now.keys())
        what = [one for one in modules if made_by.get(one) != now.get(one)]
    if what and is_probed(about) and common.behaves_alike(about["behaviour"]):
        what = [module for module in what if module not in common.PROBED]
    if name.startswith(("scoreboard/", "network ")) and recipe_differs(about):
        what.append("the recipe")
    return what


def is_probed(about: dict[str, Any]) -> bool:
    """Whether the short runs of `common.behaviour` show all that a result depends on."""
    config = about.get("config", {})
    return "behaviour" in about and not any(map(config.get, common.UNPROBED))


@cache
def differs(commit: str, module: str) -> bool:
    """Whether a file or folder of ganlib/ is another now than at a commit.

    So it is taken to be where git does not know the commit, as in a shallow clone.
    """
    path = f"ganlib/{module}"
    untracked = git("ls-files", "--others", "--exclude-standard", "--", path)
    return git("diff", "--name-only", commit, "--", path) != "" or untracked != ""


def recipe_differs(about: dict[str, Any]) -> bool:
    """Whether the recipe that a config names has other numbers by now."""
    config = about["config"]
    if config["recipe"] not in RECIPES:
        return False
    now = vars(recipe(config["recipe"], dataset=config["dataset"]))
    return not common.same_config(config, {**now, "seed": config["seed"]})


def table() -> list[tuple[str, str, str]]:
    """(result, commit, what has changed) of every result that is stale."""
    rows = []
    for name, about in stored():
        what = changed(name, about)
        if what:
            rows.append((name, about.get("commit", OLDEST), ", ".join(what)))
    return rows


def verify(name: str, folder: Path = RESULTS) -> None:
    """Mark a result, or the weights of a shipped network, as what today's code makes."""
    facts = {
        "modules": code_digests(name),
        "behaviour": common.behaviour(),
        "verified": common.commit(),
    }
    network = name.removeprefix("network ")
    if network != name and network in shipped():
        common.set_facts(ASSETS / f"{network}.safetensors", facts)
        return
    path = folder / f"{name}.json"
    if not path.is_file():
        raise GanlibError(
            f"There is no {path} and no {name!r}; only such results can be marked."
        )
    content = json.loads(path.read_text(encoding="utf-8"))
    write_json(name, content | facts, folder)


def exhibits() -> list[str]:
    """The names, and the commits, of what is kept as older code made it."""
    return [
        f"{name} ({about.get('commit', OLDEST)})"
        for name, about in stored()
        if "exhibit" in about
    ]


def main() -> None:
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--verified", nargs="+", default=[], metavar="RESULT")
    for name in made.parse_args().verified:
        verify(name)
    rows = table()
    for row in rows:
        print("{:42} {:16} {}".format(*row))
    print("Kept as older code made them:", ", ".join(exhibits()) or "none")
    if rows:
        sys.exit(1)
    print("No stored result is stale.")


if __name__ == "__main__":
    main()
