"""The experiments: where a number comes from, what is run again, what is stale."""

import importlib
import itertools
import json
import math
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

from experiments import (
    batchnorm_statistics,
    beta1,
    common,
    conditional,
    conditional_avatars,
    feature_extractors,
    generalization,
    gpu_check,
    mode_collapse,
    own,
    stale,
    starts,
    stopping,
)
from experiments.bench import operations, ratio, take_turns
from experiments.textbook_loop import MLP, SWITCHES, TextbookLoop, mlps
from ganlib.checkpoint import load_generator, read_metadata
from ganlib.config import Config, replace
from ganlib.data import Images
from ganlib.data.avatars import VALUE_COUNTS
from ganlib.data.transforms import normalize
from ganlib.ema import update_average
from ganlib.errors import GanlibError
from ganlib.metrics import load_feature_extractor
from ganlib.models import BatchNormGenerator, build
from ganlib.recipes import recipe
from ganlib.results import RESULTS, load_result, load_result_with_images
from ganlib.sampling import conditions_of, pixels_of, sample_inputs
from ganlib.training import Record, fit, new_state, train_step

SCRIPTS = [
    "accidents",
    "average",
    "batchnorm_statistics",
    "bench",
    "beta1",
    "beyond_dcgan",
    "conditional",
    "conditional_avatars",
    "diffusion",
    "feature_extractors",
    "generalization",
    "gpu_check",
    "imagenet_features",
    "inversion",
    "ladder",
    "mode_collapse",
    "own",
    "real_images",
    "scaling",
    "scoreboard",
    "ship",
    "stale",
    "starts",
    "stopping",
    "time_to_quality",
    "train_classifiers",
    "translation",
]
NAMES = sorted(
    path.relative_to(RESULTS).with_suffix("").as_posix()
    for path in RESULTS.rglob("*.json")
)
SMALL = Config(epochs=1, batch_size=10, latent_dim=3, hidden_dim=8, image_size=4)


# Where a number comes from


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_explains_itself(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"experiments.{name}").main()
    assert end.value.code == 0
    assert f"python -m experiments.{name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_every_result_says_which_code_made_it(name):
    result = load_result(name)
    assert result["commit"]
    assert set(result.get("modules", [])) <= set(common.depends_on(name))


@pytest.mark.parametrize("modules", common.DEPENDS_ON.values())
def test_a_result_depends_on_files_that_exist(modules):
    assert all((common.ROOT / "ganlib" / module).exists() for module in modules)


def test_a_result_of_unknown_code_is_refused():
    with pytest.raises(GanlibError, match="DEPENDS_ON"):
        common.depends_on("something-new")


def test_a_stored_result_holds_its_origin(tmp_path):
    common.write_result("beta1", {"numbers": [1, 2]}, tmp_path)
    result = json.loads((tmp_path / "beta1.json").read_text())
    assert result["numbers"] == [1, 2]
    assert result["modules"] == common.code_digests("beta1")
    assert result["commit"] == common.commit()
    assert {"machine", "torch", "date"} <= result.keys()


def digest_of(folder, code):
    path = folder / "module.py"
    path.write_text(code)
    return common.file_digest(path)


@pytest.mark.parametrize(
    "same",
    [
        '"""Other words."""\n\n\ndef f(x):\n    return x + 1\n',
        'def f(x):\n    """Words."""\n    return x + 1\n',
        "# a comment\ndef f(x):\n    return (x\n            + 1)\n",
    ],
)
def test_words_and_layout_do_not_change_a_digest(tmp_path, same):
    code = '"""Words."""\ndef f(x):\n    return x + 1\n'
    assert digest_of(tmp_path, code) == digest_of(tmp_path, same)


@pytest.mark.parametrize(
    "other", ["def f(x):\n    return x + 2\n", "def f(x):\n    return x + True\n"]
)
def test_code_changes_a_digest(tmp_path, other):
    assert digest_of(tmp_path, "def f(x):\n    return x + 1\n") != digest_of(
        tmp_path, other
    )


def test_a_digest_of_weights_is_that_of_all_bytes(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"abc")
    before = common.file_digest(path)
    path.write_bytes(b"abd")
    assert common.file_digest(path) != before


# Which runs are made


def squares(seed):
    return {"square": seed**2}


