"""The crew: several processes train one run together, each on its share of every batch; most runs have one alone."""

from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from ganlib.errors import GanlibError


class Ranks:
    """This process among the `count` that train one run together; alone, as rank 0 of 1, it changes nothing."""

    def __init__(self):
        together = dist.is_available() and dist.is_initialized()
        self.rank, self.count = (dist.get_rank(), dist.get_world_size()) if together else (0, 1)
        self.common = None  # the random numbers that all ranks draw alike; None: torch's own
        self.whole, self.weight = None, 1.0  # images in the batch of all ranks, and this rank's part of them
        self.wrapped = {}

    def seed(self, seed, device):
        """Start the common random numbers from `seed`, and torch's own, for dropout and mirrors, apart on each rank."""
        torch.manual_seed(seed)
        if self.count > 1:
            self.common = torch.Generator(device).manual_seed(seed)
            torch.manual_seed(seed + 1_000_000_007 * (self.rank + 1))

    def share(self, batch):
        """A batch (N, ...) of all ranks -> this rank's rows (n, ...); n differs by at most one between ranks."""
        rows = batch.tensor_split(self.count)[self.rank]
        self.whole, self.weight = len(batch), len(rows) / len(batch)
        return rows


def check_batch_size(config, images, ranks):
    """GanlibError unless each rank has images for a batch, and if a step that is to be compiled has to be shared."""
    most = images // ranks.count
    if config.batch_size > most:
        each = f" that each of {ranks.count} ranks gets" if ranks.count > 1 else ""
        raise GanlibError(f"batch_size is {config.batch_size}; it must be at most the {most} images{each}.")
    if config.compiled and ranks.count > 1:
        raise GanlibError("compiled is True; it must be False where several ranks train together.")


def split_epoch(order, batch_size, ranks):
    """Order of the images (N,) -> tuple of batches for all ranks together, with `batch_size` images for each rank.

    The last batch is smaller. Where it has fewer images than there are ranks, it is added to the batch before it.
    """
    batches = order.split(batch_size * ranks.count)
    if len(batches[-1]) < ranks.count:
        return *batches[:-2], torch.cat(batches[-2:])
    return batches


def draw_share(real, latent_dim, ranks):
    """Real images (n, ...) of this rank -> noise (n, latent_dim): its rows of the noise that all ranks draw alike."""
    whole = len(real) if ranks.count == 1 else ranks.whole
    z = torch.randn(whole, latent_dim, device=real.device, generator=ranks.common)
    return z.tensor_split(ranks.count)[ranks.rank]


def joint(network, ranks):
    """A network -> the same, whose backward pass leaves the mean gradient over the images of all ranks (Li 2020)."""
    if ranks.count == 1:
        return network
    if network not in ranks.wrapped:
        ranks.wrapped[network] = wrapped = DistributedDataParallel(network)
        wrapped.broadcast_buffers = False  # every rank keeps the same ones already
        wrapped.register_comm_hook(ranks, add_up)
    return ranks.wrapped[network]


def add_up(ranks, bucket):
    """Some of this rank's gradients, as DDP hands them over -> a future of their mean over the images of all ranks."""
    work = dist.all_reduce(bucket.buffer().mul_(ranks.weight), async_op=True)
    return work.get_future().then(lambda done: done.value()[0])


@contextmanager
def averaging(optimizer, ranks):
    """Inside the `with`, `optimizer` averages the gradients over all ranks before each step, without DDP.

    For a penalty on D's gradient: no gradient of it reaches D's last bias, and DDP fails where one is missing.
    """

    def average(*_):
        for parameter in (one for group in optimizer.param_groups for one in group["params"]):
            if ranks.count > 1 and parameter.grad is not None:
                dist.all_reduce(parameter.grad.mul_(ranks.weight))

    hook = optimizer.register_step_pre_hook(average)
    try:
        yield
    finally:
        hook.remove()


def total(numbers, ranks):
    """A tensor of numbers -> their sums over all ranks, in place."""
    if ranks.count > 1:
        dist.all_reduce(numbers)
    return numbers


class SumOverRanks(torch.autograd.Function):
    """A tensor -> its sum over all ranks; what each rank's loss wants of the sum is summed too on the way back."""

    @staticmethod
    def forward(_, numbers):
        numbers = numbers.clone()
        dist.all_reduce(numbers)
        return numbers

    @staticmethod
    def backward(_, gradient):
        return SumOverRanks.apply(gradient)


class SharedBatchNorm(_BatchNorm):
    """BatchNorm of values (n, C) or (n, C, H, W) with the mean and the variance of all ranks' values together.

    torch's own SyncBatchNorm needs GPUs, and its gradient has no gradient, as D's penalty asks (pytorch issue 61222).
    """

    def forward(self, values):
        if not self.training:
            return super().forward(values)
        axes = [axis for axis in range(values.dim()) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(values.dim())]
        full = values.float()
        mean = full.mean(axes)
        var = (full - mean.view(shape)).square().mean(axes)  # on a CPU quicker than torch.var_mean
        mean, var, count = pool(mean, var, values.numel() / values.shape[1])
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var * count / (count - 1), self.momentum)
        gain = self.weight * (var + self.eps).rsqrt()
        shift = self.bias - mean * gain
        return torch.addcmul(shift.view(shape), full, gain.view(shape)).to(values.dtype)

    def _check_input_dim(self, values):
        pass


def pool(mean, var, count):
    """Means (C,) and variances (C,) of this rank's `count` values -> those of all ranks' values, and their number."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    row = (torch.arange(ranks, device=mean.device) == rank).view(ranks, 1, 1)
    table = SumOverRanks.apply(row * torch.stack([mean, var, torch.full_like(mean, count)]))
    means, variances, counts = table.unbind(1)  # a row for each rank
    parts = counts / counts.sum(0)
    mean = (parts * means).sum(0)
    return mean, (parts * (variances + (means - mean).square())).sum(0), counts.sum(0)


def share_statistics(network, ranks):
    """Let every BatchNorm of `network` count over all ranks, in place; weights, names and evaluation mode stay."""
    for layer in network.modules() if ranks.count > 1 else ():
        if isinstance(layer, _BatchNorm):
            layer.__class__ = SharedBatchNorm
    return network
