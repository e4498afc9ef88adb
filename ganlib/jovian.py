"""A run's notebook, files and numbers to Jovian, and one true sentence about them.

The real client works in a child process, on copies, without a terminal and with a time
limit: client 0.2.47 prompts for keys, deletes refused ones, waits for ever, and reports
success after failed uploads.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from unittest.mock import patch

from ganlib.errors import GanlibError


class Receipt(NamedTuple):
    """Whether everything has arrived, and a sentence that says so or why not."""

    committed: bool
    sentence: str


def commit(
    project: str,
    *,
    notebook: Path | str,
    outputs: Iterable[Path | str] = (),
    hyperparameters: Mapping[str, Any] | None = None,
    metrics: Mapping[str, Any] | None = None,
    message: str | None = None,
    privacy: str = "auto",
    credentials: Path | str | None = None,
    timeout: float = 60.0,
) -> Receipt:
    """Make a new version of a Jovian project; the sentence is printed too.

    Without a key, without the service, and when `timeout` seconds are over, it says so
    and raises nothing. Only what is named is sent, and never the key.

    Args:
        outputs: files, and folders with all files in them but hidden ones and links.
        hyperparameters, metrics: text and finite numbers by name.
        message: title of the version.
        privacy: of a new project: "public", "secret", "private" or, as the account has
            it, "auto".
        credentials: what `jovian configure` wrote, by default into the home folder.
    """
    numbers = {"hyperparams": hyperparameters, "metrics": metrics}
    numbers = {kind: values for kind, values in numbers.items() if values}
    path = Path(credentials or Path.home() / ".jovian" / "credentials.json")
    if isinstance(outputs, str | Path):
        outputs = [outputs]
    try:
        files = _collect([notebook, *outputs])
        first, *others = files
        call: dict[str, Any] = {"message": message, "privacy": privacy}
        call |= {"project": project, "filename": first, "outputs": others}
        job = {"call": call, "numbers": numbers, "timeout": timeout}
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            _copy(files, path, Path(folder))
            Path(folder, "job.json").write_text(
                json.dumps(job, allow_nan=False), encoding="utf-8"
            )
            report = _run_client(Path(folder), timeout)
        receipt = _receipt_from(report, [*files, *numbers])
    except (OSError, TypeError, ValueError) as reason:
        receipt = Receipt(False, f"Not committed: {reason}.")
    print(receipt.sentence)
    return receipt


def _collect(paths: Iterable[Path | str]) -> dict[str, Path]:
    """Files and folders -> {name from the folder around what was named: file}."""
    found: dict[str, Path] = {}
    for named in (Path(os.path.abspath(path)) for path in paths):
        files = [named] if named.is_file() else []
        for path in sorted(named.rglob("*")):
            hidden = "/." in path.relative_to(named.parent).as_posix()
            if path.is_file() and not path.is_symlink() and not hidden:
                files.append(path)
        if not files:
            raise GanlibError(f"{named.name} is no file and no folder with files")
        for file in files:
            name = file.relative_to(named.parent).as_posix()
            if found.setdefault(name, file) != file:
                raise GanlibError(f"two files would be called {name}; rename one")
    return found


def _copy(files: Mapping[str, Path], credentials: Path, folder: Path) -> None:
    """Copy everything that the client may see into `folder`, or raise GanlibError."""
    try:
        text = credentials.read_text(encoding="utf-8")
        key = json.loads(text)["API_KEY"]
    except (OSError, ValueError, TypeError, LookupError):
        key = None
    if not isinstance(key, str) or not key:
        raise GanlibError("no Jovian key is configured; run `jovian configure` first")
    copies = {Path(".jovian", "credentials.json"): text.encode()}
    for name, file in files.items():
        content = copies[Path("files", name)] = file.read_bytes()
        if key.encode() in content:
            raise GanlibError(f"{name} contains your Jovian key; take it out")
    for place, content in copies.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(content)


def _run_client(folder: Path, timeout: float) -> list[tuple[str, str]]:
    """Run `_main` in a child process -> its report: pairs of a kind and a text."""
    command = [sys.executable, "-W", "ignore", "-m", "ganlib.jovian", str(folder)]
    options: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    options["start_new_session"] = True  # which has no terminal to prompt at
    options["cwd"] = Path(__file__).parents[1]  # where `-m` finds ganlib
    (folder / "report").touch()
    late = []
    try:
        subprocess.run(command, timeout=timeout, **options)
    except subprocess.TimeoutExpired:
        late = [("why", f"the service was not done within {timeout:g} seconds")]
    return [
        *map(json.loads, (folder / "report").read_text(encoding="utf-8").splitlines()),
        *late,
    ]


def _receipt_from(report: list[tuple[str, str]], items: list[str]) -> Receipt:
    """The report and all that was to be sent, the notebook first -> Receipt."""
    arrived = [text for kind, text in report if kind == "arrived"]
    missing = [item for item in items if item not in arrived]
    last = {"link": "Jovian", "why": "the client gave no reason"} | dict(report)
    if not missing:
        sentence = f"Committed to {last['link']}: all {len(items)} items arrived."
    elif items[0] in missing:
        sentence = f"Not committed: {last['why']}; your files and key are as before."
    else:
        names = ", ".join(missing)
        sentence = f"Committed in part: {names} did not arrive ({last['why']})."
    return Receipt(not missing, sentence)


def _main(folder: Path) -> None:
    """In the child: the real client works; what the service confirms is reported."""
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    os.chdir(folder / "files")
    os.environ["HOME"] = os.environ["USERPROFILE"] = str(folder)  # of the credentials

    def tell(kind: str, text: str) -> None:
        with open(folder / "report", "a", encoding="utf-8") as report:
            report.write(json.dumps([kind, text]) + "\n")

    try:
        with patch("random.random", return_value=1.0):  # or it asks PyPI for updates
            import jovian
        import requests

        watched = _watched(requests.Session.request, job, tell)
        requests.Session.request = watched  # type: ignore[method-assign]
        for kind, values in job["numbers"].items():
            getattr(jovian, f"log_{kind}")(values)
        tell("link", jovian.commit(environment=None, **job["call"]))
    except ImportError as error:
        tell("why", f"{error}; run `pip install jovian 'setuptools<82'`")


def _watched(send: Callable, job: dict, tell: Callable[[str, str], None]) -> Callable:
    """requests.Session.request with a time limit; tells what the service answered."""

    def request(session: Any, method: str, url: str, **options: Any) -> Any:
        try:
            response = send(
                session, method, url, **options | {"timeout": job["timeout"]}
            )
        except OSError:
            tell("why", f"{'/'.join(url.split('/')[:3])} cannot be reached")
            raise
        try:
            answer = response.json()
            confirmed = "data" in answer and not answer.get("errors")
        except (ValueError, TypeError, AttributeError):
            confirmed = False
        if response.status_code == 401:
            tell("why", "the service refused the key (HTTP 401)")
        elif response.status_code != 200:
            tell("why", f"the service answered HTTP {response.status_code}")
        elif not confirmed:
            tell("why", "the service did not answer as Jovian does")
        elif "files" in options:
            parent = options["data"].get("folder", "")
            tell("arrived", os.path.join(parent, options["files"]["files"][0]))
        elif "/data/" in url and "/commit" in url:  # takes in what was logged before
            for kind in job["numbers"]:
                tell("arrived", kind)
        return response

    return request


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
