"""The letter box: a run's notebook, files and numbers to Jovian, and one true sentence about what arrived.

The real client works in a child process (this file, run as a script) with a copy of the key, no input and a time limit:
client 0.2.47 prompts for keys, deletes refused ones, waits for ever and reports success after failed uploads.
"""

import faulthandler
import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

COPIED = "API_KEY", "API_URL", "WEBAPP_URL", "ORG_ID", "GUEST_KEY"  # all that the child sees of the credentials


class NotCommittedError(Exception):
    """Why nothing was sent, in words for the reader."""


class Receipt(NamedTuple):
    """Whether everything named has arrived, and the sentence that says so or why not."""

    committed: bool
    sentence: str


def commit(project, *, notebook, outputs=(), hyperparameters=None, metrics=None,
           message=None, privacy="auto", credentials=None, timeout=60):  # fmt: skip
    """Notebook, files, folders and two dicts of numbers -> a new version of a Jovian project; Receipt, printed too.

    Without a key, or a service that is done within `timeout` seconds, it says so and raises nothing. `credentials`
    (default: ~/.jovian/credentials.json) and files are only read. Only what is named is sent, and never the key.
    `message` titles the version; `privacy` of a new project is "public", "secret", "private" or as the account has it.
    """
    numbers = {"hyperparams": hyperparameters, "metrics": metrics}
    numbers = {kind: numbers[kind] for kind in numbers if numbers[kind]}
    try:
        credentials = _read_credentials(Path(credentials or Path.home() / ".jovian" / "credentials.json"))
        files = collect([notebook, *([outputs] if isinstance(outputs, (str, Path)) else outputs)])
        first, *others = files
        call = {"project": project, "filename": first, "outputs": others, "message": message, "privacy": privacy}
        with tempfile.TemporaryDirectory(prefix="ganlib-", ignore_cleanup_errors=True) as desk:
            _lay_out(Path(desk), files, credentials, {"call": call, "numbers": numbers})
            report = _let_client_work(Path(desk), timeout)
        receipt = _judge(report, [*files, *numbers])
    except (NotCommittedError, OSError) as reason:
        receipt = Receipt(False, f"Not committed: {reason}.")
    print(receipt.sentence)
    return receipt


def collect(paths):
    """Files and folders -> {name to send: file}; a folder gives every file below it but hidden ones and links.

    A file in the working folder is named by its path from there, any other from the folder around what was named.
    """
    found = {}
    for named in [Path(os.path.abspath(path)) for path in paths]:
        inside = [path for path in sorted(named.rglob("*")) if path.is_file() and not path.is_symlink()]
        visible = [path for path in inside if "/." not in path.relative_to(named.parent).as_posix()]
        files = [named] if named.is_file() else visible
        if not files:
            raise NotCommittedError(f"{named.name} is {'a folder without files' if named.is_dir() else 'not there'}")
        start = Path.cwd() if Path.cwd() in named.parents else named.parent
        for file in files:
            name = file.relative_to(start).as_posix()
            if found.setdefault(name, file) != file:
                raise NotCommittedError(f"two files would be called {name}; rename one")
    return found


def _read_credentials(path):
    """Credentials file -> the part of it that the child may see; NotCommittedError without a key."""
    try:
        found = json.loads(path.read_text()) if path.exists() else {}
        credentials = {name: found[name] for name in COPIED if name in found}
    except (ValueError, TypeError):
        raise NotCommittedError(f"{path.name} is not the json file that `jovian configure` writes") from None
    if not isinstance(credentials.get("API_KEY"), str) or not credentials["API_KEY"]:
        raise NotCommittedError("no Jovian key is configured; run `jovian configure` in a terminal and commit again")
    return credentials


