"""What else book/reliability.md promises: disks, threads, and the page itself."""

import subprocess

import pytest
import torch

from experiments.reliability import READERS, render
from ganlib.checkpoint import load_generator, new_run, resume_run, save_run, shipped
from ganlib.recipes import recipe
from ganlib.sampling import sample_images, sample_inputs, sample_noise
from ganlib.training import fit, new_state

# Disks


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 200 kB of its own; skips where none can be mounted."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except OSError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip("nothing can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def fill_up(disk):
    with open(disk / "ballast", "wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space left"):
            while file.write(bytes(4096)):
                pass


def make_read_only(disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (fill_up, "No space left on device"),
        (make_read_only, "Read-only file system"),
    ],
)
def test_a_run_survives_a_disk_that_cannot_be_written(
    small_disk, spoil, reason, small, pixels, says
):
    straight = new_state(small)
    list(fit(straight, pixels))
    state = new_run(small, small_disk, "cpu")
    run = fit(state, pixels)
    for _ in range(2):
        next(run)
        save_run(state, small_disk)
    before = files_of(small_disk)
    spoil(small_disk)
    next(run)
    with says("Cannot write", reason):
        save_run(state, small_disk)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    (small_disk / "ballast").unlink(missing_ok=True)
    assert files_of(small_disk) == before
    resumed = resume_run(small, {}, small_disk, "cpu")
    assert len(resumed.history) == 2
    for _ in fit(resumed, pixels):
        save_run(resumed, small_disk)
    for one, other in zip(
        resumed.G_ema.parameters(), straight.G_ema.parameters(), strict=True
    ):
        assert torch.equal(one, other)


# Threads


def with_threads(count, make):
    """What `make` gives where torch may use so many threads."""
    torch.set_num_threads(count)
    try:
        return make()
    finally:
        torch.set_num_threads(1)


def test_noise_first_weights_and_order_do_not_depend_on_threads():
    def begin():
        torch.manual_seed(5)
        tensors = [sample_noise(10_000, 100, seed=3), torch.randperm(60_000)]
        for name in ("mnist", "fashion-mnist", "faces-dcgan", "avatars"):
            state = new_state(recipe(name))
            tensors += [*state.G.parameters(), *state.D.parameters()]
        return tensors

    one, two = with_threads(1, begin), with_threads(2, begin)
    assert all(map(torch.equal, one, two))


@pytest.mark.parametrize("name", shipped())
def test_samples_hardly_depend_on_threads(name):
    G, config = load_generator(name)
    z = sample_inputs(16, config.latent_dim, classes=config.classes, seed=1)
    one = with_threads(1, lambda: sample_images(G, z))
    two = with_threads(2, lambda: sample_images(G, z))
    again = with_threads(2, lambda: sample_images(G, z))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    assert torch.equal(two, again)


TWO_THREADS = """
import torch
from ganlib.checkpoint import load_checkpoint, save_checkpoint
from ganlib.recipes import recipe
from ganlib.training import fit, new_state

assert torch.get_num_threads() == 2

def finish(state):
    list(fit(state, pixels))
    return [*state.G.state_dict().values(), *state.D.state_dict().values()]

fields = dict(epochs=2, batch_size=40, image_size=16)
for name in ("mnist", "fashion-mnist", "faces-dcgan", "avatars"):
    config = recipe(name, **fields)
    pixels = torch.randint(256, (120, *config.image_shape), dtype=torch.uint8)
    straight, again = finish(new_state(config)), finish(new_state(config))
    halted = new_state(config)
    next(fit(halted, pixels))
    save_checkpoint(halted, "c.pt")
    resumed = finish(load_checkpoint("c.pt"))
    print(all(map(torch.equal, straight, again)),
          all(map(torch.equal, straight, resumed)))
"""


def test_with_two_threads_too_a_run_is_the_same_twice_and_after_a_break(python):
    # On a busy machine, threads that wait awake would keep each other from working.
    done = python("-c", TWO_THREADS, OMP_NUM_THREADS="2", OMP_WAIT_POLICY="passive")
    assert done.stdout.splitlines() == ["True True"] * 4, done.stderr[-2000:]


# The page


def test_the_page_is_made_of_the_figures():
    figures = {
        "readers": {name: (1234, 1000) for name in READERS},
        "tried": 12_340,
        "slowest": 0.5,
        "fuzz_seconds": 60.0,
        "bound": 1024,
        "growth": 7.3,
        "kills": 10,
        "writing": 5,
        "early": 1,
        "epochs": 5,
        "kill_seconds": 99.0,
    }
    page = render(figures)
    assert "| IDX files | 1,234 | 1,000 | 234 |" in page and "{" not in page
