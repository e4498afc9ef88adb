"""Write the table of results into README.md, from what is stored in ganlib/assets.

    python -m scripts.results_table

A recipe has several runs, one for each seed, or else the one run whose network ships
with ganlib.
"""

from pathlib import Path

from ganlib.recipes import RECIPES
from ganlib.results import distance_text, spread, summary

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- results -->\n", "<!-- end of results -->\n"
HEAD = (
    "| Recipe | Minutes | Fréchet | Precision | Recall | Seeds | Code |\n"
    "| --- | --- | --- | --- | --- | --- | --- |\n"
)


def table() -> str:
    """The table in Markdown, the recipes in the order of ganlib/recipes.py."""
    rows = [row for row in map(row_of, RECIPES) if row]
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def row_of(name: str) -> list[str]:
    """The cells of a recipe; none if there is neither a row of scores nor a network."""
    stored = summary(name)
    if stored is None:
        return []
    scores, seconds = stored["scores"], stored["seconds"]
    minutes = "–" if seconds is None else f"{seconds / 60:.1f}"
    cells = [minutes, distance_text(stored)]
    for score in ("precision", "recall"):
        values = [run[score] for run in scores]
        cells.append(spread(values, 3, stored["spread"].get(score)))
    commits = ", ".join(f"`{commit}`" for commit in stored["commits"])
    cells = [cell.replace(" ± ", "\u202f±\u202f") for cell in cells]  # in one line
    return [f"`{name}`", *cells, str(max(1, len(scores))), commits]


def in_readme() -> str:
    """The table that stands in README.md."""
    return README.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]


def main() -> None:
    text = README.read_text(encoding="utf-8")
    new = text.replace(BEGIN + in_readme(), BEGIN + table())
    README.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
