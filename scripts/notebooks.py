"""Run notebooks in place, top to bottom, and store their outputs.

    python -m scripts.notebooks          all
    python -m scripts.notebooks 08 09    these

Nothing is stored that changes from run to run: no times, versions or random ids.
"""

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from ganlib.data import load

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"


def run(path: Path) -> None:
    """Execute a notebook in its own folder and write it back, outputs and all."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # of a progress bar only the last state is stored
        resources={"metadata": {"path": path.parent}},
    )
    client.execute()
    normalise(notebook)
    nbformat.write(name_widgets(notebook), path)


def normalise(notebook: NotebookNode) -> None:
    """Drop what is not content: kernel versions and cell states."""
    widgets = notebook.metadata.get("widgets")
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}}
    )
    if widgets:
        notebook.metadata["widgets"] = widgets
    for cell in notebook.cells:
        kept = {}
        for key in ("mystnb", "tags"):
            if key in cell.metadata:
                kept[key] = cell.metadata[key]
        cell.metadata = nbformat.from_dict(kept)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])


def smaller(figure: str) -> str:
    """PNG in base64 -> the same picture in 256 colours, transparent where it was."""
    with Image.open(io.BytesIO(base64.b64decode(figure))) as picture:
        rgba = picture.convert("RGBA")
    packed = io.BytesIO()
    reduced = rgba.quantize(256, method=Image.Quantize.FASTOCTREE)
    reduced.save(packed, "png", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def name_widgets(notebook: NotebookNode) -> NotebookNode:
    """Replace the random ids of widgets by their order, the same in every run."""
    stored = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {})
    text = nbformat.writes(notebook)
    for place, name in enumerate(stored.get("state", {})):
        text = text.replace(name, f"{place:032x}")
    return nbformat.reads(text, as_version=4)


def main(names: list[str]) -> None:
    # Outputs made on the digits of scikit-learn must never be stored.
    load("mnist", fallback=False)
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if not names or path.stem in names or path.stem[:2] in names:
            print(f"running {path.name}", flush=True)
            run(path)


if __name__ == "__main__":
    main([Path(name).stem for name in sys.argv[1:]])
