"""The public names of a Parsl release, read off its source: no package that it may want has to be installed.

Public is what can be imported without an underscore. For each module: what it defines, and what it passes on of
Parsl's other modules and of others. Only facts are kept (names, parameters, defaults that are plain values), no text.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

# {"kind": "class" | "exception" | "function" | "constant" | "passed on", ...}, see Module.names.
Entry = dict[str, Any]
Names = dict[str, Entry]

ROOT = "parsl"
_EXCEPTIONS = {"Exception", "RuntimeError", "ValueError", "TypeError", "ImportError", "Warning", "BaseException"}


class Release:
    """A tree of Parsl's source: an unpacked wheel, or where it is installed."""

    def __init__(self, package: Path) -> None:
        self._package = package
        self.modules = {module.name: module for module in map(self._module, sorted(package.rglob("*.py"))) if module}

    def _module(self, path: Path) -> Module | None:
        parts = [ROOT, *path.relative_to(self._package).with_suffix("").parts]
        if "tests" in parts or any(part.startswith("_") and part != "__init__" for part in parts):
            return None
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        return Module(self, name, is_package, ast.parse(path.read_text(encoding="utf-8")))

    def names(self) -> dict[str, Names]:
        """All modules with their public names, each with what is known of it."""
        return {name: module.names() for name, module in self.modules.items()}

    def definition(self, module: str, name: str) -> tuple[Module, ast.stmt] | None:
        """Where a name is defined, however often it is passed on before."""
        for _ in range(10):
            found = self.modules.get(module)
            if found is None:
                return None
            if name in found.defined:
                return found, found.defined[name]
            if name not in found.imported:
                return None
            module, name = found.imported[name]
        return None


class Module:
    """One module of a release."""

    def __init__(self, release: Release, name: str, is_package: bool, tree: ast.Module) -> None:
        self.release = release
        self.name = name
        self._is_package = is_package
        self._tree = tree

    @cached_property
    def defined(self) -> dict[str, ast.stmt]:
        """Classes, functions and assignments at the top of the module, the last of each name."""
        found: dict[str, ast.stmt] = {}
        for statement in _at_the_top(self._tree.body):
            match statement:
                case ast.ClassDef() | ast.FunctionDef():
                    found[statement.name] = statement
                case ast.Assign(targets) if all(isinstance(target, ast.Name) for target in targets):
                    found.update((target.id, statement) for target in targets if isinstance(target, ast.Name))
                case ast.AnnAssign(ast.Name(name)):
                    found[name] = statement
        return found

    @cached_property
    def imported(self) -> dict[str, tuple[str, str]]:
        """Names that are imported from modules: where from, and what they are called there."""
        found: dict[str, tuple[str, str]] = {}
        for statement in _at_the_top(self._tree.body):
            if isinstance(statement, ast.ImportFrom):
                source = self._absolute(statement)
                found.update((alias.asname or alias.name, (source, alias.name)) for alias in statement.names)
        return found

    def _absolute(self, statement: ast.ImportFrom) -> str:
        if not statement.level:
            return statement.module or ""
        parts = self.name.split(".")
        base = parts[: len(parts) - statement.level + self._is_package]
        return ".".join([*base, *filter(None, [statement.module])])

    @cached_property
    def listed(self) -> set[str]:
        """Names of ``__all__``."""
        match self.defined.get("__all__"):
            case ast.Assign(value=ast.List(elements)) | ast.Assign(value=ast.Tuple(elements)):
                return {element.value for element in elements if isinstance(element, ast.Constant)}
        return set()

    @property
    def _only_lists(self) -> bool:
        """Whether this is a package that is there for the names of its modules."""
        return self._is_package and not any(isinstance(one, ast.ClassDef) for one in self.defined.values())

    def names(self) -> Names:
        """Public names: what this module defines, and what it passes on of Parsl's other modules."""
        found = {name: self.entry(statement) for name, statement in self.defined.items()}
        for name, (source, there) in self.imported.items():
            if name not in found and self.release.definition(source, there) is not None:
                found[name] = {"kind": "passed on", "from": f"{source}.{there}"}
                if name in self.listed or self._only_lists:
                    found[name]["listed"] = True
        return {name: found[name] for name in sorted(found) if not name.startswith("_") and name != "logger"}

    def entry(self, statement: ast.stmt) -> Entry:
        match statement:
            case ast.FunctionDef(args=arguments):
                return {"kind": "function", "parameters": parameters(arguments)}
            case ast.ClassDef():
                return self._class(statement)
        value = getattr(statement, "value", None)
        return {"kind": "constant"} | ({} if value is None or not _is_plain(value) else {"value": ast.unparse(value)})

    def _class(self, statement: ast.ClassDef) -> Entry:
        members: dict[str, Any] = {}
        for owner in reversed(list(self._line(statement))):
            members.update(_members(owner[1]))
        kind = "exception" if self._is_exception(statement) else "class"
        entry: Entry = {"kind": kind, "members": {name: members[name] for name in sorted(members)}}
        constructed = self._constructor(statement)
        return entry if constructed is None else entry | {"parameters": constructed}

    def _line(self, statement: ast.ClassDef) -> Iterator[tuple[Module, ast.ClassDef]]:
        """A class and what it inherits from within Parsl, nearest first."""
        yield self, statement
        for base in statement.bases:
            found = self._base(base)
            if found is not None:
                yield from found[0]._line(found[1])

    def _base(self, base: ast.expr) -> tuple[Module, ast.ClassDef] | None:
        found = self.release.definition(self.name, base.id) if isinstance(base, ast.Name) else None
        return (found[0], found[1]) if found is not None and isinstance(found[1], ast.ClassDef) else None

    def _is_exception(self, statement: ast.ClassDef) -> bool:
        names = {ast.unparse(base) for _, owner in self._line(statement) for base in owner.bases}
        return bool(names & _EXCEPTIONS)

    def _constructor(self, statement: ast.ClassDef) -> list[list[str]] | None:
        for _, owner in self._line(statement):
            for child in owner.body:
                if isinstance(child, ast.FunctionDef) and child.name == "__init__":
                    return parameters(child.args)[1:]
            if any("dataclass" in ast.unparse(decorator) for decorator in owner.decorator_list):
                return [_field(child) for child in owner.body if isinstance(child, ast.AnnAssign)]
        return None


