"""Files of MNIST come in whole and checked, or not at all, with one clear sentence."""

import gzip
import multiprocessing
import os
import shutil
import socket
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from torchvision import datasets

from ganlib.data import mnist
from ganlib.data.mnist import MissingDataError, data_root, fetch
from ganlib.files import cache_folder

pytestmark = pytest.mark.usefixtures("offline")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def tree(folder):
    """Every file below `folder`, with the time of its last change."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in paths}


def holds(root, tiny, name="MNIST"):
    raw = root / name / "raw"
    return {file: (raw / file).read_bytes() for file in tiny.plain} == tiny.plain


# --- where files are looked for -------------------------------------------------------


def test_unpacked_files_are_taken_where_they_lie(tiny_mnist):
    root = tiny_mnist.root()
    before = tree(root)
    assert fetch("mnist", root=str(root)) == root
    assert tree(root) == before and not cache_folder().exists()


def test_the_root_is_given_or_in_the_environment_or_the_cache(offline, monkeypatch):
    assert data_root() == cache_folder()
    monkeypatch.setenv("HOME", str(offline))
    monkeypatch.setenv("GANLIB_DATA", "~/data")
    assert data_root() == offline / "data"
    assert data_root("elsewhere") == Path("elsewhere")


def test_gzipped_files_are_unpacked_into_the_cache_once(tiny_mnist):
    source = tiny_mnist.root(zipped=True)
    before = tree(source)
    root = fetch("mnist", root=source)
    assert holds(root, tiny_mnist) and root.parent == cache_folder()
    assert tree(source) == before, "the source may be read-only"
    unpacked = tree(cache_folder())
    assert fetch("mnist", root=source) == root
    assert tree(cache_folder()) == unpacked and len(unpacked) == 4


def test_data_sets_and_versions_of_them_do_not_mix(tiny_mnist):
    source = tiny_mnist.root(zipped=True)
    shutil.copytree(source / "MNIST", source / "FashionMNIST")
    old = fetch("fashion-mnist", root=source)
    changed = tiny_mnist.plain[LABELS][:-1] + b"\7"
    packed = source / "FashionMNIST" / "raw" / f"{LABELS}.gz"
    packed.write_bytes(gzip.compress(changed))
    new = fetch("fashion-mnist", root=source)
    assert (new / "FashionMNIST" / "raw" / LABELS).read_bytes() == changed
    assert holds(old, tiny_mnist, "FashionMNIST")
    assert holds(fetch("mnist", root=source), tiny_mnist)


# --- broken files ---------------------------------------------------------------------

BREAKS = {
    "truncated": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "empty": lambda content: b"",
    "wrong magic": lambda content: b"\0\0\7\0" + content[4:],
    "wrong count": lambda content: content[:7] + b"\x0b" + content[8:],
    "a web page": lambda content: b"<!DOCTYPE html><html></html>",
    "other bytes": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("file", [IMAGES, LABELS])
@pytest.mark.parametrize("how", BREAKS)
def test_a_wrong_file_is_named(tiny_mnist, how, file, zipped, says):
    source = tiny_mnist.root(zipped=zipped)
    path = source / "MNIST" / "raw" / (f"{file}.gz" if zipped else file)
    broken = BREAKS[how](tiny_mnist.plain[file])
    path.write_bytes(gzip.compress(broken) if zipped else broken)
    length = f"{len(tiny_mnist.plain[file]):,} bytes"
    right = tiny_mnist.files[file][1] if how == "other bytes" else length
    with says(path, right, "fetch it again") as caught:
        fetch("mnist", root=source)
    assert not isinstance(caught.value, MissingDataError), "or digits would stand in"
    assert tree(cache_folder()) == {}


GZIP_BREAKS = {
    "cut": lambda packed: packed[:-1],
    "empty": lambda packed: b"",
    "no gzip": lambda packed: b"no gzip at all",
    "wrong checksum": lambda packed: packed[:-8] + bytes(8),
    "damaged": lambda packed: packed[:60] + bytes(100) + packed[160:],
}


@pytest.mark.parametrize("how", GZIP_BREAKS)
def test_a_broken_gz_is_named_and_once_mended_works(tiny_mnist, how, says):
    source = tiny_mnist.root(zipped=True)
    path = source / "MNIST" / "raw" / f"{IMAGES}.gz"
    path.write_bytes(GZIP_BREAKS[how](tiny_mnist.packed[IMAGES]))
    with says(path):
        fetch("mnist", root=source)
    assert tree(cache_folder()) == {}
    path.write_bytes(tiny_mnist.packed[IMAGES])
    assert holds(fetch("mnist", root=source), tiny_mnist)


def test_a_forged_gz_fills_neither_disk_nor_memory(tiny_mnist, says):
    source = tiny_mnist.root(zipped=True)
    bomb = gzip.compress(tiny_mnist.plain[IMAGES] + bytes(50_000_000), 1)
    (source / "MNIST" / "raw" / f"{IMAGES}.gz").write_bytes(bomb)
    tracemalloc.start()
    with says(IMAGES, f"{len(tiny_mnist.plain[IMAGES]):,} bytes"):
        fetch("mnist", root=source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6 and tree(cache_folder()) == {}


def test_a_file_that_breaks_later_is_noticed(tiny_mnist, says):
    source = tiny_mnist.root(zipped=True)
    path = fetch("mnist", root=source) / "MNIST" / "raw" / IMAGES
    path.write_bytes(tiny_mnist.plain[IMAGES][:-1] + b"\0")
    os.utime(path, ns=(0, 0))
    with says(path, "delete it"):
        fetch("mnist", root=source)
    path.unlink()
    assert holds(fetch("mnist", root=source), tiny_mnist), "as it was told"


def test_fashion_mnist_in_another_order_is_taken(tiny_mnist):
    root = tiny_mnist.root(name="FashionMNIST")
    path = root / "FashionMNIST" / "raw" / IMAGES
    content = path.read_bytes()
    path.write_bytes(content[:16] + content[16:][::-1])
    assert fetch("fashion-mnist", root=root) == root


def test_the_real_mnist_is_the_published_one(real_mnist):
    fetch("mnist", root=real_mnist)


def test_a_drive_that_fails(tiny_mnist, monkeypatch, says):
    def gone(path, *_):
        raise OSError(5, "Input/output error")

    source = tiny_mnist.root()
    monkeypatch.setattr("builtins.open", gone)
    with says(source / "MNIST" / "raw" / IMAGES, "Input/output error"):
        fetch("mnist", root=source)


@pytest.mark.parametrize("what", ["a file in the way", "No space left on device"])
def test_a_cache_that_cannot_be_written(tiny_mnist, monkeypatch, what, says):
    def full(*_):
        raise OSError(28, what)

    source = tiny_mnist.root(zipped=True)
    if what.startswith("No"):
        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        cache_folder().parent.write_text(what)
        what = "Not a directory"
    with says(cache_folder(), what, "may write", kind=MissingDataError):
        fetch("mnist", root=source)


# --- downloads ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_a_download_puts_all_files_in_place_once(tiny_mnist, mirror, tmp_path, name):
    root = tmp_path / "data"
    raw = root / mnist.FOLDERS[name] / "raw"
    raw.mkdir(parents=True)
    (raw / IMAGES).write_bytes(b"half of it, left by something else")
    assert fetch(name, root=root) == root
    assert holds(root, tiny_mnist, mnist.FOLDERS[name])
    assert len(tree(root)) == 4 and os.listdir(root) == [mnist.FOLDERS[name]]
    asked = len(mirror.seen)
    assert fetch(name, root=root) and len(mirror.seen) == asked


def cut_off(request, content):
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])


def cut_off_within_a_chunk(request, content):
    request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    if request.command == "GET":
        request.wfile.write(b"ffff\r\nonly this")


def silence(request, content):
    request.connection.settimeout(60)
    request.rfile.read(1)  # until the other side gives up


def stalled_midway(request, content):
    cut_off(request, content)
    if request.command == "GET":
        silence(request, content)


def redirect_to_itself(request, content):
    request.send_response(302)
    request.send_header("Location", request.path)
    request.end_headers()


ANSWERS = {
    "not found": lambda request, content: request.send_error(404),
    "other bytes": lambda request, content: request.server.whole(request, b"a page"),
    "no http": lambda request, content: request.wfile.write(b"220 mail\r\n"),
    "hung up": lambda request, _: request.connection.shutdown(socket.SHUT_RDWR),
    "cut off": cut_off,
    "cut off within a chunk": cut_off_within_a_chunk,
    "silence": silence,
    "stalled midway": stalled_midway,
    "redirected to itself": redirect_to_itself,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("answer", ANSWERS)
def test_a_download_that_fails_leaves_nothing(
    mirror, tiny_mnist, tmp_path, monkeypatch, answer, says
):
    """Two files arrive, the third does not."""
    before = socket.getdefaulttimeout()
    monkeypatch.setattr(mnist, "TIMEOUT", 0.3)

    def failing(request, content):
        fine = "train" in request.path
        (mirror.whole if fine else ANSWERS[answer])(request, content)

    mirror.answer, root = failing, tmp_path / "data"
    words = root / "MNIST" / "raw", "could not be downloaded", "GANLIB_DATA", "--data"
    with says("mnist", *words, kind=MissingDataError):
        fetch("mnist", root=root)
    assert os.listdir(root) == [] and socket.getdefaulttimeout() == before
    mirror.answer = mirror.whole
    assert holds(fetch("mnist", root=root), tiny_mnist)


def test_the_second_mirror_is_tried(mirror, tiny_mnist, tmp_path, monkeypatch):
    mirrors = ["http://127.0.0.1:9/", *datasets.MNIST.mirrors]
    monkeypatch.setattr(datasets.MNIST, "mirrors", mirrors)
    assert holds(fetch("mnist", root=tmp_path), tiny_mnist)


def test_a_slow_mirror_is_waited_for(mirror, tiny_mnist, tmp_path, monkeypatch):
    """All in all it takes longer than TIMEOUT, which is for a time without a byte."""
    monkeypatch.setattr(mnist, "TIMEOUT", 0.4)

    def slow(request, content):
        pieces = [content[:9], content[9:20], content[20:40], content[40:]]
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        for piece in pieces if request.command == "GET" else []:
            time.sleep(0.15)
            request.wfile.write(piece)

    mirror.answer = slow
    assert holds(fetch("mnist", root=tmp_path), tiny_mnist)


def test_an_interrupted_download_leaves_nothing(mirror, tmp_path, monkeypatch):
    def interrupted(url, path):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets.utils, "_urlretrieve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("mnist", root=tmp_path / "data")
    assert os.listdir(tmp_path / "data") == []


# --- two at once ----------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="forks, to keep the mirror")
@pytest.mark.parametrize("how", ["download", "unpack"])
def test_two_processes_at_once(tiny_mnist, mirror, tmp_path, how):
    """Twenty times, one of the two ever later, so that it meets the other midway."""
    context = multiprocessing.get_context("fork")
    together = context.Barrier(2)
    source = tiny_mnist.root(zipped=True)

    def fetch_all(late):
        for turn in range(20):
            os.environ["XDG_CACHE_HOME"] = str(tmp_path / "caches" / str(turn))
            together.wait(60)
            time.sleep(late * turn / 1000)
            root = fetch("mnist", root=source if how == "unpack" else None)
            assert holds(root, tiny_mnist)

    started = [context.Process(target=fetch_all, args=(late,)) for late in (0, 1)]
    for process in started:
        process.start()
    for process in started:
        process.join(240)
        assert process.exitcode == 0
    assert len(tree(tmp_path / "caches")) == 20 * 4