def test_a_seed_is_run_once(tmp_path):
    seen = []

    def run(seed):
        seen.append(seed)
        return squares(seed)

    for seeds in ([0, 1], [1, 2], [0, 1, 2]):
        result = common.begin("beta1", {"config": 1}, out=tmp_path)
        common.over_seeds("beta1", result, seeds, run, out=tmp_path)
    assert seen == [0, 1, 2]
    assert [run["square"] for run in result["runs"]] == [0, 1, 4]


def test_a_seed_is_run_once_for_each_setting(tmp_path):
    result = common.begin("beta1", {}, out=tmp_path)
    for setting in ([], ["dropout"], []):
        common.over_seeds("beta1", result, [0], squares, out=tmp_path, on=setting)
    assert [run["on"] for run in result["runs"]] == [[], ["dropout"]]


def test_what_was_run_before_a_stop_is_kept(tmp_path):
    def run(seed):
        if seed == 2:
            raise KeyboardInterrupt
        return squares(seed)

    result = common.begin("beta1", {}, out=tmp_path)
    with pytest.raises(KeyboardInterrupt):
        common.over_seeds("beta1", result, range(4), run, out=tmp_path)
    stored = common.begin("beta1", {}, out=tmp_path)
    assert [run["seed"] for run in stored["runs"]] == [0, 1]


def test_runs_of_other_settings_do_not_mix(tmp_path):
    result = common.begin("beta1", {"config": {"epochs": 1}}, out=tmp_path)
    common.over_seeds("beta1", result, [0], squares, out=tmp_path)
    with pytest.raises(GanlibError, match="another config; give --fresh"):
        common.begin("beta1", {"config": {"epochs": 2}}, out=tmp_path)
    fresh = common.begin("beta1", {"config": {"epochs": 2}}, out=tmp_path, fresh=True)
    assert fresh["runs"] == []


def test_runs_of_other_code_do_not_mix(tmp_path):
    result = common.begin("beta1", {}, out=tmp_path)
    common.over_seeds("beta1", result, [0], squares, out=tmp_path)
    stored = json.loads((tmp_path / "beta1.json").read_text())
    stored["modules"]["losses.py"] = "another"
    stored["behaviour"]["mlp"][0] += 1
    common.write_json("beta1", stored, tmp_path)
    with pytest.raises(GanlibError, match="another code"):
        common.begin("beta1", {}, out=tmp_path)


# Scores of one generator


class Recall(nn.Module):
    """A generator that draws images (N, C, H, W) it knows by heart, in turn."""

    def __init__(self, images):
        super().__init__()
        self.weight = nn.Parameter(normalize(images))

    def forward(self, z):
        return self.weight[(z[:, 0].abs() * 1e6).long() % len(self.weight)]


@pytest.fixture
def made_up_data(monkeypatch):
    """Training and unseen images of the same kind, and what tells them apart."""
    source = torch.Generator().manual_seed(0)
    shape = (2, 3000, 1, 28, 28)
    training, unseen = torch.randint(256, shape, dtype=torch.uint8, generator=source)
    extractor = load_feature_extractor("mnist")
    monkeypatch.setattr(common, "references", lambda name, size: (extractor, unseen))
    images = Images("mnist", training, torch.zeros(len(training)), ["a"])
    monkeypatch.setattr(common, "load", lambda *args, **options: images)
    return training, unseen


def test_a_generator_that_repeats_training_images_is_found_out(made_up_data):
    training, _ = made_up_data
    near = common.nearest_distances(Recall(training), recipe("mnist"), count=200)
    assert near["training"] == near["ratio"] == 0
    assert near["unseen"] > 0


def test_a_generator_of_fresh_images_is_as_far_from_unseen_ones(made_up_data):
    source = torch.Generator().manual_seed(1)
    fresh = torch.randint(256, (500, 1, 28, 28), dtype=torch.uint8, generator=source)
    near = common.nearest_distances(Recall(fresh), recipe("mnist"), count=200)
    assert 0.95 < near["ratio"] < 1.05
    assert near["real"] == pytest.approx(near["training"], rel=0.1)


def test_where_data_is_not_divided_nothing_is_unseen(made_up_data):
    training, _ = made_up_data
    config = recipe("mnist", dataset="celeba")
    near = common.nearest_distances(Recall(training), config, count=200)
    assert near["unseen"] is near["ratio"] is None
    assert near["training"] == 0


