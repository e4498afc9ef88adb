"""The scoreboard and the other tables of the book: whole, and shown as they are stored."""

import json
import math

import pytest
import torch

from experiments import ladder, scoreboard, time_to_quality
from ganlib.config import Config
from ganlib.recipes import recipe
from ganlib.results import RESULTS, load_result

ROWS = sorted((RESULTS / "scoreboard").glob("*.json"))


@pytest.fixture(params=ROWS, ids=lambda path: path.stem)
def row(request):
    return json.loads(request.param.read_text())


def test_a_row_has_seeds_enough_to_show_a_spread(row):
    seeds = [run["seed"] for run in row["runs"]]
    assert len(set(seeds)) == len(seeds) >= 5


def test_no_run_is_there_twice(row):
    last = str(row["config"]["epochs"])
    distances = [run["scores"][last]["frechet"] for run in row["runs"]]
    assert len(set(distances)) == len(distances)


def test_every_run_is_whole(row):
    epochs = row["config"]["epochs"]
    for run in row["runs"]:
        assert [line[0] for line in run["losses"]] == list(range(1, epochs + 1))
        last = run["scores"][str(epochs)]
        assert last["real"] == last["generated"] == 10_000
        # Older rows have no even distance, and no KL of today's definition.
        names = scoreboard.MEASURES.keys()
        if row["config"]["recipe"] == "textbook":
            names -= {"frechet_even", "kl"} - last.keys()
        assert all(math.isfinite(last[name]) for name in names)


def test_the_page_is_what_the_files_say():
    assert scoreboard.PAGE.read_text() == scoreboard.page()


def test_the_best_row_comes_first():
    for dataset in scoreboard.DATASETS:
        lines = scoreboard.table(dataset)[2:]
        distances = [float(line.split("|")[3].split("±")[0]) for line in lines]
        assert distances == sorted(distances)


def test_every_row_is_on_the_page():
    for path in ROWS:
        name, dataset = path.stem.split("-on-")
        assert any(f"| `{name}` |" in line for line in scoreboard.table(dataset))
        assert any(f"{name} {dataset} " in line for line in scoreboard.commands())


def test_a_cell_is_a_mean_and_a_standard_deviation():
    runs = [{"scores": {"3": {"recall": value}}} for value in (0.25, 0.5, 0.75)]
    assert scoreboard.cell(runs, 3, "recall") == (0.5, "0.50\u202f±\u202f0.25")


def test_a_run_is_scored_at_marks_and_at_its_end(monkeypatch):
    monkeypatch.setattr(scoreboard, "score_generator", lambda state: len(state.history))
    config = Config(epochs=4, batch_size=10, latent_dim=3, hidden_dim=8, image_size=4)
    pixels = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8)
    run = scoreboard.run(config, pixels)
    assert run["scores"] == {1: 1, 2: 2, 4: 4}
    assert run["images"] == 80
    assert [line[0] for line in run["losses"]] == [1, 2, 3, 4]


def test_an_older_row_has_a_dash_where_a_score_is_missing():
    runs = [{"scores": {"3": {"recall": 0.5}}}] * 2
    assert scoreboard.cell(runs, 3, "frechet_even")[1] == "–"


@pytest.fixture
def known_distances(monkeypatch):
    """A G whose first weights count the steps, and a distance that falls with them."""

    def count(state, real):
        torch.nn.init.constant_(next(state.G.parameters()), state.step + 1)
        return torch.zeros(5)

    def distance(G, config):
        return 1000 - next(G.parameters()).flatten()[0].item()

    monkeypatch.setattr(time_to_quality, "train_step", count)
    monkeypatch.setattr(time_to_quality, "distance", distance)
    monkeypatch.setattr(time_to_quality, "INTERVAL", 3)
    monkeypatch.setattr(time_to_quality, "MOST_EPOCHS", 3)


def test_the_first_copy_within_the_goal_counts(known_distances):
    config = Config(batch_size=10, latent_dim=3, hidden_dim=8, image_size=4)
    pixels = torch.randint(0, 256, (100, 1, 4, 4), dtype=torch.uint8)
    found = time_to_quality.run(config, pixels, [995, 988, 900])
    reached = found["reached"]
    assert found["distances"] == [990, 980, 970]
    assert [one and one["steps"] for one in reached] == [6, 12, None]
    assert [one["images"] for one in reached[:2]] == [60, 120]
    assert [one["frechet"] for one in reached[:2]] == [994, 988]


def test_the_rungs_lead_from_the_textbook_to_the_speedrun():
    rungs = list(time_to_quality.rungs().values())
    names = ("recipe", "epochs", "matmul_precision")

    def numbers(config):
        return {
            name: value for name, value in vars(config).items() if name not in names
        }

    assert numbers(rungs[2]) == numbers(recipe("textbook-tuned"))
    assert numbers(rungs[-1]) == numbers(recipe("mnist-speedrun"))


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({"learning_rate_d": 5e-4, "beta1": 0.5, "real_label": 1.0, "seed": 3}, True),
        ({"ema_decay": 0.99, "r1_weight": 1.0, "epochs": 2}, True),
        ({"ema_decay": 0.0}, False),
        ({"r1_weight": 0.0}, False),
        ({"latent_dim": 10}, False),
        ({"architecture": "mlp"}, False),
    ],
)
def test_settings_that_cost_no_time_are_told_from_those_that_do(changes, same):
    one, other = recipe("mnist"), recipe("mnist", **changes)
    work = time_to_quality.work_of
    assert (work(one) == work(other)) == same


def test_every_rung_of_the_ladder_has_a_speed_and_scores():
    stored = load_result("ladder")
    rungs = {*ladder.LOOPS, *ladder.CONFIGS} - {"+ bfloat16"}  # not of every processor
    assert rungs <= stored["speed"].keys() == stored["score"].keys()
    assert all(len(scores) == stored["seeds"] for scores in stored["score"].values())


def test_the_table_of_records_has_every_row_that_reached_the_goal(monkeypatch):
    monkeypatch.setattr(time_to_quality, "CHANGES", {"one": {}})
    monkeypatch.setattr(time_to_quality, "ENTRIES", {"fast": None, "lame": None})
    at = {"steps": 300, "images": 30_000}
    later = {"steps": 500, "images": 50_000}
    result = {
        "textbook_epochs": 200,
        "speed": {
            "textbook loop": {"rate": 1_000},
            "ganlib's loop": {"rate": 2_000},
            "one": {"rate": 3_000},
            "fast": {"rate": 1_500},
            "lame": {"rate": 1_500},
        },
        "runs": [
            {"rung": "one", "seed": 0, "reached": [at]},
            {"rung": "one", "seed": 1, "reached": [later]},
            {"rung": "fast", "seed": 0, "reached": [at, later]},
            {"rung": "lame", "seed": 0, "reached": [at, None]},
        ],
    }
    first = time_to_quality.records(result, 0)[2:]
    assert first[1].endswith("| 120,000 | 6,000 | 2.0 |")
    assert first[2] == "| + one | 2 | 400 ± 141 | 13 | 960 ± 339 |"  # at 3,000/s
    assert first[3] == "| `fast` | 1 | 300 | 20 | 600 |"
    second = time_to_quality.records(result, 1)[2:]
    assert second == ["| `fast` | 1 | 500 | 33 | 360 |"]


def test_the_page_of_records_is_what_the_file_says():
    assert time_to_quality.PAGE.read_text(encoding="utf-8") == time_to_quality.page()
