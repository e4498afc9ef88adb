"""The letter box, with the real client and a practice service on the loopback interface that records every request."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from email import message_from_bytes
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType

import pytest

from ganlib import publish

KEY = "key-0123456789abcdef"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
WEIGHTS = bytes(range(255, -1, -1)) * 40
NOTEBOOK = b'{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


class Service(ThreadingHTTPServer):
    """What Jovian does, as far as the client can tell. A test makes it fail by its `sabotage`."""

    daemon_threads = True

    def handle_error(self, *_):
        """A client that was stopped half-way is part of the play."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Desk)
        self.url = f"http://127.0.0.1:{self.server_port}/"
        self.requests, self.versions, self.files, self.blocks, self.attached = [], {}, [], [], []
        self.sabotage = lambda method, path, name: None  # -> None to answer as usual, or (status, bytes)
        self.write_access = True

    def answer(self, method, path, form, blocks):
        """One request -> data of the answer, or None for 404."""
        match [part for part in path.partition("?")[0].split("/") if part]:
            case ["user", "profile"]:
                return {"username": "reader"}
            case ["user", "reader", "gist", title]:
                return self._about(title) if title in self.versions else None
            case ["gist", _, "check-access"]:
                return {"write": self.write_access}
            case ["gist", "create"]:
                self.versions[form["title"]] = 0
                return self._keep(form["title"], form, path, new=True)
            case ["gist", slug, "upload"]:
                return self._keep(slug.removeprefix("slug-"), form, path, new="gist_version" not in path)
            case ["data", "record"]:
                self.blocks += blocks
                return {"tracking": {"trackingSlug": f"record-{len(self.blocks)}"}}
            case ["data", slug, "commit"]:
                self.attached.append((slug, path.partition("gist_version=")[2], blocks))
                return {}
        return None

    def _about(self, title):
        return {
            "slug": f"slug-{title}",
            "title": title,
            "owner": {"username": "reader"},
            "version": self.versions[title],
        }

    def _keep(self, title, form, path, *, new):
        self.versions[title] += new
        name = "/".join(filter(None, (form.get("folder"), form["name"])))
        self.files.append((f"{title} v{self.versions[title]}", name, form["content"], form.get("artifact") == "true"))
        assert new or path.endswith(f"gist_version={self.versions[title]}")
        return self._about(title)


class Desk(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self._work("GET")

    def do_POST(self):
        self._work("POST")

    def do_CONNECT(self):  # somebody wants to reach the world outside through us
        self._work("CONNECT")

    def _work(self, method):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        form, blocks = {}, None
        if self.headers.get_content_type() == "multipart/form-data":
            form = _parse(self.headers["Content-Type"], body)
        elif body:
            blocks = json.loads(body)
        self.server.requests.append((method, self.path, self.headers.get("Authorization")))
        failure = self.server.sabotage(method, self.path, form.get("name"))
        if failure is None and self.headers.get("Authorization") != f"Bearer {KEY}":
            failure = 401, b'{"errors": [{"message": "invalid token"}]}'
        if failure is None:
            data = self.server.answer(method, self.path, form, blocks)
            failure = (404, b"{}") if data is None else (200, json.dumps({"data": data}).encode())
        self.send_response(failure[0])
        self.send_header("Content-Length", str(len(failure[1])))
        self.end_headers()
        self.wfile.write(failure[1])


def _parse(content_type, body):
    """multipart/form-data -> {field: text}, with `name` and `content` of its one file."""
    form = {}
    whole = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body, policy=HTTP)
    for part in whole.iter_parts():
        content = part.get_payload(decode=True)
        if part.get_filename():
            form["name"], form["content"] = part.get_filename(), content
        else:
            form[part.get_param("name", header="content-disposition")] = content.decode()
    return form


@pytest.fixture
def service():
    with Service() as service:
        threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield service
        service.shutdown()


