"""Falcon runs no program that it is sent: it reads JSON, MessagePack and its own frames, and no pickle."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Modules that make objects of any class out of bytes, and the ones that speak in pickles.
_UNPICKLE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "multiprocessing", "xmlrpc"}
# Thespian's other bases send pickles over sockets and pipes.
_ACTOR_BASE = "simpleSystemBase"


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / "falcon").rglob("*.py")):
        yield path, ast.parse(path.read_text())


def test_no_module_of_falcon_unpickles_bytes() -> None:
    found = []
    for path, tree in modules():
        for node in ast.walk(tree):
            match node:
                case ast.Import(names=names):
                    imported = [name.name for name in names]
                case ast.ImportFrom(module=str(module)):
                    imported = [module]
                case _:
                    continue
            found += [f"{path}: {name}" for name in imported if name.partition(".")[0] in _UNPICKLE]
    assert found == []


def test_actors_are_objects_of_the_process_and_read_no_socket() -> None:
    bases = [
        ast.unparse(call.args[0]) if call.args else "the default"
        for _, tree in modules()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] == "ActorSystem"
    ]
    assert bases == [repr(_ACTOR_BASE)]