def test_the_spread_over_noise_is_that_of_the_scores(monkeypatch):
    values = {1: 3.0, 2: 5.0, 3: 7.0}
    monkeypatch.setattr(
        common,
        "score_generator",
        lambda G, config, count, seed: {
            "frechet": values[seed],
            "classes": 10,
            "kl": None,
        },
    )
    spread = common.spread_over_noise(None, None, seeds=[1, 2, 3])
    assert spread == {"frechet": 2.0}


# When to stop


def test_the_best_generator_is_kept_as_it_was():
    G, _ = build(SMALL)
    best = stopping.Best()
    weight = next(G.parameters())
    for epoch, kid in enumerate([5.0, 2.0, 3.0, 2.0], start=1):
        torch.nn.init.constant_(weight, epoch)
        best.consider(G, kid, epoch)
    assert (best.kid, best.epoch) == (2.0, 2)
    assert (next(best.G.parameters()) == 2).all()


def test_the_bootstrap_finds_the_spread_over_other_images(made_up_data):
    """A third of the images are real ones, so that precision is a share that is known.

    The others are flat grey, and alike but for one number each.
    """
    _, unseen = made_up_data

    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def forward(self, z):
            flat = z[:, :1, None, None].expand(-1, 1, 28, 28).clamp(-1, 1)
            place = (z[:, 2].abs() * 1e4).long() % len(unseen)
            real = normalize(unseen[place])
            return torch.where(z[:, 1, None, None, None] < -0.43, real, flat)

    config, count = recipe("mnist"), 1000
    found = common.bootstrap_spread(Mixed(), config, count=count)
    share = common.score_generator(Mixed(), config, count=count)["precision"]
    assert 0.25 < share < 0.45
    of_a_share = (share * (1 - share) / count) ** 0.5  # the binomial's
    assert 0.6 < found["precision"] / of_a_share < 1.6
    over_noise = common.spread_over_noise(Mixed(), config, count=count)
    for name in ("frechet", "recall", "density", "coverage"):
        assert 0.3 < found[name] / over_noise[name] < 3, name


# What is stale


def test_a_result_of_the_code_as_it_stands_is_not_stale():
    assert stale.changed("beta1", common.provenance("beta1")) == []


def test_a_result_is_stale_when_one_of_its_modules_changed():
    about = common.provenance("beta1")
    about["modules"] = about["modules"] | {"losses.py": "another"}
    del about["behaviour"]
    assert stale.changed("beta1", about) == ["losses.py"]


def test_other_code_that_does_the_same_makes_nothing_stale():
    plain = vars(recipe("avatars", bfloat16=False))
    about = common.provenance("network avatars") | {"config": plain}
    about["modules"] = about["modules"] | {"losses.py": "x", "data/avatars": "y"}
    assert "losses.py" not in stale.changed("network avatars", about)
    assert "data/avatars" in stale.changed("network avatars", about)


@pytest.mark.parametrize("field", common.UNPROBED)
def test_where_no_probe_looks_other_code_makes_a_result_stale(field):
    value = 0.5 if field == "augment_cutout" else True
    about = common.provenance("network faces")
    about["config"] = vars(recipe("faces", bfloat16=False)) | {field: value}
    about["modules"] = about["modules"] | {"losses.py": "x"}
    assert "losses.py" in stale.changed("network faces", about)


@pytest.mark.parametrize("name", ["mlp", "dcgan", "scores of mnist"])
def test_code_that_does_something_else_makes_a_result_stale(name):
    about = common.provenance("beta1")
    about["modules"] = about["modules"] | {"losses.py": "another"}
    numbers = about["behaviour"][name]
    about["behaviour"] = {**about["behaviour"], name: [numbers[0] * 1.01, *numbers[1:]]}
    assert stale.changed("beta1", about) == ["losses.py"]


@pytest.mark.parametrize("probe", common.PROBES)
def test_a_probe_shows_a_change_of_the_average(probe, monkeypatch):
    """As of every step: a decay that is cut short changes what is sampled."""
    before = common.training_behaviour(common.PROBES[probe])
    monkeypatch.setattr(
        "ganlib.training.update_average",
        lambda G_ema, G, decay, step: update_average(G_ema, G, 0.5, step),
    )
    assert common.training_behaviour(common.PROBES[probe]) != before


