"""The crew: two real processes train as one with the batch of both; alone, nothing changes."""

import pytest
import torch
from torch import nn
from two_ranks import RUNS, pixels_for, results, run

from ganlib.checkpoint import load_checkpoint
from ganlib.data.transforms import normalize
from ganlib.accelerate.distributed import Ranks, averaging, draw_share, joint, share_statistics, split_epoch, total
from ganlib.training import fit

# What a rank draws for itself, one process cannot draw; and it would give the rest of "rest" a step of its own.
SAME = [name for name in RUNS if name not in ("apart", "rest")]
# BatchNorm takes out the bias before it, whose gradient is all rounding, and Adam makes a whole step of any gradient.
IDLE = ["0.bias", "3.bias", "running_mean", "Adam G.1.", "Adam G.5."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def both(folder, torchrun):
    """What two processes on this machine, started by torchrun and talking through Gloo, leave: a dict for each."""
    done = torchrun("tests/two_ranks.py", folder)
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1)]


def _farthest(one, other, but=()):
    """The name of the number that differs most between two results, and by how much."""
    assert one.keys() == other.keys()
    names = [name for name in one if name != "batches" and not any(part in name for part in but)]
    apart = {name: (one[name] - other[name]).abs().max().item() for name in names}
    name = max(apart, key=apart.get)
    return name, apart[name]


# --- two processes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAME)
def test_two_ranks_are_one_process_with_twice_the_batch(both, name):
    """Losses, weights, averages, BatchNorm's statistics and both Adams' memories, after every kind of step."""
    alone = run(name, 20)
    name, apart = _farthest(both[0][name], alone, but=IDLE if name == "batchnorm" else ())
    assert apart < 2e-5, f"{name} is {apart} from that of one process"


@pytest.mark.parametrize("name", RUNS)
def test_both_ranks_hold_the_same_numbers(both, name):
    assert _farthest(both[0][name], both[1][name])[1] == 0


@pytest.mark.parametrize("name", [*SAME, "rest"])
def test_every_image_of_an_epoch_goes_to_one_rank_once(both, name):
    count = len(pixels_for(name))
    for half in (0, 1):  # the two epochs
        seen = []
        for rank in both:
            batches = rank[name]["batches"]
            seen += batches[half * len(batches) // 2 : (half + 1) * len(batches) // 2]
        seen = torch.cat(seen).flatten(1)
        assert len(seen) == count and len(seen.unique(dim=0)) == count
        assert torch.equal(seen.unique(dim=0), normalize(pixels_for(name)).flatten(1).unique(dim=0))


def test_the_record_counts_the_images_of_all_ranks(both):
    for name in RUNS:
        assert both[1][name]["history"][:, 6].tolist() == [len(pixels_for(name)), 2 * len(pixels_for(name))]


def test_a_small_rest_is_no_batch_of_its_own(both):
    """101 images: 100 in batches of 20, and one, which only one rank could have."""
    sizes = [[len(batch) for batch in rank["rest"]["batches"][:5]] for rank in both]
    assert sizes == [[10, 10, 10, 10, 11], [10] * 5]
    assert [len(batch) for batch in both[1]["uneven"]["batches"][:5]] == [10, 10, 10, 10, 7]


def test_common_numbers_are_alike_and_own_ones_are_not(both):
    assert torch.equal(both[0]["common"], both[1]["common"])
    torch.manual_seed(5)
    assert torch.equal(both[0]["common"], torch.rand(4)), "one process draws the same"
    assert not torch.equal(both[0]["own"], both[1]["own"])
    assert not torch.equal(both[0]["own"], both[0]["common"])


@pytest.mark.parametrize("name", ["uneven", "batchnorm", "convolutions"])
def test_a_checkpoint_of_two_ranks_goes_on_in_one_process(both, folder, changed, name):
    state = load_checkpoint(folder / f"{name}.pt")
    assert len(state.history) == 1 and not any("module" in key for key in state.G.state_dict())
    state.config = changed(state.config, batch_size=20)
    list(fit(state, pixels_for(name)))
    numbers = {key: value for key, value in both[0][name].items() if key != "batches"}
    assert _farthest(results(state), numbers, but=IDLE if name == "batchnorm" else ())[1] < 2e-5


def test_what_does_not_fit_is_said_on_every_rank(both):
    for rank in both:
        assert rank["agree"][0] is None and "different epoch: 7, 8" in rank["agree"][1]
        assert rank["large"] == "batch_size is 31; it must be at most the 30 images that each of 2 ranks gets."
        assert rank["compiled"] == "compiled is True; it must be False where several ranks train together."


# --- alone ------------------------------------------------------------------------------------------------------------


def test_alone_everything_comes_back_as_it_was():
    ranks, batch = Ranks(), torch.arange(7)
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert (ranks.rank, ranks.count, ranks.common) == (0, 1, None)
    assert torch.equal(ranks.share(batch), batch) and ranks.weight == 1
    assert joint(network, ranks) is network and total(batch, ranks) is batch
    assert type(share_statistics(network, ranks)[1]) is nn.BatchNorm1d
    assert [part.tolist() for part in split_epoch(batch, 3, ranks)] == [[0, 1, 2], [3, 4, 5], [6]]
    torch.manual_seed(3)
    expected = torch.randn(5, 4)
    ranks.seed(3, "cpu")
    assert torch.equal(draw_share(torch.zeros(5, 1), 4, ranks), expected)


def test_alone_gradients_are_left_alone():
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    with averaging(optimizer, Ranks()):
        weight.grad = torch.tensor([1.0, 2.0])
        optimizer.step()
    assert weight.tolist() == [0, -1] and not optimizer._optimizer_step_pre_hooks


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shares_cover_a_batch_and_differ_by_one(count):
    order, shares, weights = torch.randperm(23), [], []
    for rank in range(count):
        ranks = Ranks()
        ranks.rank, ranks.count = rank, count
        shares.append(ranks.share(order))
        weights.append(ranks.weight)
    assert torch.equal(torch.cat(shares), order) and sum(weights) == pytest.approx(1)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("images", range(6, 20))
def test_no_rank_is_without_images(images):
    ranks = Ranks()
    ranks.count = 3
    batches = split_epoch(torch.arange(images), 2, ranks)
    assert torch.equal(torch.cat(batches), torch.arange(images)) and min(map(len, batches)) >= 3
