"""A real OpenSearch on this machine: one node, on loopback."""

import hashlib
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Final

from tools.harness.ports import HOST
from tools.servers.daemon import Daemon, Say, ServerFault, Start, Status, locked
from tools.servers.jars import JAVA, QUICK_START, ToolMissing, jars, java

VERSION: Final = "2.19.6"  # the last line that runs on Java 17
PORT: Final = 19200
_START_SECONDS: Final = 90.0  # a machine full of other work takes its time
_ANSWER_SECONDS: Final = 5.0  # it answers in milliseconds, unless it is paused
_TRANSPORT: Final = 1  # how far above its port it listens for other nodes, of which there are none
_NODE: Final = JAVA / "OpenSearchNode.java"
_JVM: Final = (
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",  # it would leave a file behind after a kill -9
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    f"-Dlog4j2.configurationFile=file:{JAVA / 'log4j2.properties'}",
)


class OpenSearch:
    """A node in ``folder``, for clients at ``port`` of the address ``listen``. ``heap_mib``: of its JVM.

    ``dedicated``: as on a machine of its own, the JVM compiles what runs often a second time.
    """

    def __init__(
        self, folder: Path, port: int = PORT, heap_mib: int = 256, listen: str = HOST, *, dedicated: bool = False
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.heap_mib = heap_mib
        self.listen = listen
        self._jvm = _JVM if dedicated else (*_JVM, *QUICK_START)
        self._daemon = Daemon("opensearch", port, self.folder)

    @classmethod
    def open(cls, folder: Path) -> "OpenSearch":
        """The node that was started in this folder. Raises ServerFault when there is none."""
        try:
            shape = json.loads((folder / "opensearch.json").read_text())
            return cls(folder, shape["port"], shape["heap_mib"], shape["listen"])
        except (OSError, ValueError, KeyError) as error:
            raise ServerFault(f"no OpenSearch has been started in {folder}") from error

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def ports(self) -> list[int]:
        """Every port that it listens on."""
        return [self.port, self.port + _TRANSPORT]

    def start(self, say: Say = lambda line: None) -> Start:
        """Start it if it does not run, and wait until it serves. Raises ServerFault."""
        program = java()
        library = fetch(say)
        with locked(self.folder / "lock"):
            began = time.monotonic()
            first = not (self.folder / "data").is_dir()
            launched = not self._daemon.running()
            if launched:
                shape = {"port": self.port, "heap_mib": self.heap_mib, "listen": self.listen}
                (self.folder / "opensearch.json").write_text(json.dumps(shape) + "\n")
                self._launch(program, library)
            self._daemon.wait_for(self._serves, "served", _START_SECONDS)
            return Start(seconds=time.monotonic() - began, first=first, launched=int(launched))

    def stop(self) -> None:
        """Nothing of it runs when this returns; the data stay."""
        with locked(self.folder / "lock"):
            self._daemon.end()

    def kill(self) -> None:
        """kill -9; it is gone when this returns, and starts again with the data that it had written."""
        self._daemon.kill()

    def wipe(self) -> None:
        """End it at once and forget everything."""
        with locked(self.folder / "lock"):
            self._daemon.kill()
        for name in ("data", "log", "run"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        (self.folder / "opensearch.json").unlink(missing_ok=True)

    def status(self) -> list[Status]:
        return [self._daemon.status()]

    def check(self) -> None:
        """Raises ServerFault unless it answers, and its indexes can be asked, right now."""
        if not self._serves():
            raise ServerFault(f"opensearch does not serve at port {self.port}")

    def _serves(self) -> bool:
        """After a start its indexes come one after another: red means that some are missing."""
        try:
            with urllib.request.urlopen(f"{self.url}/_cluster/health", timeout=_ANSWER_SECONDS) as answer:
                return bool(json.load(answer)["status"] != "red")
        except OSError:
            return False

    def _launch(self, program: str, library: Path) -> None:
        heap = (f"-Xmx{self.heap_mib}m", f"-Xms{min(self.heap_mib, 64)}m", "-XX:MaxDirectMemorySize=128m")
        classes = f"{_compiled(library)}:{library}/*"
        settings = [f"{name}={value}" for name, value in self._settings().items()]
        options = [*heap, *self._jvm, "-cp", classes, _NODE.stem, *settings]
        self._daemon.launch(program, options, {"MALLOC_ARENA_MAX": "4"})

    def _settings(self) -> dict[str, object]:
        return {
            "cluster.name": "falcon",
            "node.name": "opensearch",
            "path.home": self.folder,
            "path.data": self.folder / "data",
            "path.logs": self.folder / "log",
            "http.host": self.listen,
            "http.port": self.port,
            "transport.host": HOST,
            "transport.port": self.port + _TRANSPORT,
            "discovery.type": "single-node",
            # A development machine's disk may be nearly full; a node alone has nowhere to move its data to.
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            # Falcon makes its index: one that a write made by chance would have other fields.
            "action.auto_create_index": "false",
        }


def fetch(say: Say) -> Path:
    """The folder of OpenSearch's jars, and of the compiled program that starts them. Raises ServerFault."""
    library = jars(f"opensearch-{VERSION}", JAVA / "opensearch-pom.xml", {"opensearch.version": VERSION}, say)
    if not _compiled(library).is_dir():
        _compile(library)
    return library


def _compiled(library: Path) -> Path:
    """A folder of the class: compiled beside the jars, since an image of the servers has no compiler."""
    return library / f"node-{hashlib.sha256(_NODE.read_bytes()).hexdigest()[:8]}"


def _compile(library: Path) -> None:
    with locked(library.with_name(f"{library.name}.lock")), tempfile.TemporaryDirectory(dir=library) as beside:
        compiler = [java(), "-m", "jdk.compiler/com.sun.tools.javac.Main", "--release", "17"]
        classes = ":".join(map(str, library.glob("*.jar")))
        command = [*compiler, "-cp", classes, "-d", f"{beside}/node", str(_NODE)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if "jdk.compiler not found" in done.stdout + done.stderr:
            raise ToolMissing("this Java has no compiler: a whole JDK is needed, not only its runtime")
        if done.returncode != 0:
            raise ServerFault(f"{_NODE.name} could not be compiled:\n{done.stderr}")
        if not _compiled(library).is_dir():
            Path(beside, "node").rename(_compiled(library))


def default_folder() -> Path:
    """Below build/, which is not part of the project."""
    return Path(__file__).parents[2] / "build" / "cluster" / "opensearch"