def test_a_field_that_is_new_makes_no_other_config():
    stored = vars(recipe("mnist")) | {"seed": 1}
    now = dict(stored)
    del stored["loss"]
    assert common.same_config(stored, now)
    assert not common.same_config(stored, {**now, "loss": "hinge"})
    assert not common.same_config(stored, {**now, "epochs": 3})


@pytest.mark.parametrize("name", ["config", "base", "healthy"])
def test_runs_go_on_where_a_config_has_a_new_field(name, tmp_path, monkeypatch):
    monkeypatch.setattr(common, "code_digests", lambda name: {})
    stored = dict(vars(recipe("mnist")))
    del stored["loss"]
    content = {"modules": {}, name: stored, "runs": [1]}
    (tmp_path / "beta1.json").write_text(json.dumps(content))
    about = {name: vars(recipe("mnist"))}
    assert common.begin("beta1", about, out=tmp_path)["runs"] == [1]
    with pytest.raises(GanlibError, match=f"another {name}"):
        common.begin("beta1", {name: vars(recipe("textbook"))}, out=tmp_path)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository with an empty losses.py and cli.py, committed."""
    monkeypatch.setattr(common, "ROOT", tmp_path)
    (tmp_path / "ganlib").mkdir()
    for name in ("losses.py", "cli.py"):
        (tmp_path / "ganlib" / name).touch()

    def git(*arguments):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(
            ["git", "-C", tmp_path, *who, *arguments], check=True, capture_output=True
        )

    git("init")
    stale.differs.cache_clear()
    git("add", ".")
    git("commit", "-m", "first")
    yield tmp_path / "ganlib"
    stale.differs.cache_clear()


def test_without_digests_git_says_what_changed(repository):
    about = {"commit": common.commit()}
    (repository / "cli.py").write_text("1")
    (repository / "losses.py").write_text("1")
    assert stale.changed("beta1", about) == ["losses.py"]


def test_a_new_module_counts_as_changed(repository):
    about = {"commit": common.commit()}
    (repository / "ema.py").touch()
    assert stale.changed("beta1", about) == ["ema.py"]


def test_an_unknown_commit_is_stale(repository):
    about = {"commit": "0000000"}
    assert stale.changed("beta1", about) == common.depends_on("beta1")


def test_a_row_is_stale_when_its_recipe_changed():
    name = "scoreboard/mnist-on-mnist"
    about = {"config": vars(recipe("mnist")), **common.provenance(name)}
    assert stale.changed(name, about) == []
    about["config"] = about["config"] | {"epochs": 21}
    assert stale.changed(name, about) == ["the recipe"]


def test_uncommitted_code_is_told_from_committed(repository):
    committed = common.commit()
    assert "changes" not in committed
    (repository / "losses.py").write_text("1")
    assert common.commit() == f"{committed}+changes"


def test_stale_results_end_with_1(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["stale"])
    monkeypatch.setattr(
        stale,
        "stored",
        lambda: [("beta1", {"commit": "a", "modules": {"losses.py": "b"}})],
    )
    with pytest.raises(SystemExit) as end:
        stale.main()
    assert end.value.code == 1
    assert "beta1" in capsys.readouterr().out


def test_a_verified_result_is_not_stale(tmp_path):
    common.write_json(
        "beta1", {"numbers": [1], "date": "2020-01-01", "commit": "0000000"}, tmp_path
    )
    stale.verify("beta1", tmp_path)
    result = json.loads((tmp_path / "beta1.json").read_text())
    assert stale.changed("beta1", result) == []
    assert result["numbers"] == [1] and result["date"] == "2020-01-01"
    assert result["commit"] == "0000000" and result["verified"] == common.commit()


def test_a_verified_network_keeps_its_weights_and_the_commit_that_made_them(
    tmp_path, monkeypatch
):
    path = tmp_path / "mnist.safetensors"
    path.write_bytes((stale.ASSETS / path.name).read_bytes())
    before, _ = load_generator(path)
    common.set_facts(path, {"commit": "0000000", "modules": {"losses.py": "another"}})
    monkeypatch.setattr(stale, "ASSETS", tmp_path)
    stale.verify("network mnist")
    after, _ = load_generator(path)
    about = read_metadata(path)
    assert stale.changed("network mnist", about) == []
    assert about["commit"] == "0000000" and about["verified"] == common.commit()
    assert about["history"] == read_metadata("mnist")["history"]
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(one, other)


def test_what_is_neither_a_result_nor_a_network_cannot_be_verified(tmp_path):
    with pytest.raises(GanlibError, match="no 'network nonesuch'"):
        stale.verify("network nonesuch", tmp_path)


def test_an_exhibit_is_of_its_own_code_and_is_named(monkeypatch, capsys):
    about = {"commit": "0000000", "config": vars(recipe("faces-dcgan")), "modules": {}}
    assert stale.changed("network faces-dcgan", about)
    about["exhibit"] = "shown for what older code made of it"
    assert stale.changed("network faces-dcgan", about) == []
    monkeypatch.setattr(sys, "argv", ["stale"])
    monkeypatch.setattr(stale, "stored", lambda: [("network faces-dcgan", about)])
    stale.main()
    assert "network faces-dcgan (0000000)" in capsys.readouterr().out


# Scores


@pytest.fixture
def digits_as_test_set(monkeypatch):
    """1,000 random images in the place of MNIST's test images."""
    pixels = torch.randint(0, 256, (1000, 1, 28, 28), dtype=torch.uint8)
    monkeypatch.setattr(
        common, "load", lambda *_, **__: Images("mnist", pixels, torch.zeros(1000), ())
    )
    common.references.cache_clear()
    common.real_features.cache_clear()
    yield
    common.references.cache_clear()
    common.real_features.cache_clear()


