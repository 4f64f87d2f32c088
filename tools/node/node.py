"""The node as a whole: start it, end it, give it images, talk to it."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from tools.node import cgroups, configuration, credentials, images, needs, network, objects, programs
from tools.node.commands import run, succeeds
from tools.node.place import CONTAINERD, FOLDER, KUBECONFIG, LOCK, NAME, RUN
from tools.node.process import Process, kill, marked
from tools.servers.daemon import POLL_SECONDS, Say, ServerFault, Status, locked

# In the order in which they are started.
_FIRST: Final = ("etcd", "kube-apiserver", "containerd")
_THEN: Final = (
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
    "metrics-server",
)
_START_SECONDS: Final = 90.0
_END_SECONDS: Final = 10.0
_CTR: Final = ("ctr", "--address", str(CONTAINERD), "--connect-timeout=30s", "--namespace", "k8s.io")


class Node:
    """There is one a machine. Its programs are this machine's processes, its pods are in containerd."""

    def __init__(self) -> None:
        self._processes = {name: Process(name, 0, FOLDER) for name in (*_FIRST, *_THEN)}

    def up(self, say: Say) -> None:
        """Start it when it does not run, with what it needs. Raises ToolMissing, ServerFault."""
        needs.check_machine()
        needs.to_run(say)
        built = programs.build(say)
        with locked(LOCK, lambda: say("another process holds the lock; waiting")):
            if self.runs():
                say("node: runs already")
                return
            self._clear()  # the remains of a crash: half a node is of no use
            began = time.monotonic()
            self._lay_out()
            self._launch(built)
            say(f"node: up in {time.monotonic() - began:.1f} s")

    def down(self) -> None:
        """End it, and delete it with all its data. Its programs stay."""
        needs.check_machine()
        with locked(LOCK):
            self._clear()

    def runs(self) -> bool:
        return network.exists() and all(process.running() for process in self._processes.values())

    def status(self) -> list[Status]:
        return [process.status() for process in self._processes.values()]

    def load(self, tags: Iterable[str], say: Say) -> list[str]:
        """Copy images from buildah's store; gives the tags that were not there already. Raises ServerFault."""
        self._check()
        noted = FOLDER / "images.json"
        loaded: dict[str, str] = json.loads(noted.read_text()) if noted.exists() else {}
        there = set(run(*_CTR, "images", "list", "--quiet").split())
        new = []
        for tag in tags:
            began = time.monotonic()
            made = images.identity(tag)
            if loaded.get(tag) == made and tag in there:
                continue
            with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
                archive = images.save(tag, Path(folder))
                run(*_CTR, "images", "import", str(archive))
            loaded[tag] = made
            noted.write_text(json.dumps(loaded, indent=1) + "\n")
            new.append(tag)
            say(f"loaded {tag} in {time.monotonic() - began:.1f} s")
        return new

    def command(self, *command: str) -> tuple[list[str], dict[str, str]]:
        """A command as it is run in the node's network, and its environment. Raises ServerFault when there is none."""
        self._check()
        kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        path = f"{programs.folder()}:{os.environ.get('PATH', os.defpath)}"
        return network.client(*command), {**kept, "KUBECONFIG": str(KUBECONFIG), "PATH": path}

    def kubectl(self, *arguments: str, feed: str | None = None) -> str:
        """Returns its output. Raises ServerFault with its error output."""
        return run(*self._kubectl(*arguments), feed=feed)

    def _kubectl(self, *arguments: str) -> list[str]:
        return [*network.INSIDE, str(programs.folder() / "kubectl"), f"--kubeconfig={KUBECONFIG}", *arguments]

    def _check(self) -> None:
        if not network.exists():
            raise ServerFault("no node runs here; start it with python -m tools.node up")
        if ended := [name for name, process in self._processes.items() if not process.running()]:
            raise ServerFault(
                f"the node's {' and '.join(ended)} has ended (see {FOLDER / 'log'}); "
                "python -m tools.node up starts the node again"
            )

    # --- start --------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        FOLDER.mkdir(parents=True)
        RUN.mkdir()
        network.make()
        credentials.make(FOLDER)
        configuration.write(FOLDER)
        objects.make_volumes(FOLDER)
        cgroups.keep_settings(FOLDER / "kernel")
        cgroups.make()

    def _launch(self, built: Path) -> None:
        arguments = configuration.arguments(FOLDER)
        for name in _FIRST:
            program = name if name == "containerd" else built / name
            self._processes[name].run(program, *arguments[name])
        self._await("containerd", lambda: succeeds(*_CTR, "version"), "answered")
        run(*_CTR, "images", "import", str(built / "pause.tar"))
        # Ready: it has made its roles too, for which the controller manager waits ten seconds and then ends.
        healthy = self._kubectl("get", "--raw=/readyz")
        namespaces = self._kubectl("get", "namespace", "default", "kube-system")
        self._await("kube-apiserver", lambda: succeeds(*healthy) and succeeds(*namespaces), "was ready")
        for name in _THEN:
            self._processes[name].run(built / name, *arguments[name])
        self.kubectl("apply", "--filename=-", feed=json.dumps(objects.all_of_them(FOLDER)))
        ready = self._kubectl("wait", f"node/{NAME}", "--for=condition=Ready", "--timeout=1s")
        self._await("kubelet", lambda: succeeds(*ready), "had its node ready")

    def _await(self, name: str, condition: Callable[[], bool], what: str) -> None:
        self._processes[name].wait_for(condition, what, _START_SECONDS)

    # --- end ----------------------------------------------------------------------------------------------------------

    def _clear(self) -> None:
        """Remove the node in whatever state it is. End first what starts pods, and last what takes them down."""
        for name in _THEN:
            self._processes[name].kill()
        self._end_all_of(cgroups.processes)
        self._forget_containers()
        for name in reversed(_FIRST):
            self._processes[name].kill()
        self._end_all_of(lambda: marked(FOLDER))  # containerd's shims
        _unmount()
        network.remove()
        cgroups.remove()
        cgroups.put_settings_back(FOLDER / "kernel")
        for folder in (FOLDER, RUN):
            if folder.exists():
                shutil.rmtree(folder)

    def _forget_containers(self) -> None:
        """containerd takes down what is left of them, mounts included, while it runs."""
        if self._processes["containerd"].running():
            with suppress(ServerFault):  # then what it leaves is unmounted and removed below
                for task in run("timeout", "5", *_CTR, "tasks", "list", "--quiet").split():
                    run("timeout", "5", *_CTR, "tasks", "delete", "--force", task)

    def _end_all_of(self, find: Callable[[], set[int]]) -> None:
        until = time.monotonic() + _END_SECONDS
        while found := find():
            kill(found)
            if time.monotonic() > until:
                raise ServerFault(f"these processes of the node do not end: {', '.join(map(str, sorted(found)))}")
            time.sleep(POLL_SECONDS)


def _unmount() -> None:
    """Raises ServerFault if something stays mounted: nothing below it may be deleted then."""
    for mounted in reversed(_mounts()):
        with suppress(ServerFault):  # it went with the one below it
            run("umount", "--lazy", str(mounted))
    if left := _mounts():
        raise ServerFault(f"{left[0]} cannot be unmounted")


def _mounts() -> list[Path]:
    """The node's mounts, outermost first."""
    fields = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    places = [Path(place.encode().decode("unicode_escape")) for _, place, *_ in fields]
    return [place for place in places if place.is_relative_to(FOLDER) or place.is_relative_to(RUN)]
