"""The gate: files come in whole and checked, or not at all, or with one clear sentence."""

import gzip
import hashlib
import multiprocessing
import os
import shutil
import socket
import stat
import time
from pathlib import Path

import pytest
from torchvision import datasets

from ganlib import files
from ganlib.errors import GanlibError
from ganlib.data.mnist import MissingDataError, fetch
from ganlib.files import cache_folder, write_atomic

pytestmark = pytest.mark.usefixtures("offline")
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def _tree(folder):
    """Every file below `folder`, as a path of text."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file())


def _holds(root, tiny, name="MNIST"):
    return {file: (root / name / "raw" / file).read_bytes() for file in tiny.plain} == tiny.plain


# --- files that are here ----------------------------------------------------------------------------------------------


def test_unpacked_files_are_taken_where_they_lie(tiny_mnist):
    root = tiny_mnist.root()
    assert fetch("mnist", root=root) == root and fetch("mnist", root=str(root)) == root
    assert not cache_folder().exists(), "looking must not make a folder"


def test_the_root_may_come_from_the_environment(tiny_mnist, monkeypatch):
    root = tiny_mnist.root()
    monkeypatch.setenv("GANLIB_DATA", str(root))
    assert fetch("mnist") == root
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.setenv("GANLIB_DATA", "~/plain")
    assert fetch("mnist") == root
    monkeypatch.delenv("GANLIB_DATA")
    shutil.copytree(root, cache_folder())
    assert fetch("mnist") == cache_folder()


def test_gzipped_files_are_unpacked_into_the_cache_once(tiny_mnist):
    source = tiny_mnist.root(zipped=True)
    before = _tree(source)
    root = fetch("mnist", root=source)
    assert _holds(root, tiny_mnist) and _tree(source) == before and root.parent == cache_folder()
    stamps = [path.stat().st_mtime_ns for path in root.rglob("*")]
    assert fetch("mnist", root=source) == root
    assert [path.stat().st_mtime_ns for path in root.rglob("*")] == stamps
    assert len(list(cache_folder().iterdir())) == 1


def test_a_root_in_which_nothing_can_be_written(tiny_mnist, monkeypatch):
    """For root no folder is read-only, so what counts is that nothing in it has changed."""
    source = tiny_mnist.root(zipped=True)
    if os.geteuid():
        for folder in (source, source / "MNIST", source / "MNIST" / "raw"):
            folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    before = [(path, path.stat().st_mtime_ns) for path in sorted(source.rglob("*"))]
    assert _holds(fetch("mnist", root=source), tiny_mnist)
    assert [(path, path.stat().st_mtime_ns) for path in sorted(source.rglob("*"))] == before


def test_two_data_sets_do_not_mix(tiny_mnist):
    source = tiny_mnist.root(zipped=True)
    (source / "FashionMNIST" / "raw").mkdir(parents=True)
    for file, content in tiny_mnist.plain.items():
        changed = content[:16] + bytes(255 - byte for byte in content[16:])
        (source / "FashionMNIST" / "raw" / f"{file}.gz").write_bytes(gzip.compress(changed))
    mnist, fashion = fetch("mnist", root=source), fetch("fashion-mnist", root=source)
    assert mnist != fashion and _holds(mnist, tiny_mnist) and not _holds(fashion, tiny_mnist, "FashionMNIST")


def test_new_gzipped_files_are_not_taken_for_the_old_ones(tiny_mnist):
    source = tiny_mnist.root(zipped=True)
    old = fetch("mnist", root=source)
    changed = tiny_mnist.plain[LABELS][:-1] + bytes([tiny_mnist.plain[LABELS][-1] ^ 1])
    (source / "MNIST" / "raw" / f"{LABELS}.gz").write_bytes(gzip.compress(changed))
    new = fetch("mnist", root=source)
    assert new != old and (new / "MNIST" / "raw" / LABELS).read_bytes() == changed


BREAKS = {
    "truncated": lambda content: content[:-1],
    "longer": lambda content: content + b"\0",
    "empty": lambda content: b"",
    "only a header": lambda content: content[:16],
    "wrong magic": lambda content: b"\0\0\7\0" + content[4:],
    "wrong count": lambda content: content[:4] + (11).to_bytes(4, "big") + content[8:],
    "a web page": lambda content: b"<!DOCTYPE html><html></html>",
}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("file", [IMAGES, LABELS, "t10k-images-idx3-ubyte"])
@pytest.mark.parametrize("how", BREAKS)
def test_a_wrong_idx_file_is_named(tiny_mnist, how, file, zipped, says):
    source = tiny_mnist.root(zipped=zipped)
    path = source / "MNIST" / "raw" / (f"{file}.gz" if zipped else file)
    broken = BREAKS[how](tiny_mnist.plain[file])
    path.write_bytes(gzip.compress(broken) if zipped else broken)
    right = len(tiny_mnist.plain[file])
    seen = min(len(broken), right + 1) if zipped else len(broken)  # of a gz, one byte too many is enough
    with says(source / "MNIST" / "raw" / file, f"{seen:,} bytes", f"{right:,}") as caught:
        fetch("mnist", root=source)
    assert not isinstance(caught.value, MissingDataError), "a wrong file must not be papered over with digits"
    assert ("header" in str(caught.value)) == (broken[:16] != tiny_mnist.plain[file][:16])
    assert _tree(cache_folder()) == [], "nothing half-checked may stay in the cache"


def test_images_and_labels_swapped(tiny_mnist, says):
    raw = tiny_mnist.root() / "MNIST" / "raw"
    (raw / IMAGES).write_bytes(tiny_mnist.plain[LABELS])
    with says(raw / IMAGES, "header"):
        fetch("mnist", root=raw.parents[1])


@pytest.fixture
def published(tiny_mnist, monkeypatch):
    """The tiny MNIST as if it were the published one; how often a checksum was taken."""
    sums = {file: hashlib.md5(content).hexdigest() for file, content in tiny_mnist.plain.items()}
    taken, md5 = [], hashlib.md5
    monkeypatch.setattr(files, "PUBLISHED", {"mnist": sums})
    monkeypatch.setattr(files.hashlib, "md5", lambda content: taken.append(len(content)) or md5(content))
    return sums, taken


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("file", [IMAGES, LABELS])
@pytest.mark.parametrize("how", [lambda content: content[:-1] + bytes([content[-1] ^ 1]),
                                 lambda content: content[:16] + bytes(len(content) - 16)])  # fmt: skip
def test_an_mnist_of_the_right_length_with_other_bytes_is_named(tiny_mnist, published, how, file, zipped, says):
    source, broken = tiny_mnist.root(zipped=zipped), how(tiny_mnist.plain[file])
    assert _holds(fetch("mnist", root=source), tiny_mnist)
    path = source / "MNIST" / "raw" / (f"{file}.gz" if zipped else file)
    path.write_bytes(gzip.compress(broken) if zipped else broken)
    found = hashlib.md5(broken).hexdigest()
    with says(source / "MNIST" / "raw" / file, f"MD5 is {found}", published[0][file], "fetch it again") as caught:
        fetch("mnist", root=source)
    assert not isinstance(caught.value, MissingDataError), "a wrong file must not be papered over with digits"
    assert len(_tree(cache_folder())) == 4 * zipped, "of what is wrong nothing may stay in the cache"


def test_the_checksum_of_a_file_is_taken_once(tiny_mnist, published, says):
    root, taken = tiny_mnist.root(), published[1]
    for _ in range(3):
        fetch("mnist", root=root)
    assert sorted(taken) == sorted(map(len, tiny_mnist.plain.values()))
    path = root / "MNIST" / "raw" / IMAGES
    os.utime(path, ns=(0, 0))
    fetch("mnist", root=root)
    assert len(taken) == 5, "changed, so looked at again"


def test_a_fashion_mnist_in_another_order_is_taken_as_it_is(tiny_mnist, published):
    root = tiny_mnist.root(name="FashionMNIST")
    assert fetch("fashion-mnist", root=root) == root and published[1] == []


def test_the_published_checksums_are_there_for_each_file():
    assert files.PUBLISHED["mnist"].keys() == files.FILES.keys()
    assert {len(bytes.fromhex(md5)) for md5 in files.PUBLISHED["mnist"].values()} == {16}


def test_the_real_mnist_is_the_published_one(real_mnist):
    fetch("mnist", root=real_mnist)


@pytest.mark.skipif(not os.geteuid(), reason="root may read every file")
@pytest.mark.parametrize("zipped", [False, True])
def test_a_file_that_may_not_be_read(tiny_mnist, zipped, says):
    source = tiny_mnist.root(zipped=zipped)
    path = source / "MNIST" / "raw" / f"{IMAGES}{'.gz' * zipped}"
    path.chmod(0)
    with says(path, "Permission denied"):
        fetch("mnist", root=source)


def test_a_file_that_fails_while_it_is_read(tiny_mnist, monkeypatch, says):
    """A drive that is unplugged, a network folder that is gone."""

    def gone(path, *_):
        raise OSError(5, "Input/output error")

    source = tiny_mnist.root()
    monkeypatch.setattr("builtins.open", gone)
    with says(source / "MNIST" / "raw" / IMAGES, "Input/output error"):
        fetch("mnist", root=source)


@pytest.mark.parametrize(
    "broken",
    [
        lambda packed: packed[:-20], lambda packed: packed[:-1], lambda packed: b"", lambda packed: b"no gzip at all",
        lambda packed: packed[:-8] + b"\0" * 8,
        lambda packed: packed[:60] + bytes(byte ^ 0x55 for byte in packed[60:160]) + packed[160:],
        lambda packed: packed[:10] + b"\xff" * 50 + packed[60:],
    ],
)  # fmt: skip
def test_a_broken_gz_is_named_and_leaves_nothing(tiny_mnist, broken, says):
    source = tiny_mnist.root(zipped=True)
    path = source / "MNIST" / "raw" / f"{IMAGES}.gz"
    path.write_bytes(broken(path.read_bytes()))
    with says(path if path.stat().st_size else IMAGES):
        fetch("mnist", root=source)
    assert _tree(cache_folder()) == []
    path.write_bytes(tiny_mnist.packed[IMAGES])
    assert _holds(fetch("mnist", root=source), tiny_mnist), "once mended it must work"


def test_a_forged_gz_takes_no_more_of_the_disk_than_the_file_may_have(tiny_mnist, monkeypatch, says):
    source, written = tiny_mnist.root(zipped=True), []
    write = Path.write_bytes
    bomb = gzip.compress(tiny_mnist.plain[IMAGES] + bytes(50_000_000), 1)
    write(source / "MNIST" / "raw" / f"{IMAGES}.gz", bomb)
    monkeypatch.setattr(Path, "write_bytes", lambda path, content: written.append(len(content)) or write(path, content))
    length = len(tiny_mnist.plain[IMAGES])
    with says(source / "MNIST" / "raw" / IMAGES, f"{length + 1:,} bytes or more", f"{length:,}"):
        fetch("mnist", root=source)
    assert max(written) == length + 1 and _tree(cache_folder()) == []


def test_a_file_cut_short_in_the_cache_is_noticed(tiny_mnist, says):
    source = tiny_mnist.root(zipped=True)
    path = fetch("mnist", root=source) / "MNIST" / "raw" / IMAGES
    path.write_bytes(path.read_bytes()[:-5])
    with says(path):
        fetch("mnist", root=source)
    path.unlink()
    assert _holds(fetch("mnist", root=source), tiny_mnist), "deleting it, as told, must mend it"


def test_a_cache_that_cannot_be_written(tiny_mnist, monkeypatch, tmp_path, says):
    source = tiny_mnist.root(zipped=True)
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with says(tmp_path / "file", "write", kind=MissingDataError):
        fetch("mnist", root=source)
    with says(tmp_path / "file", "write", kind=MissingDataError):
        fetch("mnist", root=tmp_path / "file" / "data")


def test_a_disk_that_is_full_is_not_blamed_on_the_gz(tiny_mnist, monkeypatch, says):
    def full(*_):
        raise OSError(28, "No space left on device")

    source = tiny_mnist.root(zipped=True)
    monkeypatch.setattr(Path, "write_bytes", full)
    with says("No space left on device") as caught:
        fetch("mnist", root=source)
    assert "broken" not in str(caught.value) and _tree(cache_folder()) == []


# --- two at once ------------------------------------------------------------------------------------------------------


def test_a_file_that_another_process_reads_is_never_written_to(tiny_mnist, monkeypatch):
    """The slower of two unpackers finishes while the faster one's files are in use."""
    source = tiny_mnist.root(zipped=True)
    unpack, opened = files.gzip.open, []

    def overtaken(path):
        if not opened:
            opened.append(None)
            root = fetch("mnist", root=source)
            opened[0] = open(root / "MNIST" / "raw" / IMAGES, "rb")
            opened.append(os.fstat(opened[0].fileno()).st_mtime_ns)
        return unpack(path)

    monkeypatch.setattr(files.gzip, "open", overtaken)
    assert _holds(fetch("mnist", root=source), tiny_mnist)
    with opened[0] as handle:
        assert os.fstat(handle.fileno()).st_mtime_ns == opened[1]
        assert handle.read() == tiny_mnist.plain[IMAGES]
    assert not [path for path in _tree(cache_folder()) if ".new" in path]