def test_a_run_is_scored_by_its_average(digits_as_test_set):
    state = new_state(Config(ema_decay=0.9))
    nn.init.zeros_(state.G_ema.layers[-2].weight)
    of_run = common.score_generator(state, count=1000)
    of_average = common.score_generator(state.G_ema, state.config, count=1000)
    of_raw = common.score_generator(state.G, state.config, count=1000)
    assert of_run == of_average != of_raw


def test_the_distance_alone_is_that_of_all_scores(digits_as_test_set):
    state = new_state(Config())
    scores = common.score_generator(state, count=1000)
    assert common.distance(state, count=1000) == pytest.approx(scores["frechet"])


# Label smoothing, dropout and logits


SWITCH_SETS = list(generalization.subsets(generalization.SWITCHES))


def test_every_combination_of_switches_is_run():
    assert len(set(SWITCH_SETS)) == 8


def test_the_sigmoid_changes_rounding_and_nothing_else():
    config = replace(SMALL, real_label=0.9, dropout=0.3)
    one, other = new_state(config), new_state(config)
    real = torch.rand(10, 1, 4, 4)
    for turn, state in ((train_step, one), (generalization.bce_train_step, other)):
        torch.manual_seed(0)
        for _ in range(3):
            numbers = turn(state, real)
        state.numbers = numbers
    assert torch.allclose(one.numbers, other.numbers, rtol=1e-4)
    assert torch.allclose(one.G.layers[0].weight, other.G.layers[0].weight, atol=1e-5)


def test_a_sigmoid_clips_where_logits_do_not():
    assert generalization.bce_generator_loss(torch.tensor([-200.0])) == 100


def test_all_combinations_are_stored_for_every_seed():
    result, images = load_result_with_images("generalization")
    found = sorted((tuple(run["on"]), run["seed"]) for run in result["runs"])
    seeds = {seed for _, seed in found}
    assert found == sorted(itertools.product(SWITCH_SETS, seeds))
    assert images.keys() == {"+".join(on) or "none" for on in SWITCH_SETS}
    for run in result["runs"]:
        assert all(
            math.isfinite(number) for record in run["history"] for number in record
        )


# Mode collapse


def test_further_steps_of_g_leave_d_alone():
    one, other = new_state(SMALL), new_state(SMALL)
    real = torch.rand(10, 1, 4, 4)
    for turn, state in ((train_step, one), (mode_collapse.several_g_steps(3), other)):
        torch.manual_seed(0)
        turn(state, real)
    assert torch.equal(one.D.layers[1].weight, other.D.layers[1].weight)
    assert not torch.equal(one.G.layers[0].weight, other.G.layers[0].weight)


