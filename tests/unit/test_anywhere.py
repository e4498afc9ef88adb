"""What Binder and Codespaces run is what the README says."""

import json
import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONSTRAINTS = " -c constraints.txt"  # its torch is the build with CUDA


def commands_of_the_readme():
    """The install commands of README.md, without the exact versions."""
    lines = README.replace(CONSTRAINTS, "").splitlines()
    return [line for line in lines if line.startswith("pip install ")]


def test_codespaces_runs_the_commands_of_the_readme():
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    commands = json.loads(text)["postCreateCommand"].split(" && ")
    assert sorted(commands) == sorted(commands_of_the_readme())
    assert "torch torchvision" in commands[0]  # before what would bring the large one


def test_binder_runs_the_commands_of_the_readme():
    script = ROOT / ".binder" / "postBuild"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text(encoding="utf-8").replace(" --no-cache-dir", "")
    commands = [line for line in text.splitlines() if line.startswith("pip ")]
    assert sorted(commands) == sorted(commands_of_the_readme())
    assert "torch torchvision" in commands[0]
