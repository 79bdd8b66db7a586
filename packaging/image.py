"""Makes the image that the plugin starts from: `image.py SITE DIRECTORY`, by the interpreter that is to run it.

See `cni/image.py`, which reads it. Names of modules and what they need are found by their import statements, so that
there is no list to keep.
"""

from __future__ import annotations

import _imp
import ast
import marshal
import sys
from importlib.machinery import ExtensionFileLoader
from importlib.util import MAGIC_NUMBER, find_spec
from pathlib import Path
from types import CodeType
from typing import Any

PACKAGE = "cni"
# What each verb begins with.
VERBS = {
    "ADD": "cni.add",
    "DEL": "cni.delete",
    "CHECK": "cni.check",
    "STATUS": "cni.status",
    "GC": "cni.gc",
}
FIRST = ("cni", "cni.main")
READER = "cni.image"
# What the interpreter finds in the place of its package `encodings`.
CODEC = "cni.utf8"
# The one module of the standard library that the usual way needs and the interpreter has as a file.
FILES = {"struct"}


class _Bare(ast.NodeTransformer):
    """Takes out what nobody looks at while the plugin runs: annotations, and imports for type checkers."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        arguments = node.args
        for one in (
            *arguments.posonlyargs,
            *arguments.args,
            *arguments.kwonlyargs,
            arguments.vararg,
            arguments.kwarg,
        ):
            if one is not None:
                one.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        bare = ast.Pass() if node.value is None else ast.Assign([node.target], node.value)
        return ast.copy_location(bare, node)

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return node.orelse
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node


def _without_lines(code: CodeType) -> CodeType:
    """The same without what a traceback shows, line numbers and long names: the plugin answers with error objects."""
    inner = tuple(_without_lines(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_consts=inner, co_linetable=b"", co_qualname=code.co_name)


class Sources:
    """The modules below a `site-packages`."""

    def __init__(self, site: Path) -> None:
        self._site = site
        self._trees: dict[str, ast.Module] = {}

    def names(self) -> list[str]:
        """All modules of the package."""
        found = (self._site / PACKAGE).rglob("*.py")
        parts = (path.relative_to(self._site).with_suffix("").parts for path in found)
        return sorted(".".join(one[:-1] if one[-1] == "__init__" else one) for one in parts)

    def _place(self, name: str) -> Path:
        if name in FILES:
            spec = find_spec(name)
            assert spec is not None and spec.origin is not None  # noqa: S101, PT018 - of the standard library
            return Path(spec.origin)
        place = self._site / name.replace(".", "/")
        return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")

    def tree(self, name: str) -> ast.Module:
        """What a module is made of, bare."""
        if name not in self._trees:
            tree = _Bare().visit(ast.parse(self._place(name).read_bytes()))
            self._trees[name] = ast.fix_missing_locations(tree)
        return self._trees[name]

    def code(self, name: str, last: str = "") -> CodeType:
        """A module compiled, without docstrings; `last` is a statement behind it."""
        tree = self.tree(name)
        whole = ast.Module([*tree.body, *ast.parse(last).body], tree.type_ignores)
        code = compile(whole, f"{name.replace('.', '/')}.py", "exec", dont_inherit=True, optimize=2)
        return _without_lines(code)

    def imported(self, name: str) -> list[str]:
        """What a module imports when it is run, in that order; C modules too."""
        found: list[str] = []
        for node in self.tree(name).body:
            if isinstance(node, ast.Import):
                found += [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == PACKAGE:
                found += [f"{PACKAGE}.{one.name}" for one in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.append(node.module)
        return found

    def needed(self, name: str, found: list[str]) -> list[str]:
        """Adds to `found` a module behind all that it needs."""
        if name not in found and (name in FILES or name.partition(".")[0] == PACKAGE):
            for one in self.imported(name):
                self.needed(one, found)
            found.append(name)
        return found

    def group(self, names: list[str]) -> list[tuple[str, CodeType | None]]:
        """Modules with their code, and before them the interpreter's own that they import, without."""
        asked = [one for name in names for one in self.imported(name)]
        own = [(one, None) for one in dict.fromkeys(asked) if one in sys.builtin_module_names]
        return [*own, *((name, self.code(name)) for name in names)]

    def extensions(self) -> dict[str, str]:
        """The C modules that the package asks for anywhere and that are files, with their places."""
        nodes = [node for name in (*self.names(), *FILES) for node in ast.walk(self.tree(name))]
        names = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        names |= {one.name for node in nodes if isinstance(node, ast.Import) for one in node.names}
        specs = [find_spec(name) for name in sorted(names) if name in sys.stdlib_module_names]
        return {
            one.name: one.origin
            for one in specs
            if one and one.origin and isinstance(one.loader, ExtensionFileLoader)
        }


def build(site: Path, directory: Path) -> None:
    """Writes the image of the package in `site`."""
    # Imported here: the reader is part of what is installed.
    sys.path.insert(0, str(site))
    from cni.image import KEY, REST, START

    def put(name: str, content: Any) -> None:
        data = marshal.dumps(content)
        (directory / name).write_bytes(_imp.source_hash(KEY, data) + data)

    sources = Sources(site)
    directory.mkdir()
    first: list[str] = []
    for name in FIRST:
        sources.needed(name, first)
    modules = sources.group([name for name in first if name != READER])
    arguments = (str(directory), str(site), marshal.dumps(modules), sources.extensions())
    put(START, sources.code(READER, f"begin(*{arguments!r})"))
    for verb, name in VERBS.items():
        put(verb, sources.group([one for one in sources.needed(name, list(first)) if one not in first]))
    rest = [name for name in sources.names() if name not in (*first, READER, CODEC)]
    put(REST, {name: marshal.dumps(sources.code(name)) for name in rest})
    # As `py_compile` writes a module that is never compared with its source.
    head = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
    (directory / "encodings.pyc").write_bytes(head + marshal.dumps(sources.code(CODEC)))


if __name__ == "__main__":
    build(Path(sys.argv[1]), Path(sys.argv[2]))
