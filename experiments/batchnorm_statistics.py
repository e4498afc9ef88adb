"""Averaged generators with another network's BatchNorm statistics, and with their own.

    python -m experiments.batchnorm_statistics

In version 0.1 the average of G copied the running statistics of G, and networks were
shipped so. batchnorm_statistics.safetensors keeps those of the two that still ship. Here
they are put back and scored, then measured again on 1 to 100 batches of noise. The
weights stay. For another network this is repeated on other noise, to see how much of it
is chance.
"""

from collections.abc import Iterable

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from experiments.common import distance, parser, score_generator, write_result
from ganlib.checkpoint import load_generator
from ganlib.ema import refresh_batchnorm
from ganlib.files import read_bytes, write_atomic
from ganlib.results import RESULTS
from ganlib.sampling import sample_noise

NAME = "batchnorm_statistics"
STATISTICS = RESULTS / f"{NAME}.safetensors"
NETWORKS = "faces-dcgan", "avatars-dcgan"
BATCHES = 1, 2, 5, 20, 100  # of 100 noise vectors
SPREAD_OF = "fashion-mnist"  # the network that is scored fastest
NOISE_SEEDS = 1, 2, 3, 4, 5  # refresh_batchnorm takes 0


def statistics_of(G: nn.Module) -> dict[str, Tensor]:
    """Means and variances of every BatchNorm of G, by the names of their buffers."""
    buffers = G.state_dict().items()
    return {name: value for name, value in buffers if ".running_" in name}


def keep(sources: Iterable[str]) -> None:
    """Write the statistics of generators, given as NAME=FILE, into STATISTICS."""
    kept = {}
    for source in sources:
        network, _, path = source.partition("=")
        G, _ = load_generator(path)
        kept |= {f"{network}.{name}": v for name, v in statistics_of(G).items()}
    write_atomic(STATISTICS, safetensors.torch.save(kept))


def old_statistics(network: str) -> dict[str, Tensor]:
    """The statistics with which `network` was shipped, by the names of its buffers."""
    every = safetensors.torch.load(read_bytes(STATISTICS))
    start = f"{network}."
    return {
        name.removeprefix(start): value
        for name, value in every.items()
        if name.startswith(start)
    }


def measure(network: str) -> list[dict]:
    """Scores of a shipped network: with the old statistics, and with its own."""
    G, config = load_generator(network)
    G.load_state_dict(old_statistics(network), strict=False)
    rows = [{"batches": None, **score_generator(G, config)}]
    print(network, rows[-1], flush=True)
    for batches in BATCHES:
        refresh_batchnorm(G, config.latent_dim, batches=batches)
        rows.append({"batches": batches, **score_generator(G.eval(), config)})
        print(network, rows[-1], flush=True)
    return rows


def spread(network: str) -> dict[int, list[float]]:
    """{batches: Fréchet distances} of a shipped network, by other noise each time.

    Statistics of few batches depend on which noise they were measured on.
    """
    G, config = load_generator(network)
    distances: dict[int, list[float]] = {}
    for batches in BATCHES:
        distances[batches] = []
        for seed in NOISE_SEEDS:
            noise = sample_noise(100 * batches, config.latent_dim, seed=seed)
            update_bn(noise.split(100), G)
            distances[batches].append(distance(G.eval(), config))
        print(network, batches, distances[batches], flush=True)
    return distances


def main() -> None:
    made = parser(__doc__)
    made.add_argument(
        "--keep",
        nargs="+",
        metavar="NAME=FILE",
        help="take the old statistics out of these generators first",
    )
    options = made.parse_args()
    torch.set_num_threads(1)
    if options.keep:
        keep(options.keep)
    result: dict = {"batch_size": 100, "tables": {}}
    for network in NETWORKS:
        result["tables"][network] = measure(network)
        write_result(NAME, result, options.out)
    result["spread"] = {SPREAD_OF: spread(SPREAD_OF)}
    write_result(NAME, result, options.out)


if __name__ == "__main__":
    main()