def _both_at_once(tiny, root):
    """Two processes fetch at once into a new cache or a new root/TURN, thirty times, one ever later within it."""
    context = multiprocessing.get_context("fork")
    together = context.Barrier(2)

    def fetch_all(late):
        for turn in range(30):
            os.environ["XDG_CACHE_HOME"] = str(tiny.folder / "caches" / str(turn))
            together.wait(60)
            time.sleep(late * turn / 2000)
            assert _holds(fetch("mnist", root=str(root).replace("TURN", str(turn))), tiny)

    started = [context.Process(target=fetch_all, args=(late,)) for late in (False, True)]
    for process in started:
        process.start()
    for process in started:
        process.join(240)
        assert process.exitcode == 0


def test_two_processes_download_at_once(tiny_mnist, mirror, tmp_path):
    _both_at_once(tiny_mnist, tmp_path / "data" / "TURN")
    whole = sorted(f"{turn}/MNIST/raw/{file}" for turn in range(30) for file in files.FILES)
    assert _tree(tmp_path / "data") == whole and len(mirror.seen) > 30 * 4, "both must have asked"


def test_two_processes_unpack_at_once(tiny_mnist, monkeypatch):
    def in_halves(path, content):
        with open(path, "wb", buffering=0) as file:
            file.write(content[: len(content) // 2])
            time.sleep(0.005)
            file.write(content[len(content) // 2 :])

    source = tiny_mnist.root(zipped=True)
    monkeypatch.setattr(Path, "write_bytes", in_halves)
    _both_at_once(tiny_mnist, source)
    roots = list((tiny_mnist.folder / "caches").glob("*/ganlib/*"))
    assert len(roots) == 30
    root = roots[0]
    assert root.name.startswith("unpacked-") and _tree(root) == sorted(f"MNIST/raw/{file}" for file in files.FILES)


# --- downloads --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")])
def test_a_download_puts_all_files_in_place(tiny_mnist, mirror, tmp_path, name, folder):
    assert fetch(name, root=tmp_path / "data") == tmp_path / "data"
    assert _holds(tmp_path / "data", tiny_mnist, folder)
    asked = len(mirror.seen)
    assert fetch(name, root=tmp_path / "data") and len(mirror.seen) == asked, "twice asked, once downloaded"
    assert os.listdir(tmp_path / "data") == [folder]


def test_without_a_root_the_cache_is_filled(tiny_mnist, mirror):
    assert fetch("mnist") == cache_folder() and _holds(cache_folder(), tiny_mnist)


def test_a_download_completes_what_lies_there_unfinished(tiny_mnist, mirror, tmp_path):
    raw = tmp_path / "data" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / IMAGES).write_bytes(b"half of it")
    assert _holds(fetch("mnist", root=tmp_path / "data"), tiny_mnist)


def test_a_faster_process_does_not_disturb_a_download(tiny_mnist, mirror, tmp_path):
    whole, root = mirror.answer, tmp_path / "data"

    def overtaken(request, content):
        if not (root / "MNIST").exists():
            shutil.copytree(tiny_mnist.root(), root, dirs_exist_ok=True)
        whole(request, content)

    mirror.answer = overtaken
    assert _holds(fetch("mnist", root=root), tiny_mnist) and os.listdir(root) == ["MNIST"]


def _cut_off(request, content):
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])


def _chunk_cut_off(request, content):
    request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    if request.command == "GET":
        request.wfile.write(b"ffff\r\nonly this")


def _html(request, content):
    request.server.whole(request, b"<html>Please log in to this hotel's network.</html>")


def _hang(request, content):
    request.connection.settimeout(60)
    request.rfile.read(1)  # until the other side gives up


def _redirect(request, content):
    request.send_response(302)
    request.send_header("Location", request.path)
    request.send_header("Content-Length", "0")
    request.end_headers()


def _trickle(request, content):
    """A byte now and then, more slowly than anybody would wait for it, and then the end."""
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    for byte in content[:5]:
        request.wfile.write(bytes([byte]))
        request.wfile.flush()
        time.sleep(0.05)


def _stalls_midway(request, content):
    """Half of the file, and then not a byte more."""
    _cut_off(request, content)
    if request.command == "GET":
        _hang(request, content)


def _other_bytes(request, content):
    """The right length, but not the bytes that the published checksum was made of."""
    request.server.whole(request, content[:-1] + bytes([content[-1] ^ 1]))


ANSWERS = {
    "forbidden": lambda request, content: request.send_error(403),
    "a redirect loop": _redirect,
    "a wrong checksum": _other_bytes,
    "slow": _trickle,
    "cut off": _cut_off,
    "stalled midway": _stalls_midway,
    "cut off within a chunk": _chunk_cut_off,
    "a log-in page": _html,
    "not found": lambda request, content: request.send_error(404),
    "out of order": lambda request, content: request.send_error(503),
    "no http at all": lambda request, content: request.wfile.write(b"220 mail.example ready\r\n"),
    "hung up": lambda request, content: request.connection.shutdown(socket.SHUT_RDWR),
    "silence": _hang,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("after", [0, 2])
def test_a_download_that_fails_leaves_nothing(tiny_mnist, mirror, tmp_path, monkeypatch, answer, after, says):
    """`after` files come well, the next one does not."""
    whole, before = mirror.answer, socket.getdefaulttimeout()
    monkeypatch.setattr(files, "TIMEOUT", 0.3)

    def failing(request, content):
        fine = request.path.strip("/").removesuffix(".gz") in list(tiny_mnist.packed)[:after]
        (whole if fine else ANSWERS[answer])(request, content)

    mirror.answer = failing
    root, started = tmp_path / "data", time.monotonic()
    asked = f":{mirror.server_port}/{list(tiny_mnist.packed)[after]}.gz: "
    with says("mnist", root / "MNIST" / "raw", "GANLIB_DATA", "--data", asked, kind=MissingDataError):
        fetch("mnist", root=root)
    assert time.monotonic() - started < 30, "a silent mirror must be given up"
    assert _tree(root) == [] and os.listdir(root) == []
    assert socket.getdefaulttimeout() == before
    mirror.answer = whole
    monkeypatch.setattr(files, "TIMEOUT", 20)
    assert _holds(fetch("mnist", root=root), tiny_mnist), "the next try must start afresh"


REASONS = {
    "forbidden": "403", "a redirect loop": "redirect", "a wrong checksum": "corrupted", "a log-in page": "corrupted",
    "silence": "timed out", "stalled midway": "timed out",
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("answer", ANSWERS)
def test_the_second_mirror_is_tried_when_the_first_fails(tiny_mnist, mirror, tmp_path, monkeypatch, answer):
    whole, first, here = mirror.answer, [], f"http://127.0.0.1:{mirror.server_port}/"
    mirror.packed = tiny_mnist.packed | {f"first/{file}": content for file, content in tiny_mnist.packed.items()}
    monkeypatch.setattr(datasets.MNIST, "mirrors", [f"{here}first/", here])
    monkeypatch.setattr(files, "TIMEOUT", 0.3)

    def answers(request, content):
        if request.path.startswith("/first/"):
            first.append(request.path)
            return ANSWERS[answer](request, content)
        whole(request, content)

    mirror.answer = answers
    assert _holds(fetch("mnist", root=tmp_path), tiny_mnist) and len(set(first)) == 4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("answer", REASONS)
def test_all_mirrors_that_failed_are_named_with_the_reason(tiny_mnist, mirror, tmp_path, monkeypatch, answer, says):
    here = f"http://127.0.0.1:{mirror.server_port}/"
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["http://127.0.0.1:9/", here])
    monkeypatch.setattr(files, "TIMEOUT", 0.3)
    mirror.answer = ANSWERS[answer]
    with says("http://127.0.0.1:9/train", "refused", f"{here}train-images-idx3-ubyte.gz: ", REASONS[answer],
              kind=MissingDataError):  # fmt: skip
        fetch("mnist", root=tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_slow_mirror_that_goes_on_sending_is_waited_for(tiny_mnist, mirror, tmp_path, monkeypatch):
    """All in all it takes longer than TIMEOUT, which is for a time without a byte."""
    monkeypatch.setattr(files, "TIMEOUT", 0.4)

    def slow(request, content):
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        for piece in (content[:9], content[9:20], content[20:40], content[40:]) * (request.command == "GET"):
            time.sleep(0.15)
            request.wfile.write(piece)

    mirror.answer = slow
    assert _holds(fetch("mnist", root=tmp_path), tiny_mnist)


def test_an_interrupted_download_leaves_nothing(tiny_mnist, mirror, tmp_path, monkeypatch):
    def interrupted(url, path):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(datasets.utils, "_urlretrieve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch("mnist", root=tmp_path / "data")
    assert os.listdir(tmp_path / "data") == []


def test_no_network_is_said_with_what_to_do(tmp_path, says):
    with says("could not be downloaded", tmp_path, "GANLIB_DATA", "--data", kind=MissingDataError):
        fetch("mnist", root=tmp_path)


# --- write_atomic ------------------------------------------------------------------------------------------------------


def test_write_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    write_atomic(path, b"one")
    with open(path, "rb") as reader:
        write_atomic(str(path), b"two")
        assert reader.read() == b"one", "who reads the old file goes on reading the old file"
    assert path.read_bytes() == b"two" and os.listdir(path.parent) == ["a.bin"]


def test_a_write_that_fails_halfway_keeps_the_old_file(tmp_path, monkeypatch, says):
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with says("No space left on device", path):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_places_where_nothing_can_be_written(tmp_path, says):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder" / "full").mkdir(parents=True)
    for path in ("file/a", "file/deeper/a", "folder", "/proc/nothing/a"):
        with says("Cannot write", tmp_path / path):
            write_atomic(tmp_path / path, b"")
    assert (tmp_path / "file").read_text() == "in the way" and _tree(tmp_path) == ["file"]


def test_a_missing_data_error_is_a_ganlib_error():
    assert issubclass(MissingDataError, GanlibError)