def _lay_out(desk, files, credentials, job):
    """Copies of everything on a desk of its own, where the client can harm nothing."""
    if Path(job["call"]["filename"]).suffix not in (".ipynb", ".py"):
        raise NotCommittedError(f"{job['call']['filename']} is no notebook; give an .ipynb or .py file")
    for name, file in files.items():
        content = file.read_bytes()
        if credentials["API_KEY"].encode() in content:
            raise NotCommittedError(f"{name} contains your Jovian key; take it out of the file and commit again")
        copy = desk / "letter" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    (desk / ".jovian").mkdir()
    (desk / ".jovian" / "credentials.json").write_text(json.dumps(credentials))
    try:
        (desk / "job.json").write_text(json.dumps(job, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise NotCommittedError(f"hyperparameters and metrics must be text and finite numbers ({error})") from None


def _let_client_work(desk, timeout):
    """Run this file as a script beside the copies -> what it wrote down: a list of (kind, text)."""
    command, nothing, late = [sys.executable, "-W", "ignore", __file__, desk, str(timeout)], subprocess.DEVNULL, []
    options = {"cwd": desk / "letter", "stdin": nothing, "stdout": nothing, "stderr": nothing, "timeout": timeout}
    try:
        subprocess.run(command, start_new_session=True, **options)  # its own session has no terminal to prompt at
    except subprocess.TimeoutExpired:
        late = [("why", f"the service was not done within {timeout:g} seconds")]
    report = desk / "report"
    return [*map(json.loads, report.read_text().splitlines() if report.exists() else ()), *late]


def _judge(report, items):
    """Report and all that was to be sent, the notebook first -> Receipt; only what the service confirmed counts."""
    told = {kind: [text for told, text in report if told == kind] for kind in ("arrived", "why", "link")}
    missing = [item for item in items if item not in told["arrived"]]
    if not missing:
        return Receipt(True, f"Committed to {(told['link'] or ['Jovian'])[0]}: all {len(items)} items arrived.")
    why = "; ".join(dict.fromkeys(told["why"])) or "the client ended without a reason"
    if items[0] in missing:
        return Receipt(False, f"Not committed: {why}; your files and your key are as they were.")
    names = ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if len(missing) > 5 else "")
    return Receipt(False, f"Committed in part: {names} did not arrive ({why}); commit again to send everything.")


class _Stop(BaseException):
    """Passes the client's `except Exception`: there is no use in asking this service again."""


def _main(desk):
    """In the child: the real client does what job.json says; what the service confirms goes to the report."""
    os.environ["HOME"] = os.environ["USERPROFILE"] = str(desk)  # where the client looks for credentials
    job, told = json.loads((desk / "job.json").read_text()), []

    def tell(kind, text):
        told.append(kind)
        with open(desk / "report", "a") as report:
            report.write(json.dumps([kind, text]) + "\n")

    try:
        with patch("random.random", return_value=1.0):  # else the client asks PyPI for updates, 8 times in 10
            import jovian
        import requests

        with patch.object(requests.Session, "request", _watch(requests.Session.request, tell)):
            for kind, data in job["numbers"].items():
                with suppress(Exception):
                    getattr(jovian, f"log_{kind}")(data)
            tell("link", jovian.commit(environment=None, **job["call"]))
    except ImportError as error:
        tell("why", f"the client cannot be imported ({error}); run `pip install jovian 'setuptools<82'`")
    except _Stop as stop:
        tell("why", str(stop))
    except Exception as error:  # most often the client's words for what _watch has told already
        if "why" not in told:
            tell("why", f"the service did not answer as Jovian does ({type(error).__name__})")


def _watch(send, tell):
    """requests.Session.request, but it tells what the service confirmed, and stops at a refused key or a dead line."""
    waiting = []

    def request(session, method, url, **options):
        try:
            response = send(session, method, url, **options)
        except OSError as error:
            raise _Stop(f"{'/'.join(url.split('/')[:3])} cannot be reached ({type(error).__name__})") from None
        if response.status_code == 401:
            raise _Stop("the service refused the key (HTTP 401)")
        if complaint := _complaint(response):
            tell("why", complaint)
        elif "files" in options:
            folder = options["data"].get("folder")
            tell("arrived", f"{folder}/" * bool(folder) + options["files"]["files"][0])
        elif options.get("json") and "/data/record" in url:  # numbers, logged before there is a commit to hold them
            waiting.extend(block["recordType"] for block in options["json"])
        elif options.get("json"):  # the commit takes them
            for kind in waiting:
                tell("arrived", kind)
        return response

    return request


def _complaint(response):
    """None if the service did as it was asked, else a few words on what it answered."""
    if response.status_code == 404 and response.request.method == "GET" and "/gist/" in response.url:
        return None  # "is there such a project?" "No."
    if response.status_code != 200:
        return f"the service answered HTTP {response.status_code}"
    with suppress(ValueError, TypeError, LookupError, AttributeError):
        answer = response.json()
        if answer.get("errors"):
            return f"the service answered: {answer['errors'][0]['message']}"
        if "data" in answer:
            return None
    return "the service did not answer as Jovian does"


if __name__ == "__main__":
    rooms = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [path for path in sys.path if path != rooms]  # ganlib's rooms must not pass for installed modules
    faulthandler.dump_traceback_later(float(sys.argv[2]), exit=True)  # the limit holds if the parent is killed, too
    _main(Path(sys.argv[1]))
