"""The modules that users name for their functions: found by dotted name or by the path of a file, and imported."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
import traceback
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from headrace.app.errors import InputError, UsageError
from headrace.sql.errors import UdfError
from headrace.sql.functions.user import own_functions


def load_modules(names: Iterable[str]) -> tuple[ModuleType, ...]:
    """The modules, each imported once in a process. A dotted name may also lie in the current folder; what a file
    imports may lie beside it.

    Raises UsageError for what is not there, InputError with file and line for what fails, and for modules that do not
    have functions, or two of one name.
    """
    modules = tuple(_from_file(Path(name)) if name.endswith(".py") else _by_name(name) for name in names)
    try:
        own_functions(modules)
    except UdfError as error:
        raise InputError(str(error)) from None
    return modules


def _by_name(name: str) -> ModuleType:
    _also_look_in(Path.cwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            hint = "a module is named as in an import, or by the path of its .py file"
            raise UsageError(f"--udf {name}: there is no such module", hint) from None
        raise _failed(name, error) from error
    except Exception as error:  # the module is the user's: importing it may raise anything
        raise _failed(name, error) from error


def _from_file(path: Path) -> ModuleType:
    path = path.absolute()
    name = f"headrace_udf:{path}"  # a name that no import means
    if name in sys.modules:
        return sys.modules[name]
    if not path.is_file():
        raise UsageError(f"--udf {path}: there is no such file")
    _also_look_in(path.parent)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # type hints are looked up there
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the module is the user's: importing it may raise anything
        del sys.modules[name]
        raise _failed(str(path), error) from error
    return module


def _also_look_in(folder: Path) -> None:
    """Behind all other folders, so that a file of the user's hides no module of another."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _failed(name: str, error: Exception) -> InputError:
    """What went wrong in a user's module, at the last of its lines that was reached."""
    if isinstance(error, SyntaxError):
        return InputError(f"{error.filename}, line {error.lineno}: SyntaxError: {error.msg}")
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_users(frame.filename)]
    place = f"{own[-1].filename}, line {own[-1].lineno}" if own else name
    kind = "" if isinstance(error, UdfError) else f"{type(error).__name__}: "
    return InputError(f"{place}: {kind}{error}")


def _is_users(filename: str) -> bool:
    """Neither ours nor a library's."""
    path = Path(filename).resolve()
    libraries = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib")]
    ours = Path(__file__).resolve().parent.parent
    return not filename.startswith("<") and not any(path.is_relative_to(folder) for folder in (ours, *libraries))
