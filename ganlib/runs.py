"""The study: a run as a folder of files, each of them whole: networks, history, samples, and what resuming needs."""

import csv
import io
import warnings

from ganlib.checkpoint import load_checkpoint, save_checkpoint, save_generator
from ganlib.errors import GanlibError
from ganlib.files import write_atomic
from ganlib.sampling import sample_noise, sample_images
from ganlib.plotting import save_image_grid
from ganlib.training import Record, new_state

GRID = 64  # images in each samples/epoch-0001.png
KEPT = 3  # the last checkpoints of a run: the newest may break, and then the one before serves


def new_run(config, out, device):
    """Config -> a TrainState at epoch 0; an old run in the folder `out` is never written over."""
    if _checkpoints(out) or any((out / name).exists() for name in ("generator.pt", "history.csv")):
        raise GanlibError(f"{out} holds a run already; go on with --resume, or subsample another --out.")
    return new_state(config, device)


def resume_run(config, changes, out, device, *, force=False):
    """The TrainState saved in `out`, with its own config; what `changes` names must agree with it, but for the epochs.

    With `force` the run goes on with the changes. What a kill left out of date beside the checkpoint is written anew.
    """
    state = _load_newest(out, device, **{name: changes[name] for name in ("epochs",) if name in changes})
    wanted = vars(config) if config.recipe != state.config.recipe else changes
    changed = {name: value for name, value in wanted.items() if value != getattr(state.config, name)}
    if changed and not force:
        what = ", ".join(f"{name} {getattr(state.config, name)} (not {value})" for name, value in changed.items())
        raise GanlibError(f"{out} was trained with {what}; leave that out, subsample another --out, or add --force.")
    if changed:
        state = _load_newest(out, device, force=True, **{"epochs": state.config.epochs} | changed)
    save_results(state, out)
    return state


def _load_newest(out, device, **changes):
    """The TrainState in the newest checkpoint of the folder `out` that can be read, with a warning if it is not the last."""
    first, *older = _checkpoints(out) or [out / "checkpoints"]
    try:
        return load_checkpoint(first, device, **changes)
    except GanlibError as error:
        for path in older:
            try:
                state = load_checkpoint(path, device, **changes)
            except GanlibError:
                continue
            warnings.warn(f"{str(error).removesuffix('.')}; going on from {path}.", stacklevel=3)
            return state
        raise


def _checkpoints(out):
    """The checkpoint files of the run in the folder `out`, newest first."""
    return sorted((out / "checkpoints").glob("epoch-*.pt"), key=lambda path: (len(path.name), path.name), reverse=True)


def save_run(state, out, *, models_every=0):
    """Write all files of a run into the folder `out`: first what resuming needs, of which the last KEPT stay.

    With `models_every` K the generator of each K-th epoch stays too, in models/. Only rank 0 writes.
    """
    if state.ranks.rank:
        return
    epoch = len(state.history)
    if models_every and epoch % models_every == 0:
        save_generator(state.sampling_generator, state.config, out / "models" / f"epoch-{epoch:04d}.pt", epoch=epoch)
    save_checkpoint(state, out / "checkpoints" / f"epoch-{epoch:04d}.pt")
    for path in _checkpoints(out)[KEPT:]:
        path.unlink(missing_ok=True)
    save_results(state, out)


def save_results(state, out):
    """Write the generator, the history and a picture of fixed noise into the folder `out`; only rank 0 does."""
    if state.ranks.rank:
        return
    epoch = len(state.history)
    save_image_grid(sample_grid(state), out / "samples" / f"epoch-{epoch:04d}.png")
    save_generator(state.sampling_generator, state.config, out / "generator.pt", epoch=epoch)
    write_atomic(out / "history.csv", history_csv(state.history))


def sample_grid(state):
    """A TrainState -> GRID images (N, C, H, W) of noise that is the same in every epoch of the run."""
    return sample_images(state.sampling_generator, sample_noise(GRID, state.config.latent_dim, seed=state.config.seed))


def history_csv(history):
    """List of Records -> bytes of a CSV file with one line per epoch below the names of the columns."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([Record._fields, *history])
    return text.getvalue().encode()