def _at_the_top(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that an import runs, those in ``if`` and ``try`` too; but what only type checkers see."""
    for statement in body:
        match statement:
            case ast.If(test) if "TYPE_CHECKING" in ast.unparse(test):
                yield from _at_the_top(statement.orelse)
            case ast.If(test) if ast.unparse(test).startswith("__name__ =="):
                continue
            case ast.If():
                yield from _at_the_top([*statement.orelse, *statement.body])
            case ast.Try():
                handlers = [child for handler in statement.handlers for child in handler.body]
                yield from _at_the_top([*handlers, *statement.body, *statement.orelse])
            case _:
                yield statement


def _members(owner: ast.ClassDef) -> dict[str, Any]:
    """Public methods (their parameters), properties and values of a class."""
    found: dict[str, Any] = {}
    for child in owner.body:
        match child:
            case ast.FunctionDef(str(name)) if not name.startswith("_"):
                decorators = [ast.unparse(decorator) for decorator in child.decorator_list]
                is_property = any("property" in one or ".setter" in one for one in decorators)
                bound = 0 if "staticmethod" in decorators else 1
                found[name] = "property" if is_property else parameters(child.args)[bound:]
            case ast.Assign([ast.Name(str(name))]) if not name.startswith("_"):
                found[name] = "value"
    return found


def _field(child: ast.AnnAssign) -> list[str]:
    name = ast.unparse(child.target)
    return [name] if child.value is None else [name, _default(child.value)]


def parameters(arguments: ast.arguments) -> list[list[str]]:
    """Each parameter as [name] or [name, default]; ``*`` and ``**`` are part of the name."""
    positional = [*arguments.posonlyargs, *arguments.args]
    without = len(positional) - len(arguments.defaults)
    found = [[argument.arg] for argument in positional[:without]]
    pairs = zip(positional[without:], arguments.defaults, strict=True)
    found += [[argument.arg, _default(default)] for argument, default in pairs]
    if arguments.vararg:
        found.append([f"*{arguments.vararg.arg}"])
    elif arguments.kwonlyargs:
        found.append(["*"])
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        found.append([argument.arg] if default is None else [argument.arg, _default(default)])
    if arguments.kwarg:
        found.append([f"**{arguments.kwarg.arg}"])
    return found


def _default(value: ast.expr) -> str:
    """A plain value as Python writes it, and dots for what is calculated."""
    return repr(ast.literal_eval(value)) if _is_plain(value) else "..."


def _is_plain(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except ValueError:
        return False
    return True
