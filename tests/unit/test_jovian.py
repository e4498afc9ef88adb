"""The real client, with a practice service on this machine that keeps what it is sent."""

import json
import re
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ganlib.jovian import commit

KEY = "key-0123456789abcdef"
FILES = {
    "page.ipynb": b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}',
    "run/history.csv": b"epoch,d_loss\r\n1,0.5\r\n",
    "run/generator.safetensors": bytes(range(256)) * 40,
    "run/samples/epoch-0001.png": b"\x89PNG\r\n\x1a\n",
}


class Service(BaseHTTPRequestHandler):
    """Answers as Jovian does, as far as the client can tell."""

    def do_GET(self):
        missing = "/gist/" in self.path and not self.server.versions
        self.reply(404 if missing else 200)

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        folder = re.search(rb'name="folder"\r\n\r\n(.*?)\r\n', body)
        file = re.search(rb'filename="(.*?)"', body)
        parts = [part[1].decode() for part in (folder, file) if part]
        name = "/".join(parts) or self.path
        refusal = self.server.refuse(name)
        if refusal is None and self.authorized():
            self.server.versions += name == "page.ipynb"
            self.server.received.append((name, body))
        self.reply(*(refusal or (200,)))

    def do_CONNECT(self):  # the client wants to reach the world outside, through us
        self.server.outside.append(self.path)
        self.reply(500)

    def authorized(self):
        return self.headers["Authorization"] == f"Bearer {KEY}"

    def reply(self, status, content=None):
        data = {"username": "reader", "owner": {"username": "reader"}, "slug": "s1"}
        data |= {"title": "first-gan", "version": self.server.versions, "write": True}
        data |= {"tracking": {"trackingSlug": "t1"}}
        self.send_response(status if self.authorized() else 401)
        self.end_headers()
        self.wfile.write(content or json.dumps({"data": data}).encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def service():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
    server.received, server.outside, server.versions = [], [], 0
    server.refuse = lambda name: None  # -> (status, content) to refuse
    threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def folder(tmp_path, monkeypatch, service):
    """The files of a run in the working folder, and a home with a key for the service."""
    home, work = tmp_path / "home", tmp_path / "work"
    for name, content in FILES.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(content)
    url = f"http://127.0.0.1:{service.server_port}/"
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    configure(API_KEY=KEY, API_URL=url, WEBAPP_URL="http://jovian.test/")
    monkeypatch.chdir(work)
    return work


def configure(**credentials):
    path = Path.home() / ".jovian" / "credentials.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(credentials))


def everything():
    """{path: content} of all files at hand: those of the run and the credentials."""
    paths = [*Path.cwd().rglob("*"), *Path.home().rglob("*")]
    return {path: path.read_bytes() for path in paths if path.is_file()}


def send(**changes):
    """Commit the run; no file may be changed, lost or new."""
    before = everything()
    receipt = commit("first-gan", notebook="page.ipynb", **{"outputs": "run"} | changes)
    assert everything() == before
    assert receipt.sentence.endswith(".") and "\n" not in receipt.sentence
    return receipt


def test_everything_arrives_and_a_second_commit_is_a_new_version(
    service, folder, capsys
):
    receipt = send(hyperparameters={"lr": 0.001}, metrics={"d_loss": 1.25})
    assert receipt.committed
    assert receipt.sentence == (
        "Committed to http://jovian.test/reader/first-gan: all 6 items arrived."
    )
    assert capsys.readouterr().out == receipt.sentence + "\n"
    received = dict(service.received)
    assert all(content in received[name] for name, content in FILES.items())
    records = [
        json.loads(content)
        for path, content in service.received
        if path == "/data/record"
    ]
    assert [record[0]["data"] for record in records] == [
        {"lr": 0.001},
        {"d_loss": 1.25},
    ]
    assert json.loads(received["/data/s1/commit?gist_version=1"]) == ["t1", "t1"]
    assert not [content for content in received.values() if KEY.encode() in content]
    assert service.outside == []
    assert send(outputs=["run/samples"], message="again").committed
    assert service.versions == 2


@pytest.mark.parametrize(
    "content", [None, "{half", "[]", '{"API_KEY": ""}', '"API_KEY"']
)
def test_without_a_key(service, folder, content):
    path = Path.home() / ".jovian" / "credentials.json"
    path.unlink() if content is None else path.write_text(content)
    receipt = send()
    assert not receipt.committed and "no Jovian key is configured" in receipt.sentence
    assert service.received == []


def test_a_wrong_key_is_refused_and_stays_in_its_file(service, folder):
    configure(API_KEY="an-old-key", API_URL=f"http://127.0.0.1:{service.server_port}/")
    receipt = send()
    assert not receipt.committed and "refused the key" in receipt.sentence
    assert service.received == []


def test_a_file_that_contains_the_key_is_not_sent(service, folder):
    Path("run/notes.txt").write_text(f"my key: {KEY}", encoding="utf-8")
    assert "run/notes.txt contains your Jovian key" in send().sentence
    assert service.received == []


def test_hidden_files_and_links_stay_here(service, folder):
    Path("run/.env").write_text("secret", encoding="utf-8")
    Path("run/link.txt").symlink_to(Path.home() / ".jovian" / "credentials.json")
    assert send().sentence.endswith("all 4 items arrived.")


@pytest.mark.parametrize(
    "answer", [(500, b"oops"), (200, b'{"data": {}, "errors": [1]}')]
)
def test_uploads_that_fail_are_named(service, folder, answer):
    service.refuse = lambda name: answer if name == "run/history.csv" else None
    receipt = send()
    assert not receipt.committed
    wanted = "Committed in part: run/history.csv did not arrive (the service"
    assert receipt.sentence.startswith(wanted)
    assert len(service.received) == 3


def test_numbers_that_fail_are_named(service, folder):
    service.refuse = lambda name: (500, b"") if "/data/s1" in name else None
    receipt = send(metrics={"d_loss": 1.0})
    assert (
        "in part: metrics did not arrive (the service answered HTTP 500)"
        in receipt.sentence
    )


def test_the_client_alone_calls_failed_uploads_a_success(service, folder):
    """If a later client mends this, ganlib.jovian may become simpler."""
    service.refuse = lambda name: None if name == "page.ipynb" else (500, b"")
    code = "import jovian; jovian.commit(project='p', filename='page.ipynb', outputs=['run'])"
    Path("alone.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "alone.py"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert "Committed successfully!" in done.stdout
    assert [name for name, _ in service.received] == ["page.ipynb"]


@pytest.mark.parametrize("answer", [(503, b"<html>"), (200, b"for sale"), (200, b"[]")])
def test_a_service_that_is_gone(service, folder, answer):
    service.refuse = lambda name: answer
    receipt = send()
    assert not receipt.committed and receipt.sentence.startswith(
        "Not committed: the service"
    )


def test_nobody_at_the_address(folder):
    configure(API_KEY=KEY, API_URL="http://127.0.0.1:9/")
    assert "http://127.0.0.1:9 cannot be reached" in send().sentence


def test_a_silent_service_ends_in_time(folder):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        configure(API_KEY=KEY, API_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert "was not done within 2 seconds" in send(timeout=2).sentence


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"outputs": ["run", "nosuch"]}, "nosuch is no file"),
        (
            {"outputs": ["run/history.csv", "other/history.csv"]},
            "two files would be called",
        ),
        ({"metrics": {"loss": float("nan")}}, "JSON"),
        ({"metrics": {"loss": b"1"}}, "bytes"),
    ],
)
def test_what_cannot_be_sent_is_said_before_anything_is(
    service, folder, changes, words
):
    Path("other").mkdir()
    Path("other/history.csv").touch()
    receipt = send(**changes)
    assert not receipt.committed and words in receipt.sentence
    assert service.received == []


def test_a_client_that_is_not_installed(service, folder, monkeypatch):
    Path("jovian.py").write_text("import no_such_module", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    assert "no_such_module" in send().sentence
