"""Run notebooks in place, top to bottom, and store their outputs with nothing in them that changes from run to run."""

import base64
import io
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

from ganlib.data import load

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def run(path):
    """Execute the notebook at `path` in its own folder and write it back, outputs and all."""
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=1800,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # of a progress bar only the last state is stored, not every line that it wrote over
        resources={"metadata": {"path": path.parent}},
    )
    client.execute()
    normalise(notebook)
    nbformat.write(name_widgets(notebook), path)


def normalise(notebook):
    """Drop what is not content: kernel versions and cell states."""
    widgets = notebook.metadata.get("widgets")
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    if widgets:
        notebook.metadata["widgets"] = widgets
    for cell in notebook.cells:
        kept = {key: cell.metadata[key] for key in sorted(cell.metadata) if key in ("tags", "mystnb")}
        cell.metadata = nbformat.from_dict(kept)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = smaller(output.data["image/png"])


def smaller(figure):
    """PNG in base64 -> the same picture with at most 256 colours, about half as long."""
    with Image.open(io.BytesIO(base64.b64decode(figure))) as picture:
        flat = Image.new("RGB", picture.size, "white")
        flat.paste(picture, mask=picture.getchannel("A") if "A" in picture.getbands() else None)
    grey = all(red == green == blue for _, (red, green, blue) in flat.getcolors(flat.width * flat.height))
    packed = io.BytesIO()
    (flat.convert("L") if grey else flat.quantize(dither=Image.Dither.NONE)).save(packed, "png", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def name_widgets(notebook):
    """The notebook with its widgets' random ids replaced by their order, so that a second run stores the same ids."""
    stored = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    text = nbformat.writes(notebook)
    for place, name in enumerate(stored.get("state", {})):
        text = text.replace(name, f"{place:032x}")
    return nbformat.reads(text, as_version=4)


def main(names):
    load("mnist", fallback=False)  # outputs made on the fall-back digits must never be stored
    paths = [path for path in sorted(NOTEBOOKS.glob("*.ipynb")) if not names or path.stem in names]
    for path in paths:
        print(f"running {path.name}", flush=True)
        run(path)


if __name__ == "__main__":
    main({Path(name).stem for name in sys.argv[1:]})