@pytest.fixture
def home(tmp_path, monkeypatch, service):
    """A home with a key for the service, and a proxy that would record whatever else the client asks the world for."""
    home = tmp_path / "home"
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, service.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    configure(home, API_KEY=KEY, API_URL=service.url, WEBAPP_URL="http://jovian.test/")
    return home


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A working folder with a notebook and a run: two images in a folder, weights, json, history."""
    folder = tmp_path / "work"
    contents = {
        "page.ipynb": NOTEBOOK,
        "runs/mnist/samples/epoch-0001.png": PNG,
        "runs/mnist/samples/epoch-0002.png": PNG[::-1],
        "runs/mnist/generator.pt": WEIGHTS,
        "runs/mnist/generator.json": b"{}\n",
        "runs/mnist/critic.pth": WEIGHTS[::-1],
        "runs/mnist/history.csv": b"epoch,d_loss\r\n1,0.5\r\n",
    }
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    monkeypatch.chdir(folder)
    return contents


def configure(home, **credentials):
    (home / ".jovian").mkdir(parents=True, exist_ok=True)
    (home / ".jovian" / "credentials.json").write_text(json.dumps(credentials, indent=3))


def everything(folder):
    """{path: bytes} of all files below `folder`, hidden ones too."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def commit(**changes):
    """publish.commit of the run, and: no file on this machine is changed, lost or new, the credentials least of all."""
    before = everything(Path.cwd()), everything(Path.home())
    settings = {"notebook": "page.ipynb", "outputs": ["runs/mnist"], "timeout": 60, **changes}
    receipt = publish.commit("first-gan", **settings)
    assert (everything(Path.cwd()), everything(Path.home())) == before
    return receipt


def failed(receipt, *words):
    """Whether it is one sentence of failure, with these words."""
    assert not receipt.committed
    assert receipt.sentence.startswith(("Not committed: ", "Committed in part: "))
    assert receipt.sentence.endswith(".") and "\n" not in receipt.sentence
    assert [word for word in words if word not in receipt.sentence] == [], receipt.sentence
    return True