def test_the_cure_begins_where_the_collapse_stands(monkeypatch):
    pixels = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8)
    healthy = replace(SMALL, epochs=4)
    ill = replace(healthy, learning_rate_d=1e-5)
    monkeypatch.setattr(mode_collapse, "HEALTHY", healthy)
    monkeypatch.setattr(mode_collapse, "COLLAPSED", ill)
    monkeypatch.setattr(mode_collapse, "shares_of", lambda G: [1.0])
    monkeypatch.setattr(mode_collapse, "facts", lambda state, shares: state)
    runs = dict(mode_collapse.collapse_and_cure(1, pixels))
    assert runs["collapsed"].history[:2] == runs["cured"].history[:2]
    assert runs["collapsed"].history[3] != runs["cured"].history[3]
    straight = new_state(replace(ill, seed=1))
    list(fit(straight, pixels))
    weights, collapsed = straight.G.layers[0].weight, runs["collapsed"].G.layers[0]
    assert torch.equal(weights, collapsed.weight)


# BatchNorm's statistics


def test_statistics_are_all_that_is_kept():
    G = BatchNormGenerator(3, 8, (1, 4, 4))
    kept = batchnorm_statistics.statistics_of(G)
    assert sorted(kept) == [
        "layers.1.running_mean",
        "layers.1.running_var",
        "layers.4.running_mean",
        "layers.4.running_var",
    ]


@pytest.mark.parametrize("network", batchnorm_statistics.NETWORKS)
def test_old_statistics_are_stored(network):
    from ganlib.checkpoint import load_generator

    G, _ = load_generator(network)
    old, new = (
        batchnorm_statistics.old_statistics(network),
        batchnorm_statistics.statistics_of(G),
    )
    assert old.keys() == new.keys()
    assert all(old[name].shape == new[name].shape for name in old)
    assert not all(torch.allclose(old[name], new[name]) for name in old)


# Speed


def test_the_first_round_warms_up():
    rates = iter(range(6))
    assert take_turns({"a": lambda: next(rates), "b": lambda: 7}, rounds=2) == {
        "a": [1, 2],
        "b": [7, 7],
    }


def test_ratios_are_taken_round_by_round():
    assert ratio([2, 6, 30], [1, 2, 3]) == 3


def test_operations_of_a_product_are_counted():
    layer = nn.Linear(3, 5)
    assert operations(lambda: layer(torch.zeros(7, 3)), 7) == 2 * 3 * 5


def test_the_switches_of_the_textbook_loop_change_no_number():
    batches = [torch.rand(20, 1, 28, 28) for _ in range(3)]
    weights = []
    for on in ((), SWITCHES):
        torch.manual_seed(0)
        loop = TextbookLoop(*mlps(), MLP, on)
        loop.epoch(batches)
        weights.append(loop.G[0].weight)
    assert torch.allclose(*weights, atol=1e-6)


# What awaits a GPU


def test_a_part_that_fails_takes_nothing_with_it(tmp_path):
    path = tmp_path / "found.json"
    report = gpu_check.Report(path, device="none")
    report.part("speed of A", "textbook loop", dict, {"images_per_second": 2, "gib": 1})
    report.part("speed of A", "broken", divmod, 1, 0)
    assert json.loads(path.read_text())["speed of A"]["broken"].startswith("ZeroDiv")
    report.part("speed of A", "ours", dict, {"images_per_second": 5, "gib": 0.5})
    report.ends = 0
    report.part("speed of A", "late", dict)
    found = json.loads(path.read_text())
    assert found["failed"] == ["speed of A, broken"]
    assert found["speed of A"]["ours"]["images_per_second"] == 5
    assert "left out" in found["speed of A"]["late"]
    rows = path.with_suffix(".md").read_text().splitlines()
    assert "| A | ours | 5 | 2.50 | 0.50 |" in rows


def test_what_is_too_far_off_or_no_number_does_not_agree():
    assert gpu_check.agree(0.5, 1) == 0.5
    for value in (1.5, math.nan):
        with pytest.raises(AssertionError, match="is above 1"):
            gpu_check.agree(value, 1)


def test_seconds_to_a_quality_are_those_of_the_first_time_below():
    pixels = torch.zeros(20, 1, 4, 4, dtype=torch.uint8)
    planted = iter([9.0, 5.0, 7.0, 2.0])
    found = gpu_check.time_to_quality(
        replace(SMALL, epochs=7),
        pixels,
        lambda state: next(planted),
        "cpu",
        (5, 3, 1),
        seconds=1e6,
        every=2,
    )
    assert [row[0] for row in found["rows"]] == [2, 4, 6, 7]
    reached = found["seconds to"]
    seconds = [row[1] for row in found["rows"]]
    assert reached == {"5": seconds[1], "3": seconds[3], "1": None}


