"""The doctor: planted faults, the stored runs of the book, and its command."""

import json
import re
from pathlib import Path

import pytest
import torch

from ganlib.checkpoint import load_generator
from ganlib.cli import main
from ganlib.ema import refresh_batchnorm
from ganlib.metrics import doctor
from ganlib.metrics.doctor import (
    BAND_SEEDS,
    CAUSES,
    FAULT_SEEDS,
    LEVELS,
    LONG,
    NOTHING,
    SHORT,
    WHOLE,
    Finding,
    Report,
    bands,
    changed_fields,
    confusion,
    diagnose,
    healthy_runs,
    healthy_samples,
    judgement,
    judging,
    outside,
    resampled,
    sample_measures,
    statistics_shift,
    suspect,
)
from ganlib.models import BatchNormGenerator, Generator
from ganlib.recipes import recipe
from ganlib.results import RESULTS, load_result
from ganlib.sampling import pixels_of, sample_pixels
from ganlib.training import Record

ROOT = Path(__file__).parents[2]
MNIST = recipe("mnist")


EPOCH = 60_000


def healthy_history(epochs=4):
    """The median of the stored healthy runs."""
    history = {"images_seen": [EPOCH * epoch for epoch in range(1, epochs + 1)]}
    for name in LEVELS:
        middles = [middle for _, middle, _ in bands(WHOLE, name, EPOCH)]
        history[name] = middles[:epochs]
    return history


def short_history():
    """The median of the short ones, in records of a sixth of an epoch."""
    history = {"images_seen": healthy_runs(SHORT)[0]["images_seen"]}
    for name in LEVELS:
        history[name] = [middle for _, middle, _ in bands(SHORT, name, EPOCH / 6)]
    return history


def changed(**levels):
    """The same with other levels, one for all epochs."""
    flat = {name: [level] * 4 for name, level in levels.items()}
    return {**healthy_history(), **flat}


def samples(**measures):
    return {**healthy_samples(long=False), "statistics_shift": 0.0, **measures}


def faults(history, **known):
    return [finding.fault for finding in diagnose(history, **known).findings]


# Planted faults


def test_a_healthy_run_has_nothing_unusual():
    for history in healthy_history(), short_history():
        report = diagnose(history, samples=samples(), config=MNIST)
        assert report.findings == [] and report.unjudged == []
        assert str(report) == "Nothing unusual."


