"""The Dockerfiles: their commands, step by step in a fresh root; no engine runs here."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from impasto.images.read import read_settings

ROOT = Path(__file__).parents[2]
FILES = ("Dockerfile", "Dockerfile.cuda")


class Step(NamedTuple):
    """An instruction. stage: from 0."""

    stage: int
    name: str
    text: str


def steps(file: str) -> list[Step]:
    """The instructions of a Dockerfile. These have one a line."""
    found, stage = [], -1
    for line in (ROOT / file).read_text().splitlines():
        if line and not line.startswith("#"):
            name, _, text = line.partition(" ")
            stage += name == "FROM"
            found.append(Step(stage, name, text))
    return found


def last(file: str, name: str) -> str:
    return [step.text for step in steps(file) if step.name == name][-1]


@pytest.mark.parametrize("file", FILES)
def test_the_image_is_the_command_of_a_user_without_rights(file):
    assert json.loads(last(file, "ENTRYPOINT")) == ["impasto"]
    names = [step.name for step in steps(file)]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert last(file, "USER") != "root"
    check = json.loads(re.search(r"CMD (\[.*\])", last(file, "HEALTHCHECK"))[1])
    assert "/healthz" in check[-1]


def test_only_torch_differs_between_the_two():
    one, other = ({(step.name, step.text) for step in steps(file)} for file in FILES)
    assert sorted(name for name, _ in one ^ other) == ["ENV", "ENV", "RUN", "RUN"]


def test_the_context_has_what_is_copied_and_nothing_else():
    lines = (ROOT / ".dockerignore").read_text().split("\n")
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines
    copied = set()
    for step in steps("Dockerfile"):
        if step.name == "COPY" and not step.text.startswith("--from"):
            copied |= set(shlex.split(step.text)[:-1])
    assert copied == kept
    assert all((ROOT / name).exists() for name in kept)


def test_the_studio_of_compose_is_open_to_this_machine_only():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert service["ports"] == ["127.0.0.1:7860:7860"]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
    build = services["studio-cuda"]["build"]
    assert build["dockerfile"] in FILES


class Root:
    """A fresh root: what the image would have at /opt, /src, /work lies in a folder of its own.

    Packages that the tests' own environment has are not downloaded again: pip finds them in the
    new environment, and checks their versions.
    """

    def __init__(self, folder: Path):
        self.folder, self.place = folder, "/"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder / "home/impasto"),
            "PIP_NO_BUILD_ISOLATION": "0",  # which means: without
        }
        (folder / "home/impasto").mkdir(parents=True)

    def inside(self, text: str) -> str:
        """A command with the root's paths."""
        return re.sub(r"(?<![\w.:/])/(opt|src|work|home)\b", rf"{self.folder}/\1", text)

    def path(self, name: str) -> Path:
        return Path(self.inside(str(Path(self.place) / name)))

    def run(self, command: list[str], **more: object) -> subprocess.Popen:
        return subprocess.Popen(command, cwd=self.path("."), env=self.environment, **more)

    def step(self, step: Step) -> None:
        """Make an instruction."""
        if step.name == "WORKDIR":
            self.place = step.text
            self.path(".").mkdir(parents=True, exist_ok=True)
        elif step.name == "COPY":
            *names, target = [word for word in shlex.split(step.text) if word[:2] != "--"]
            if "--from" not in step.text:
                self._copy(names, self.path(target))
        elif step.name in ("ENV", "ARG"):
            for word in shlex.split(self.inside(step.text)):
                name, _, value = word.partition("=")
                self.environment[name] = value.replace("$PATH", self.environment["PATH"])
        elif step.name == "RUN" and not step.text.startswith("useradd"):  # which takes root
            command = self.inside(step.text).replace("python -m venv", f"{sys.executable} -m venv")
            assert self.run(["sh", "-c", command]).wait(600) == 0, command
            if "-m venv" in command:
                self._add_packages(Path(command.split()[-1]))

    def _copy(self, names: list[str], target: Path) -> None:
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, target, ignore=ignored)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target)

    @staticmethod
    def _add_packages(environment: Path) -> None:
        """Lend the new environment the packages of this one, but for impasto."""
        ours = next(Path(each) for each in sys.path if fnmatch(each, "*/site-packages"))
        (theirs,) = environment.glob("lib/python*/site-packages")
        for path in ours.iterdir():
            if not path.name.startswith(("impasto", "_editable_impl_impasto", "pip")):
                with_there = theirs / path.name
                if not with_there.exists():
                    with_there.symlink_to(path)


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_the_commands_build_what_runs(file, tmp_path, photo, style):
    root = Root(tmp_path)
    for step in steps(file):
        root.step(step)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    shutil.copy(photo, root.path("photo.png"))
    shutil.copy(style, root.path("style.png"))
    entry = json.loads(last(file, "ENTRYPOINT"))
    entry = [shutil.which(entry[0], path=root.environment["PATH"]), *entry[1:]]
    assert entry[0].startswith(str(tmp_path))
    options = shlex.split("photo.png style.png -o out.png --size 32 --steps 8 --quiet")
    assert root.run([*entry, "paint", *options]).wait(300) == 0
    networks = read_settings(root.path("out.png"))["config"]
    assert (networks["backbone"], networks["finish_backbone"]) == ("compact", "vgg19")
    check = json.loads(re.search(r"CMD (\[.*\])", last(file, "HEALTHCHECK"))[1])
    check = [part.replace("7860", port) for part in check]
    assert root.run(check, stderr=subprocess.DEVNULL).wait(60) != 0  # nothing is open yet
    serve = [*entry, "serve", "--host", "0.0.0.0", "--no-auth", "--port", port]
    with root.run(serve) as studio:
        deadline = time.monotonic() + 120
        while root.run(check, stderr=subprocess.DEVNULL).wait(60) != 0:
            assert time.monotonic() < deadline, "the studio is not healthy"
            time.sleep(0.5)
        assert b"impasto" in urllib.request.urlopen(f"http://127.0.0.1:{port}/").read()
        studio.send_signal(signal.SIGTERM)  # as `docker stop` does
        assert studio.wait(120) == 0
