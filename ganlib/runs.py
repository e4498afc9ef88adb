"""The study: a run as a folder of files, each of them whole: networks, history, samples, and what resuming needs."""

import csv
import io

from ganlib.checkpoint import load_checkpoint, save_checkpoint, save_generator
from ganlib.config import GanlibError
from ganlib.files import write_whole
from ganlib.models import draw_noise, sample
from ganlib.show import save_tile
from ganlib.train import Record, new_state

GRID = 64  # images in each samples/epoch-0001.png


def new_run(config, out, device):
    """Config -> a State at epoch 0; an old run in the folder `out` is never written over."""
    if any((out / name).exists() for name in ("checkpoint.pt", "generator.pt", "history.csv")):
        raise GanlibError(f"{out} holds a run already; go on with --resume, or choose another --out.")
    return new_state(config, device)


def resume_run(config, changes, out, device):
    """The State saved in `out`, with its own config; what `changes` names must agree with it, but for the epochs."""
    epochs = {name: changes[name] for name in ("epochs",) if name in changes}
    state = load_checkpoint(out / "checkpoint.pt", device, **epochs)
    said = ["recipe", *changes]
    changed = [name for name in said if getattr(config, name) != getattr(state.config, name)]
    if changed:
        raise GanlibError(f"{out} was trained with another {', '.join(changed)}; use the same, or another --out.")
    return state


def save_run(state, out):
    """Networks, history and a picture of fixed noise -> files in the folder `out`."""
    epoch, config = len(state.history), state.config
    z = draw_noise(GRID, config.latent_dim, seed=config.seed)
    save_tile(sample(state.best_g, z), out / "samples" / f"epoch-{epoch:04d}.png")
    save_generator(state.best_g, config, out / "generator.pt", epoch=epoch)
    write_whole(out / "history.csv", history_csv(state.history))
    save_checkpoint(state, out / "checkpoint.pt")


def history_csv(history):
    """List of Records -> bytes of a CSV file with one line per epoch below the names of the columns."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([Record._fields, *history])
    return text.getvalue().encode()