PLANTED = {
    "D wins": {
        "d_loss": 0.01,
        "g_loss": 9.0,
        "d_real": 1.0,
        "d_fake_before": 0.0,
        "d_fake_after": 0.0,
    },
    "Loss_G is negative": {"g_loss": -0.3, "d_fake_after": 0.25},
    "Loss_G and D(G(z)) contradict each other": {"g_loss": 0.05, "d_fake_after": 0.05},
    "No answer of D lies outside of 0.5 to 0.731": {
        "d_real": 0.7,
        "d_fake_before": 0.6,
        "d_fake_after": 0.58,
        "g_loss": 0.6,
    },
    "D is surer of generated images in its own turn than in G's": {
        "d_fake_before": 0.1,
        "d_fake_after": 0.45,
        "g_loss": 0.9,
    },
    "D cannot tell at all": {
        "d_loss": 1.38,
        "d_real": 0.47,
        "d_fake_before": 0.47,
        "d_fake_after": 0.46,
        "g_loss": 0.8,
    },
    "Every answer of D is one half": {
        "d_loss": 1.386,
        "d_real": 0.5,
        "d_fake_before": 0.5,
        "d_fake_after": 0.5,
        "g_loss": 0.693,
    },
    "Loss_D is far above that of guessing": {"d_loss": 20.0, "g_loss": 10.0},
    "D knows real images and not generated ones": {
        "d_loss": 1.4,
        "d_real": 0.9,
        "d_fake_before": 0.5,
        "d_fake_after": 0.5,
        "g_loss": 0.85,
    },
    "The numbers lie outside of those of healthy runs": {"d_loss": 1.0},
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_named_and_no_other(fault):
    history = changed(**PLANTED[fault])
    assert faults(history, config=MNIST, samples=samples()) == [fault]


@pytest.mark.parametrize(
    ("measures", "fault"),
    [
        ({"difference": 5.0}, "The samples are too much alike"),
        ({"largest_class": 0.9}, "The samples are too much alike"),
        ({"black": 0.05}, "The background of the samples is not black"),
        ({"legible": 0.1}, "The samples are no digits"),
        ({"statistics_shift": 0.1}, "G's BatchNorm statistics are not its own"),
    ],
)
def test_a_fault_of_the_samples_is_named_beside_a_healthy_history(measures, fault):
    assert faults(healthy_history(), samples=samples(**measures)) == [fault]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_not_finite_ends_the_diagnosis(value):
    history = changed(d_loss=1.3)
    history["d_loss"][2] = value
    (finding,) = diagnose(history).findings
    assert "finite" in finding.fault and "epoch 3" in finding.sees


def test_a_d_that_won_and_lost_its_lead_has_not_won():
    history = healthy_history()
    apart = {"d_real": 0.95, "d_fake_after": 0.02}
    for records, late, found in ((1, 0.3, []), (2, 0.1, ["D wins"])):
        run = {**history, "d_real": [0.7] * 4, "d_fake_after": [late] * 4}
        run["g_loss"] = [3.0] * 4
        for name, value in apart.items():
            run[name] = [*[value] * records, *run[name][records:]]
        assert faults(run) == found


def test_a_d_that_is_too_slow_is_not_taken_for_a_second_sigmoid():
    levels = {"d_loss": 1.41, "g_loss": 0.63, "d_real": 0.54}
    slow = changed(**levels, d_fake_before=0.54, d_fake_after=0.53)
    assert faults(slow, config=MNIST) == ["D cannot tell at all"]


@pytest.mark.parametrize(
    ("levels", "measures", "cause"),
    [
        ({}, {"difference": 5.0}, "noise from rand"),
        ({"g_loss": 0.0, "d_fake_after": 0.002}, None, "labels swapped"),
        ({"g_loss": 0.0, "d_fake_after": 1e-9}, None, "saturating loss"),
        (
            {
                "d_loss": 1.0,
                "g_loss": 1.5,
                "d_real": 0.62,
                "d_fake_before": 0.35,
                "d_fake_after": 0.25,
            },
            {"difference": 5.0},
            "noise of one number",
        ),
        (
            {
                "d_loss": 0.8,
                "g_loss": 2.4,
                "d_real": 0.7,
                "d_fake_before": 0.25,
                "d_fake_after": 0.16,
            },
            None,
            "data in 0..1",
        ),
        (
            {
                "d_loss": 0.8,
                "g_loss": 1.9,
                "d_real": 0.7,
                "d_fake_before": 0.22,
                "d_fake_after": 0.2,
            },
            None,
            "100 images",
        ),
    ],
)
def test_the_cause_comes_first_of_which_history_and_samples_tell(
    levels, measures, cause
):
    known = None if measures is None else samples(**measures)
    report = diagnose(changed(**levels), samples=known, config=MNIST)
    assert suspect(report) == cause
    assert report.findings[0].first == CAUSES[cause].mend


# The runs that the book has stored. The levels of the rules were set with these before
# the eyes, so this is no judgement on new runs.


def stored_histories():
    """(Where from, what it is, history) of each."""
    for path in sorted((RESULTS / "scoreboard").glob("*.json")):
        for run in load_result(f"scoreboard/{path.stem}")["runs"]:
            if run.get("losses"):
                yield f"{path.stem} {run['seed']}", "healthy", run["losses"]
    for name in ("accidents", "average", "beta1", "generalization"):
        for run in load_result(name)["runs"]:
            what = run.get("accident", "healthy")
            if run.get("beta1") == 0.9:
                what = "beta1 0.9"
            yield f"{name} {run['seed']}", what, run["history"]


def columns(rows):
    return {
        name: [row[place] for row in rows] for place, name in enumerate(LEVELS, start=1)
    }


NAMED = {
    "D has won": "D wins",
    "beta1 0.9": "D wins",
    "collapsed": "D cannot tell at all",
    "labels swapped": "Loss_G and D(G(z)) contradict each other",
    "sigmoid twice": "No answer of D lies outside of 0.5 to 0.731",
}


def test_no_stored_healthy_run_is_called_ill():
    healthy = [one for one in stored_histories() if one[1] == "healthy"]
    assert len(healthy) > 40
    alarms = {name: faults(columns(rows)) for name, _, rows in healthy}
    assert {name: found for name, found in alarms.items() if found} == {}


def test_each_stored_fault_is_named():
    ill = [one for one in stored_histories() if one[1] != "healthy"]
    assert {what for _, what, _ in ill} == set(NAMED)
    for name, what, rows in ill:
        assert faults(columns(rows)) == [NAMED[what]], name


@pytest.mark.parametrize("name", [SHORT, WHOLE])
def test_a_healthy_run_lies_within_the_bands_of_the_others(name, monkeypatch):
    known = {one: healthy_runs(one) for one in (SHORT, WHOLE)}
    for left_out, run in enumerate(known[name]):
        others = known[name][:left_out] + known[name][left_out + 1 :]
        now = {**known, name: others}
        monkeypatch.setattr(doctor, "healthy_runs", now.__getitem__)
        assert faults(run, config=MNIST) == []


@pytest.mark.parametrize("name", ["textbook-tuned", "mnist-long"])
def test_a_shipped_network_is_healthy_and_uniform_noise_is_seen(name):
    G, config = load_generator(name)
    normal = sample_measures(sample_pixels(G, config.latent_dim, count=600, seed=3))
    assert faults(healthy_history(17), samples=normal) == []
    noise = torch.rand(600, config.latent_dim, generator=torch.manual_seed(0))
    uniform = sample_measures(pixels_of(G, noise))
    assert faults(healthy_history(17), samples=uniform) == [
        "The samples are too much alike"
    ]


# Its parts


def test_passes_are_made_of_shorter_and_of_longer_records():
    values, seen = [1.0, 3.0, 8.0], [10.0, 20.0, 40.0]
    assert resampled(values, seen, 20.0) == pytest.approx([2.0, 8.0])
    assert resampled(values, seen, 5.0) == pytest.approx([1, 1, 3, 3, 8, 8, 8, 8])
    assert resampled(values, seen, 30.0) == pytest.approx([4.0])
    assert resampled(values, seen, 50.0) == []


def test_a_band_leaves_out_the_edges_of_the_runs(monkeypatch):
    runs = [{"d_loss": [value], "images_seen": [10.0]} for value in range(101)]
    monkeypatch.setattr(doctor, "healthy_runs", lambda name: runs)
    assert bands(SHORT, "d_loss", 10.0) == [pytest.approx((5, 50, 95))]


def test_the_bands_are_of_the_seeds_that_judge_nothing():
    runs = load_result(SHORT)["runs"]
    healthy = [run for run in runs if run["kind"] == "healthy"]
    assert len(healthy_runs(SHORT)) == BAND_SEEDS >= 20
    judges = judging(runs)
    assert {run["kind"] for run in judges} == {"healthy", "fault"}
    assert len(healthy) == BAND_SEEDS + sum(run["kind"] == "healthy" for run in judges)
    for run in judges:
        assert run["seed"] >= (BAND_SEEDS if run["kind"] == "healthy" else FAULT_SEEDS)


def test_outside_counts_in_widths_of_the_band():
    assert outside(1.5, 1, 2) == 0
    assert outside(4.0, 1, 2) == pytest.approx(2)
    assert outside(0.5, 1, 2) == pytest.approx(0.5)


def test_samples_that_are_alike_and_samples_that_are_black():
    noise = torch.randint(256, (600, 1, 28, 28), dtype=torch.uint8)
    alike = sample_measures(noise[:1].repeat(600, 1, 1, 1))
    assert alike["difference"] == pytest.approx(0, abs=1e-2)
    assert alike["largest_class"] == 1
    assert sample_measures(noise)["difference"] > 10
    assert sample_measures(torch.zeros_like(noise))["black"] == 1


def test_foreign_statistics_are_seen_and_own_ones_are_not():
    G = refresh_batchnorm(BatchNormGenerator(8, 16), 8)
    assert statistics_shift(G, 8) == pytest.approx(0, abs=1e-6)
    G.layers[1].running_mean += 3
    before = G.layers[1].running_mean.clone()
    assert statistics_shift(G, 8) > 0.02
    assert torch.equal(G.layers[1].running_mean, before)
    assert statistics_shift(Generator(8, 16), 8) is None


def test_a_changed_config_is_named_and_an_unchanged_one_is_not():
    assert changed_fields(recipe("mnist", seed=3, epochs=2)) == []
    (text,) = changed_fields(recipe("mnist", learning_rate_d=0.02))
    assert "learning_rate_d 0.02 (not 0.001)" in text


# What it cannot judge


def test_of_two_losses_alone_it_says_what_it_cannot_judge():
    history = healthy_history()
    report = diagnose({name: history[name] for name in ("d_loss", "g_loss")})
    assert report.findings == []
    assert str(report).startswith("Nothing unusual in what could be judged.")
    for words in ("D(x)", "not known", "samples"):
        assert any(words in text for text in report.unjudged), words


def test_one_epoch_has_no_trend():
    assert any("one epoch" in text for text in diagnose(healthy_history(1)).unjudged)


@pytest.mark.parametrize(
    "changes", [{"dataset": "fashion-mnist"}, {"architecture": "mlp"}]
)
def test_another_data_set_or_network_is_not_compared_with_the_bands(changes):
    strange = changed(d_loss=1.1)
    assert faults(strange, config=MNIST) != []
    report = diagnose(strange, config=recipe("mnist", **changes))
    assert report.findings == []
    for value in changes.values():
        assert any(value in text for text in report.unjudged)


def test_the_hinge_loss_is_not_judged():
    config = recipe("mnist", loss="hinge", real_label=1.0)
    report = diagnose(changed(g_loss=-0.5), config=config)
    assert report.findings == [] and "hinge" in report.unjudged[0]


def test_a_run_shorter_than_the_bands_is_not_compared_with_them():
    history = {**healthy_history(1), "d_loss": [1.0], "images_seen": [5_000.0]}
    report = diagnose(history, samples=samples(black=0.0), config=MNIST)
    assert report.findings == []
    for words in ("5,000", "samples"):
        assert any(words in text for text in report.unjudged), words


def test_what_comes_after_the_bands_is_not_judged():
    history = healthy_history(17)
    last = {name: [*values, values[-1]] for name, values in history.items()}
    last["images_seen"][-1] = 18 * EPOCH
    for known, said in ((history, []), (last, [f"{17 * EPOCH:,}"])):
        unjudged = diagnose(known, samples=samples(), config=MNIST).unjudged
        assert all(text in unjudged[0] for text in said) and len(unjudged) == len(said)


def test_samples_of_a_long_run_are_held_to_more():
    middling = samples(legible=0.7 * healthy_samples(long=False)["legible"])
    for images, found in ((EPOCH, []), (LONG, ["The samples are no digits"])):
        history = {**healthy_history(1), "images_seen": [images]}
        assert faults(history, samples=middling) == found


# The doctor judged


def test_a_confusion_matrix_of_planted_runs():
    def run(kind, case, **levels):
        history = {**short_history(), **{k: [v] * 6 for k, v in levels.items()}}
        rows = zip(
            *(history[name] for name in LEVELS), history["images_seen"], strict=True
        )
        records = [Record(0, *row, 0.0) for row in rows]
        return {"kind": kind, "case": case, "history": records, "samples": samples()}

    runs = [
        run("healthy", "healthy"),
        run("healthy", "healthy", d_loss=20.0),
        run("fault", "saturating loss", g_loss=-0.5),
        run("fault", "saturating loss"),
        run("fault", "D wins", g_loss=-0.5),
    ]
    pairs = confusion(runs)
    assert pairs == {
        (NOTHING, NOTHING): 1,
        (NOTHING, "D's rate too high"): 1,
        ("saturating loss", "saturating loss"): 1,
        ("saturating loss", NOTHING): 1,
        ("D wins", "saturating loss"): 1,
    }
    counted = judgement(pairs)
    assert counted == (3, 2, 1, 2, 1)
    assert (counted.faults, counted.named, counted.alarms) == (3, 1, 1)


def test_samples_count_only_where_they_are_asked_for():
    one = {
        "kind": "fault",
        "case": "foreign BatchNorm statistics",
        "history": [
            Record(0, *row, 0.0)
            for row in zip(
                *(short_history()[name] for name in doctor.COLUMNS), strict=True
            )
        ],
        "samples": samples(statistics_shift=0.2),
    }
    assert confusion([one]) == {(one["case"], one["case"]): 1}
    assert confusion([one], with_samples=False) == {(one["case"], NOTHING): 1}


def test_a_cause_that_has_no_name_is_another():
    report = Report([Finding("Odd", "It is.", ("Nobody knows.",), "nothing.")], [])
    assert suspect(report) == "another"


def test_every_fault_that_is_provoked_is_a_cause_that_the_doctor_knows():
    runs = load_result(SHORT)["runs"]
    assert {run["case"] for run in runs if run["kind"] == "fault"} == set(CAUSES)


# The command


def test_the_command_reads_a_foreign_csv(tmp_path, capsys):
    path = tmp_path / "log.csv"
    lines = ["loss_D,loss_G,real,fake", *["0.01,9.0,1.0,0.0"] * 4]
    path.write_text("\n".join(lines), encoding="utf-8")
    names = ["d_loss=loss_D", "g_loss=loss_G", "d_real=real", "d_fake_after=fake"]
    options = [option for name in names for option in ("--column", name)]
    main(["doctor", str(path), *options, "--json"])
    said = json.loads(capsys.readouterr().out)
    assert [finding["fault"] for finding in said["findings"]] == ["D wins"]
    main(["doctor", str(path), *options])
    out = capsys.readouterr().out
    assert out.startswith("D wins.") and "Try first" in out and "Not judged" in out


def test_the_command_reads_the_folder_of_a_run(tmp_path, capsys, offline):
    run = str(tmp_path / "run")
    main(["train", "mnist", "--dataset", "digits", "--epochs", "1", "--out", run])
    capsys.readouterr()
    main(["doctor", run])
    said = capsys.readouterr().out
    assert "one epoch" in said and "digits" in said


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        (None, [], ["There is no history"]),
        ("", [], ["no epochs"]),
        ("epoch,d_loss,g_loss\n", [], ["no epochs"]),
        ("epoch,loss_D,g_loss\n1,2,3\n", [], ["d_loss", "loss_D", "--column"]),
        ("d_loss,g_loss\n1,2\n1,abc\n", [], ["Line 3", "'abc'", "number"]),
        ("d_loss,g_loss\n1\n", [], ["Line 2", "g_loss"]),
        ("d_loss,g_loss\n1,2\n", ["--column", "d_loss"], ["NAME=COLUMN"]),
        ("d_loss,g_loss\n1,2\n", ["--column", "dloss=a"], ["'dloss'", "d_loss"]),
        ("d_loss,g_loss\n1,2\n", ["--column", "d_real=a"], ["d_real", "a"]),
        ("d_loss,g_loss\n1,2\n", ["--column", "seconds=a"], ["'seconds'"]),
        ("d_loss,g_loss\n1,2\n", ["--samples", "no.npz"], ["no.npz"]),
        ("d_loss,g_loss,images_seen\n1,2,9\n1,2,9\n", [], ["does not grow"]),
        ("d_loss,g_loss,images_seen\n1,2,nan\n", [], ["does not grow"]),
    ],
)
def test_bad_input_is_one_sentence(
    text, options, words, tmp_path, capsys, one_sentence
):
    path = tmp_path / "history.csv"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    refused(path, options, words, capsys, one_sentence)


def test_bytes_that_are_no_text(tmp_path, capsys, one_sentence):
    path = tmp_path / "history.csv"
    path.write_bytes(b"\xff\xfe\x00")
    refused(path, [], ["no csv file"], capsys, one_sentence)


def refused(path: Path, options, words, capsys, one_sentence):
    with pytest.raises(SystemExit):
        main(["doctor", str(path), *options])
    out, err = capsys.readouterr()
    assert out == ""
    one_sentence(err.removeprefix("ganlib: "), *words)


def test_page_24_has_a_row_for_every_cause():
    page = json.loads((ROOT / "notebooks" / "24_failures.ipynb").read_text())
    text = "\n".join("".join(cell["source"]) for cell in page["cells"])
    rows = re.findall(r"^\| (.+?) \|.*\|.*\|.*\|$", text, flags=re.M)
    assert set(rows) == {"Fault", "---", *CAUSES}