def test_importing_it_imports_no_client_and_writes_nothing(tmp_path):
    code = "import sys, ganlib.jovian; print({'jovian', 'requests', 'torch', 'IPython'} & sys.modules.keys())"
    root = Path(publish.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "set()\n" and done.stderr == "" and list(tmp_path.iterdir()) == []


def test_first_commit_brings_notebook_files_and_numbers(service, home, run, capsys):
    receipt = commit(hyperparameters={"lr": 0.001, "batch": 100}, metrics={"d_loss": 1.25}, message="two epochs")
    assert receipt.committed and capsys.readouterr().out == receipt.sentence + "\n"
    assert receipt.sentence == "Committed to http://jovian.test/reader/first-gan: all 9 items arrived."
    assert {(name, content) for _, name, content, _ in service.files} == set(run.items())
    assert service.files[0] == ("first-gan v1", "page.ipynb", NOTEBOOK, False)
    assert all(artifact and where == "first-gan v1" for where, _, _, artifact in service.files[1:])
    blocks = [(block["recordType"], block["data"]) for block in service.blocks]
    assert blocks == [("hyperparams", {"lr": 0.001, "batch": 100}), ("metrics", {"d_loss": 1.25})]
    assert service.attached == [("slug-first-gan", "1", ["record-1", "record-2"])]
    assert {key for _, _, key in service.requests} == {f"Bearer {KEY}"}
    assert not [method for method, _, _ in service.requests if method == "CONNECT"]


def test_second_commit_is_a_new_version_of_the_same_project(service, home, run):
    commit(outputs=["runs/mnist/generator.pt"], metrics={"epoch": 1})
    Path("page.ipynb").write_bytes(NOTEBOOK + b"\n")
    assert commit(outputs="runs/mnist/samples", metrics={"epoch": 2}).committed
    assert service.versions == {"first-gan": 2}
    second = [(name, content) for where, name, content, _ in service.files if where == "first-gan v2"]
    images = [(name, run[name]) for name in run if name.endswith("png")]
    assert second == [("page.ipynb", NOTEBOOK + b"\n"), *images]
    assert service.attached[1] == ("slug-first-gan", "2", ["record-2"])


def test_inside_colab_it_commits_where_the_client_alone_returns_none(service, home, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", ModuleType("google.colab"))
    assert commit(outputs=[]).committed and [name for _, name, _, _ in service.files] == ["page.ipynb"]


@pytest.mark.parametrize("credentials", [None, {"API_URL": "x"}, {"API_KEY": ""}, {"API_KEY": None}])
def test_without_a_key_it_says_so_and_asks_nobody(service, home, run, credentials):
    (home / ".jovian" / "credentials.json").unlink()
    if credentials:
        configure(home, **credentials)
    started = time.perf_counter()
    assert failed(commit(), "no Jovian key is configured", "jovian configure")
    assert service.requests == [] and time.perf_counter() - started < 1


@pytest.mark.parametrize("text", ["{half", "[]", '"key"', "3"])
def test_broken_credentials_are_left_as_they_are(service, home, run, text):
    (home / ".jovian" / "credentials.json").write_text(text)
    assert failed(commit())
    assert service.requests == [] and (home / ".jovian" / "credentials.json").read_text() == text


def test_credentials_may_lie_elsewhere(service, home, run, tmp_path):
    other = tmp_path / "mine.json"
    other.write_bytes((home / ".jovian" / "credentials.json").read_bytes())
    (home / ".jovian" / "credentials.json").unlink()
    assert commit(outputs=[], credentials=other).committed


def test_a_wrong_key_is_refused_once_and_kept(service, home, run):
    configure(home, API_KEY="an-old-key-1234", API_URL=service.url)
    assert failed(commit(metrics={"a": 1}), "Not committed", "refused the key (HTTP 401)")
    assert len(service.requests) == 1 and service.files == []
    assert "an-old-key-1234" in (home / ".jovian" / "credentials.json").read_text()


def test_a_key_that_expires_on_the_way_stops_the_rest(service, home, run):
    service.sabotage = lambda method, path, name: (401, b"{}") if name == "generator.pt" else None
    assert failed(commit(), "Committed in part", "HTTP 401", "runs/mnist/generator.pt")
    assert [name for _, name, _, _ in service.files][-1] == "runs/mnist/generator.json"


def test_uploads_that_fail_are_named_and_the_rest_arrives(service, home, run):
    service.sabotage = lambda method, path, name: (500, b"{}") if name in ("epoch-0002.png", "critic.pth") else None
    receipt = commit(hyperparameters={"lr": 1})
    assert failed(receipt, "in part: runs/mnist/critic.pth, runs/mnist/samples/epoch-0002.png did not", "HTTP 500")
    arrived = {name for _, name, _, _ in service.files}
    assert arrived == run.keys() - {"runs/mnist/critic.pth", "runs/mnist/samples/epoch-0002.png"}
    assert len(service.attached) == 1


def test_many_failed_uploads_make_one_sentence(service, home, run):
    service.sabotage = lambda method, path, name: (500, b"oops") if "gist_version" in path else None
    assert failed(commit(metrics={"a": 1}), "in part", "and 2 more did not arrive", "HTTP 500")
    assert [name for _, name, _, _ in service.files] == ["page.ipynb"]


def test_the_client_alone_calls_failed_uploads_a_success(service, home, run):
    """The trap itself: if a later client mends it, this fails and publish.py may become simpler."""
    service.sabotage = lambda method, path, name: (500, b"oops") if "gist_version" in path else None
    Path("alone.py").write_text("import jovian\njovian.commit(project='p', filename='page.ipynb', outputs=['runs'])\n")
    done = subprocess.run([sys.executable, "alone.py"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert "Committed successfully!" in done.stdout and "HTTP 500" in done.stderr
    tried = [path for method, path, _ in service.requests if "gist_version" in path]
    assert len(tried) == 1  # of six files in the folder: the csv


@pytest.mark.parametrize("where", ["/data/record", "/commit"])
def test_numbers_that_fail_are_named(service, home, run, where):
    service.sabotage = lambda method, path, name: (500, b"{}") if where in path else None
    receipt = commit(hyperparameters={"lr": 1}, metrics={"a": 1})
    assert failed(receipt, "in part: hyperparams, metrics did not arrive (the service")
    assert len(service.files) == len(run)


@pytest.mark.parametrize(
    "answer, words",
    [
        (b'{"data": {}, "errors": [{"message": "file is too large"}]}', "answered: file is too large"),
        (b"{}", "did not answer as Jovian does"),
        (b"welcome!", "did not answer as Jovian does"),
    ],
)
def test_status_200_alone_is_no_success(service, home, run, answer, words):
    service.sabotage = lambda method, path, name: (200, answer) if name == "generator.pt" else None
    assert failed(commit(outputs=["runs/mnist/generator.pt"]), "in part: runs/mnist/generator.pt did not", words)


@pytest.mark.parametrize(
    "answer, words",
    [
        ((503, b"<html>gone</html>"), "HTTP 503"),
        ((404, b"not found"), "HTTP 404"),
        ((403, b'{"errors": []}'), "HTTP 403"),
        ((200, b"<html>This domain is for sale</html>"), "did not answer as Jovian does"),
        ((200, b'{"data": {}}'), "did not answer as Jovian does"),
        ((200, b"[]"), "did not answer as Jovian does"),
    ],
)
def test_a_service_that_is_gone(service, home, run, answer, words):
    service.sabotage = lambda *request: answer
    assert failed(commit(metrics={"a": 1}), "Not committed", words)


@pytest.mark.parametrize("place", ["/user/profile", "gist_version"])
def test_a_hanging_service_ends_in_time(service, home, run, place):
    started = time.perf_counter()
    assert commit(outputs=[]).committed
    enough = 1 + 3 * (time.perf_counter() - started)  # to come as far as the place where it hangs, here and now
    let_go = threading.Event()
    service.sabotage = lambda method, path, name: (let_go.wait(60), (500, b""))[1] if place in path else None
    started = time.perf_counter()
    receipt = commit(timeout=enough)
    assert time.perf_counter() - started < enough + 5
    let_go.set()
    assert failed(receipt, f"was not done within {enough:g} seconds", "in part" if place == "gist_version" else "Not")


def test_a_line_that_is_open_and_silent_ends_in_time(home, run):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        configure(home, API_KEY=KEY, API_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        assert failed(commit(timeout=2), "was not done within 2 seconds")


def test_the_limit_holds_for_a_client_whose_notebook_was_killed(home, run):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        configure(home, API_KEY=KEY, API_URL=f"http://127.0.0.1:{silent.getsockname()[1]}/")
        code = "from ganlib.jovian import commit; commit('first-gan', notebook='page.ipynb', timeout=5)"
        environment = {**os.environ, "PYTHONPATH": str(Path(publish.__file__).parents[1]), "TMPDIR": str(home)}
        parent = subprocess.Popen([sys.executable, "-c", code], env=environment)
        connection, _ = silent.accept()
        parent.kill()
        parent.wait()
        connection.settimeout(30)
        while connection.recv(65536):  # until the client at the other end is gone
            pass


def test_no_service_at_all(home, run):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    configure(home, API_KEY=KEY, API_URL=url + "/")
    assert failed(commit(metrics={"a": 1}), f"Not committed: {url} cannot be reached")


@pytest.mark.parametrize("url", ["no address", "https://name.invalid/", 3])
def test_an_address_that_leads_nowhere(service, home, run, url):
    configure(home, API_KEY=KEY, API_URL=url)
    assert failed(commit())
    assert service.files == []


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"notebook": "pages.ipynb"}, "pages.ipynb is not there"),
        ({"notebook": "runs/mnist/generator.pt"}, "is no notebook"),
        ({"outputs": ["runs/mnist", "runs/cifar"]}, "cifar is not there"),
        ({"outputs": ["empty"]}, "empty is a folder without files"),
        ({"metrics": {"loss": float("nan")}}, "finite numbers"),
        ({"hyperparameters": {"lr": PNG}}, "finite numbers"),
        ({"outputs": ["../one/a.pt", "../two/a.pt"]}, "two files would be called a.pt"),
        ({"outputs": ["../one"]}, "one/key.txt contains your Jovian key"),
    ],
)
def test_what_cannot_be_sent_is_said_before_anything_is(service, home, run, changes, words):
    for name, content in {"one/a.pt": b"1", "two/a.pt": b"2", "one/key.txt": f"my key: {KEY}".encode()}.items():
        path = Path("..") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    Path("empty").mkdir()
    assert failed(commit(**changes), "Not committed", words)
    assert service.requests == []


def test_a_folder_keeps_hidden_files_and_links_at_home(run, tmp_path):
    Path("runs/.secret").mkdir()
    Path("runs/.secret/a.txt").write_text("a")
    Path("runs/.env").write_text("b")
    Path("runs/link").symlink_to("../page.ipynb")
    assert list(publish.collect(["runs"])) == sorted(name for name in run if name != "page.ipynb")
    assert list(publish.collect(["runs/.env"])) == ["runs/.env"]
    assert list(publish.collect([tmp_path / "work" / "runs" / "mnist" / "samples"])) == [n for n in run if "png" in n]
    os.chdir("runs")
    assert list(publish.collect(["../page.ipynb"])) == ["page.ipynb"]


def test_a_client_that_is_not_installed(service, home, run, monkeypatch):
    empty = Path.cwd().parent / "empty" / "jovian.py"
    empty.parent.mkdir()
    empty.write_text("import no_such_module")
    monkeypatch.setenv("PYTHONPATH", str(empty.parent))
    assert failed(commit(outputs=[]), "the client cannot be imported", "no_such_module", "pip install jovian")
