"""What several test modules share: small runs, a tiny MNIST, a loopback mirror, and no way to the network."""

import dataclasses
import gzip
import hashlib
import http.server
import os
import re
import socket
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlib.config import Config
from ganlib.data import mnist
from ganlib.errors import GanlibError

CLOSED = "http://127.0.0.1:9/"  # nothing listens there


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def real_mnist():
    """The torchvision root that GANLIB_DATA names; skips where there is none."""
    root = os.environ.get("GANLIB_DATA")
    if not root or not list(
        Path(root, "MNIST", "raw").glob("train-images-idx3-ubyte*")
    ):
        pytest.skip("GANLIB_DATA names no folder with MNIST")
    return root


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty cache, no GANLIB_DATA, mirrors that refuse, and only the loopback."""
    from torchvision import datasets

    connect = socket.socket.connect

    def loopback_only(self, address):
        local = ("127.0.0.1", "localhost", "::1")
        if isinstance(address, tuple) and address[0] not in local:
            raise OSError(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", loopback_only)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("GANLIB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.MNIST, "mirrors", [CLOSED])
    monkeypatch.setattr(datasets.FashionMNIST, "mirrors", [CLOSED])
    return tmp_path


@pytest.fixture
def tiny_mnist(monkeypatch, offline):
    """Roots of data sets with 12 and 5 images in place of 60,000 and 10,000."""
    tiny = Tiny(offline)
    monkeypatch.setattr(mnist, "FILES", tiny.files)
    return tiny


class Tiny:
    """A tiny MNIST: bytes of its four files, and roots that hold them."""

    def __init__(self, folder):
        rng = np.random.default_rng(0)
        self.folder, self.plain, self.packed, self.files = folder, {}, {}, {}
        for name, (shape, _) in mnist.FILES.items():
            shape = (12 if name.startswith("train") else 5, *shape[1:])
            magic, top = (2051, 256) if "images" in name else (2049, 10)
            header = struct.pack(f">{1 + len(shape)}i", magic, *shape)
            content = header + rng.integers(0, top, shape, dtype=np.uint8).tobytes()
            self.plain[name] = content
            self.packed[name] = gzip.compress(content, mtime=0)
            self.files[name] = shape, hashlib.md5(content).hexdigest()

    def root(self, *, name="MNIST", zipped=False):
        root = self.folder / ("zipped" if zipped else "plain")
        raw = root / name / "raw"
        raw.mkdir(parents=True)
        for file, content in (self.packed if zipped else self.plain).items():
            (raw / (f"{file}.gz" if zipped else file)).write_bytes(content)
        return root

    def pixels(self, file):
        values = torch.frombuffer(bytearray(self.plain[file][16:]), dtype=torch.uint8)
        return values.view(-1, 1, 28, 28)

    def labels(self, file):
        values = torch.frombuffer(bytearray(self.plain[file][8:]), dtype=torch.uint8)
        return values.long()


@pytest.fixture
def mirror(monkeypatch, tiny_mnist):
    """A loopback mirror of the tiny MNIST; `mirror.answer` may be replaced."""
    from torchvision import datasets

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            server.seen.append(self.path)
            file = self.path.strip("/").removesuffix(".gz")
            server.answer(self, tiny_mnist.packed[file])

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    def whole(request, content):
        request.send_response(200)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        if request.command == "GET":
            request.wfile.write(content)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.seen, server.answer, server.whole = [], whole, whole
    serve = {"poll_interval": 0.02}
    threading.Thread(target=server.serve_forever, kwargs=serve, daemon=True).start()
    sums = [
        (f"{name}.gz", hashlib.md5(content).hexdigest())
        for name, content in tiny_mnist.packed.items()
    ]
    for dataset in (datasets.MNIST, datasets.FashionMNIST):
        address = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(dataset, "mirrors", [address])
        monkeypatch.setattr(dataset, "resources", sums)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def small():
    """A config that trains in milliseconds on 4x4 images, with dropout, smoothing and an average of G."""
    return Config(
        epochs=4,
        batch_size=10,
        latent_dim=3,
        hidden_dim=8,
        image_size=4,
        learning_rate_g=1e-2,
        learning_rate_d=1e-2,
        beta1=0.5,
        real_label=0.9,
        dropout=0.3,
        ema_decay=0.9,
    )


@pytest.fixture
def pixels():
    """25 images for `small`: two batches of 10 an epoch, and 5 images left out of it."""
    return torch.randint(
        0,
        256,
        (25, 1, 4, 4),
        dtype=torch.uint8,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.fixture
def weights_of():
    """A network or optimizer -> copies of its tensors, to be compared later."""

    def copy(part):
        return [value.detach().clone() for value in part.state_dict().values()]

    return copy


@pytest.fixture
def says():
    """`with says("batch_size", "0"):` a GanlibError of one sentence with these words in it."""

    class Says:
        def __init__(self, *words, kind=GanlibError):
            self.words, self.raises = words, pytest.raises(kind)

        def __enter__(self):
            self.caught = self.raises.__enter__()
            return self.caught

        def __exit__(self, *exception):
            passed = self.raises.__exit__(*exception)
            is_one_sentence(str(self.caught.value), *self.words)
            return passed

    return Says


def is_one_sentence(text, *words):
    text = text.removesuffix("\n")
    assert "\n" not in text and "\r" not in text, text
    assert text.endswith(".") and not re.search(r"[.!?] [A-Z]", text), text
    for word in words:
        assert str(word) in text, f"{word!r} is not in: {text}"


@pytest.fixture
def one_sentence():
    return is_one_sentence


@pytest.fixture
def python(tmp_path):
    """Run python in a fresh process and an empty folder, with an empty home and no way to the network."""

    def run(*arguments, **environment):
        home = tmp_path / "home"
        home.mkdir(exist_ok=True)
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GANLIB", "XDG", "MPL"))
        }
        kept |= {
            "HOME": str(home),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        kept |= dict.fromkeys(
            ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), CLOSED
        )
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], cwd=home, env=kept | environment, capture_output=True, text=True,
            timeout=300,
        )  # fmt: skip
        done.home = home
        return done

    return run


@pytest.fixture(scope="session")
def torchrun():
    """`torchrun(script or "-m", …, flags=[…])`: two processes here, of which none outlives the test."""
    root, psutil = Path(__file__).parents[1], pytest.importorskip("psutil")

    @contextmanager
    def start(*arguments, flags=()):
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("GANLIB", "XDG", "MPL"))
        }
        kept |= {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(root),
            "PYTHONUNBUFFERED": "1",
        }
        kept |= {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
        command = [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            *flags,
        ]
        process = subprocess.Popen(
            [*command, *map(str, arguments)], cwd=root, env=kept, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            yield process
        finally:
            if process.poll() is None:
                for one in (
                    *psutil.Process(process.pid).children(recursive=True),
                    process,
                ):
                    with suppress(psutil.NoSuchProcess):
                        one.kill()
            process.communicate(timeout=30)

    def run(*arguments, flags=(), timeout=300):
        with start(*arguments, flags=flags) as process:
            out, err = process.communicate(timeout=timeout)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    run.start = start
    return run


@pytest.fixture
def same_history():
    """Whether two histories are equal in everything but the seconds."""

    def compare(one, other):
        return [record._replace(seconds=0) for record in one] == [
            record._replace(seconds=0) for record in other
        ]

    return compare


@pytest.fixture
def changed():
    """`changed(config, field=value)`: the dataclass's own replace, not the one under test."""
    return dataclasses.replace


@pytest.fixture(scope="session")
def chromium():
    """Headless Chromium, driven by Playwright; skips where one of the two is not installed, but never in CI."""
    from browser import FLAGS, find_chromium

    packages = [
        name
        for name in ("playwright", "axe_playwright_python")
        if find_spec(name) is None
    ]
    missing = ", ".join(packages + ["Chromium"] * (find_chromium() is None))
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(
            f"the browser tests need {missing}"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=FLAGS
        )
        yield browser
        browser.close()