def test_the_whole_check_runs_on_the_cpu(python, tmp_path):
    out = tmp_path / "cpu.json"
    script = "-m", "experiments.gpu_check", "--device", "cpu", "--tiny"
    done = python(*script, "--out", out)
    found = json.loads(out.read_text())
    assert done.returncode == 0 and found["failed"] == [], done.stdout + done.stderr
    for name in gpu_check.NETWORKS:
        rates = found[f"speed of {name}"]
        assert {"textbook loop", "plain", "bfloat16"} <= rates.keys()
        assert all(rate["images_per_second"] > 0 for rate in rates.values())
    checks = {"scores", "steps of dcgan", "checkpoint of mlp", "bfloat16, resize-conv"}
    assert checks <= found["checks"].keys()
    assert "faces, 64 channels" in found["time to quality"]


# Spoiled images


def test_pictures_are_spoiled_as_they_say():
    pixels = torch.randint(0, 256, (40, 3, 64, 64), dtype=torch.uint8)
    spoiled = feature_extractors.spoiled(pixels)
    assert all(
        one.shape == pixels.shape and one.dtype == torch.uint8
        for one in spoiled.values()
    )
    assert torch.equal(spoiled["mirrored"].flip(3), pixels)
    assert torch.equal(spoiled["upside down"].flip(2), pixels)
    assert torch.equal(spoiled["grey"].amax(dim=1), spoiled["grey"].amin(dim=1))
    assert len(spoiled["twenty, repeated"].unique(dim=0)) == 20
    faint, strong = (
        spoiled[f"{name} noise"].float() - pixels for name in ("faint", "strong")
    )
    assert 0 < faint.square().mean() < strong.square().mean()


def test_shuffled_pieces_change_places():
    number = torch.arange(16).view(4, 4)  # of each square, everywhere in it
    pixels = number.repeat_interleave(16, dim=0).repeat_interleave(16, dim=1)
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    shuffled = feature_extractors.shuffle_pieces(pixels.view(1, 1, 64, 64), order)
    assert shuffled[0, 0, ::16, ::16].flatten().tolist() == order.tolist()
    assert torch.equal(shuffled[0, 0, 15::16, 15::16], shuffled[0, 0, ::16, ::16])


# beta1, stored


def test_pictures_of_every_run_are_stored():
    result, images = load_result_with_images("beta1")
    assert images.keys() == {
        f"{run['beta1']} seed {run['seed']}" for run in result["runs"]
    }
    assert all(one.shape == (beta1.SHOWN, 1, 28, 28) for one in images.values())
    assert all(isinstance(run["history"][0], Record) for run in result["runs"])


def test_build_is_what_the_textbook_networks_are():
    G, D = build(Config())
    textbook_g, textbook_d = mlps()
    for ours, theirs in ((G, textbook_g), (D, textbook_d)):
        shapes = [
            [value.shape for value in network.parameters()]
            for network in (ours, theirs)
        ]
        assert shapes[0] == shapes[1]


# Conditional networks


def test_a_discriminator_from_which_labels_are_withheld_cannot_tell_them_apart():
    config = replace(SMALL, classes=3)
    images, labels = torch.rand(3, 1, 4, 4), torch.tensor([0, 1, 2])
    same = images[:1].expand(3, -1, -1, -1)
    told, untold = (
        conditional.start(config, kind).D(same, conditions_of(labels, 3))
        for kind in ("concatenation", "withheld")
    )
    assert told.std() > 1e-3 > 1e-6 > untold.std()


def test_requests_are_drawn_in_turn_with_their_labels():
    config = replace(SMALL, classes=3)
    state = conditional.start(config, "projection")
    pixels, labels = conditional.draw(state, 7, seed=1)
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    z = sample_inputs(7, 3, seed=1, classes=3)
    assert torch.equal(pixels, pixels_of(state.sampling_generator, z))


# A hundred pictures


