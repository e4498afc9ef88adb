"""The average of G against G itself, over the epochs of one run: Fréchet distances.

    python -m experiments.average --seeds 0 1 2

The recipe is the textbook's with a learning rate of 0.001, beta1 0.5 and an average;
both generators of a run are scored, so nothing but the average differs.
"""

import torch

from experiments.common import COUNT, begin, distance, over_seeds, parser
from ganlib.config import replace
from ganlib.data import load
from ganlib.recipes import recipe
from ganlib.training import fit, new_state

EPOCHS = 1, 2, 3, 4, 6, 8, 10, 15, 20
BASE = recipe(
    "textbook",
    epochs=EPOCHS[-1],
    learning_rate_g=1e-3,
    learning_rate_d=1e-3,
    beta1=0.5,
    ema_decay=0.998,
)


def run(seed: int) -> dict:
    """Train one run -> its distances at EPOCHS, by G and by its average."""
    state = new_state(replace(BASE, seed=seed))
    raw, average = [], []
    for record in fit(state, load("mnist", fallback=False).pixels):
        if record.epoch in EPOCHS:
            raw.append(distance(state.G, BASE))
            average.append(distance(state))
            print(seed, record.epoch, round(raw[-1]), round(average[-1]), flush=True)
    return {"raw": raw, "average": average, "history": state.history}


def main() -> None:
    options = parser(__doc__, seeds=3, resumes=True).parse_args()
    torch.set_num_threads(1)
    facts = {"config": vars(BASE), "epochs": EPOCHS, "count": COUNT}
    result = begin("average", facts, out=options.out, fresh=options.fresh)
    over_seeds("average", result, options.seeds, run, out=options.out)


if __name__ == "__main__":
    main()
