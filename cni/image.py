"""The plugin's modules as the installer compiled them: those of a verb in one file, read and run at once.

The ordinary import asks the kernel some ten times for each module. The image is a directory with a file for what every
call needs, one for each verb, and one with all the rest; `packaging/image.py` makes it, the installed launcher starts
it. What is missing in it, damaged, or of another Python is imported in the ordinary way.
"""

from __future__ import annotations

import gc
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader
from _imp import create_builtin, exec_builtin, source_hash
from marshal import loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from types import CodeType, ModuleType
else:
    Loader = object

HASH = 8
LARGEST = 8 << 20
START = "start"
REST = "rest"
# A file of another Python, as a damaged one, hashes to something else.
KEY = sys.hexversion >> 16


class Image(Loader):
    """The image in `directory`, of the modules in `site`; stands in `sys.meta_path` for what is imported one by one."""

    def __init__(self, directory: str, site: str, extensions: dict[str, str]) -> None:
        self._directory = directory
        self._site = site
        # Where the interpreter's own C modules are: it would look through four directories for each.
        self._extensions = extensions
        self._rest: dict[str, bytes] | None = None

    def group(self, name: str) -> None:
        """Runs the modules of a group. Nothing happens where it can't be read: they are imported later."""
        found = self._read(name)
        if isinstance(found, list):
            self.run(found)

    def run(self, modules: Sequence[tuple[str, CodeType | None]]) -> None:
        """Makes modules of their code, in this order; the import system finds them made. Without code: built in."""
        for name, code in modules:
            if name in sys.modules:
                continue
            if code is None:
                module = create_builtin(ModuleSpec(name, None))
                exec_builtin(module)
                sys.modules[name] = module
                continue
            module = type(sys)(name)
            self._describe(module)
            sys.modules[name] = module
            try:
                exec(code, module.__dict__)  # noqa: S102 - this is how a module is made
            except BaseException:
                del sys.modules[name]
                raise
            package, _, short = name.rpartition(".")
            if package:
                setattr(sys.modules[package], short, module)

    def _describe(self, module: ModuleType) -> None:
        name = module.__name__
        spec = ModuleSpec(name, self, is_package=name == "cni")
        # Every import statement looks at it.
        spec._initializing = False  # type: ignore[attr-defined]
        module.__spec__ = spec
        module.__package__ = spec.parent
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(f"{self._site}/{name}")
            module.__path__ = spec.submodule_search_locations

    def _read(self, name: str) -> object:
        try:
            file = posix.open(f"{self._directory}/{name}", posix.O_RDONLY | posix.O_CLOEXEC)
        except OSError:
            return None
        try:
            data = posix.read(file, LARGEST)
        except OSError:
            return None
        finally:
            posix.close(file)
        content = memoryview(data)[HASH:]
        # Its file is as much ours as the modules' own.
        return loads(content) if data[:HASH] == source_hash(KEY, content) else None  # noqa: S302

    # ---- what the import system asks

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """Where a module is; None for what the image does not have."""
        if name.startswith("cni."):
            if self._rest is None:
                found = self._read(REST)
                self._rest = found if isinstance(found, dict) else {}
            return ModuleSpec(name, self) if name in self._rest else None
        place = self._extensions.get(name)
        # A C module's functions are looked up when they are called, since few are, but those of a library that was
        # linked to have all looked up at once: in itself first, where SQLite's 1,200 are. The C modules of others,
        # which get here as well, are bound as ever.
        sys.setdlopenflags(posix.RTLD_LAZY | (posix.RTLD_DEEPBIND if place is not None else 0))
        if place is None:
            return None
        try:
            posix.stat(place)
        except FileNotFoundError:
            return None
        return ModuleSpec(name, ExtensionFileLoader(name, place), origin=place)

    def create_module(self, _spec: ModuleSpec) -> None:
        """Lets the import system make the module."""

    def exec_module(self, module: ModuleType) -> None:
        """Runs a module of the rest."""
        exec(loads((self._rest or {})[module.__name__]), module.__dict__)  # noqa: S102, S302


_images: list[Image] = []


def begin(directory: str, site: str, first: bytes, extensions: dict[str, str]) -> None:
    """What the launcher's file ends with: from now on modules come from this image, as far as it has them."""
    # No call lives so long that collecting garbage would pay.
    gc.disable()
    # The launcher has run this module as its own.
    sys.modules["cni.image"] = sys.modules[__name__]
    image = Image(directory, site, extensions)
    sys.meta_path.insert(0, image)
    image.run(loads(first))  # noqa: S302
    _images.append(image)


def load(group: str) -> None:
    """Loads what a verb needs, where there is an image; each verb also imports that itself."""
    for image in _images:
        image.group(group)