class Seeing(nn.Module):
    """A D that keeps the least and the largest value of what it sees."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.1))
        self.seen = []

    def forward(self, images):
        self.seen.append((images.min().item(), images.max().item()))
        return self.scale * images.mean(dim=(1, 2, 3))


def test_the_broken_arm_changes_real_images_alone():
    state = new_state(own.config_of("real side only", 1, 0))
    state.D = Seeing()
    state.optimizer_d = torch.optim.SGD(state.D.parameters(), lr=0.0)
    turn = partial(own.real_side_turn, own.config_of("changed", 1, 0))
    turn(state, torch.ones(4, 3, 32, 32))
    real, fake, again = state.D.seen
    assert real[0] < 0.9, "shifted in from -1, and holes of 0"
    assert -1 <= min(fake[0], again[0]) and max(fake[1], again[1]) <= 1


@pytest.mark.parametrize("arm", own.ARMS)
def test_an_arm_does_what_it_is_called(arm):
    start, changed = own.ARMS[arm]
    config = own.config_of(arm, 4, 3)
    assert (config.epochs, config.seed) == (4, 3)
    assert ("from faces" in arm) == (start is not None) == bool(config.frozen_layers)
    assert bool(config.augment_cutout) == (changed in ("all", "controlled"))
    assert bool(config.augment_target) == ("controlled" in arm)


def test_drawings_are_made_smaller_by_the_means_of_squares():
    pixels = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    pixels[0, 0, :2, 0] = 200
    smaller = own.at_size(pixels)
    assert smaller.shape == (1, 1, 32, 32)
    assert smaller[0, 0, 0, 0] == 100 and smaller.sum() == 100


@pytest.mark.parametrize("cell", ["none", "nothing:100", "none:many"])
def test_a_cell_is_an_arm_and_a_count(cell, monkeypatch, tmp_path, says):
    monkeypatch.setattr(own, "references", lambda count: {})
    monkeypatch.setattr(sys, "argv", ["own", cell, "--out", str(tmp_path)])
    with says(cell, "real side only:300"):
        own.main()


class Standing(nn.Module):
    """A G that would move if it had a turn."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, z):
        return self.weight * z[:, :1, None, None].expand(-1, 3, 4, 4).tanh()


def test_a_d_learns_alone_while_g_stands_still():
    state = new_state(replace(SMALL, channels=3, image_size=4))
    state.G = Standing()
    before = [weight.clone() for weight in state.D.parameters()]
    numbers = starts.discriminator_turn(state, torch.ones(10, 3, 4, 4))
    assert state.G.weight.item() == 1 and numbers.shape == (5,)
    assert not any(map(torch.equal, before, state.D.parameters()))


# Avatars, asked for by their attributes


def test_a_request_is_a_one_hot_vector_for_each_attribute():
    (request,) = conditional_avatars.requests_of(torch.tensor([[2, 3, 0, 1, 1, 0, 1]]))
    parts = [part.tolist() for part in request.split(VALUE_COUNTS)]
    assert parts[0] == [0, 0, 1] and parts[1] == [0, 0, 0, 1] and parts[6] == [0, 1]
    assert request.sum() == 7


def test_the_pair_that_is_withheld_is_red_hair_with_round_glasses():
    red, round_glasses, both = (
        [0, 0, 2, 0, 0, 0, 0],
        [0] * 6 + [1],
        [0, 0, 2, 0, 0, 0, 1],
    )
    found = conditional_avatars.has_pair(torch.tensor([red, round_glasses, both]))
    assert found.tolist() == [False, False, True]


def red_with_glasses(asked):
    """What was asked for, but that all who wear glasses have red hair."""
    drawn = asked.clone()
    drawn[asked[:, 6] == 1, 2] = 2
    return drawn


@pytest.mark.parametrize(
    ("draw", "follows", "kept"),
    [
        (lambda asked: asked, 1, 1),
        (torch.zeros_like, 0.25, 1),  # of the values asked for a quarter is the first
        (red_with_glasses, 1, 5 / 6),
    ],
    ids=["listens", "deaf", "glasses change the hair"],
)
def test_changes_say_what_follows_and_what_is_kept(draw, follows, kept, monkeypatch):
    monkeypatch.setattr(conditional_avatars, "read_attributes", torch.clone)
    monkeypatch.setattr(
        conditional_avatars, "drawn", lambda state, values, seed: draw(values)
    )
    values = torch.tensor([[0] * 7, [0] * 7, [0, 3, 0, 3, 0, 0, 0], [0] * 6 + [1]])
    found = conditional_avatars.changes(None, values)["glasses"]
    assert found == pytest.approx({"follows": follows, "kept": kept})
