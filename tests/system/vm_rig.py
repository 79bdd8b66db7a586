"""A virtual machine with Debian's cloud kernel, for tests of what a test machine's own kernel may lack.

It runs tests of tests/vm with this machine's own Python, plugins and commands. It has no disk and no
network device: all that it has is in its first memory image, and nothing of it stays. QEMU emulates the
processor, so that nothing is needed but memory and time.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tests.system.compare_rig import REFERENCE
from tests.vm.image import Image
from tests.vm.init import PLAN
from tests.vm.kernel import MissingError, package, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SOURCE = Path(__file__).resolve().parents[2]
PLUGIN = "opt/cni/bin/anypod"
QEMU = "qemu-system-x86_64"
# Of the machine, three times what it takes, and of each test in it: programs are ten to thirty times slower.
SECONDS = 360
TEST_SECONDS = 120
MEMORY_MB = 1024
COMMANDS = ("sh", "cat", "ping", "ip", "bridge", "sysctl", "nft", "tc")
PYTEST = ("pytest", "pluggy", "iniconfig", "packaging", "pygments", "pytest-timeout")
# Of Python's standard library: large, and of no use here.
UNNEEDED = ("config-*", "test", "idlelib", "tkinter", "lib2to3", "pydoc_data", "ensurepip")
MODULES = (
    *("bridge", "8021q", "veth", "ifb", "sch_tbf", "sch_ingress", "cls_u32", "act_mirred", "br_netfilter"),
    *("nf_tables", "nf_conntrack", "nf_conntrack_netlink", "nft_ct", "nft_nat", "nft_chain_nat", "nft_masq"),
    *("nft_fib_inet", "nft_meta_bridge"),
)
# One processor: what one waits for in the other costs more than the other gives. Programs at the same addresses
# each time, and the processor's own clock: QEMU then does not translate anew, nor emulate a timer.
KERNEL_ARGUMENTS = "console=ttyS0 panic=-1 quiet tsc=reliable norandmaps"
CONSOLE_TAIL = 4000


@dataclass(frozen=True, slots=True)
class Needs:
    """What some tests need in the machine beyond what all do: modules of the kernel, commands, files and folders."""

    modules: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


NOTHING = Needs()


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test in the machine ended."""

    test: str
    passed: bool
    text: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, repr=False)
class Run:
    """What is known of a run: its tests, pytest's exit status (-1: it did not end), what the console said last."""

    outcomes: list[Outcome]
    status: int
    console: str

    def failures(self, test: str) -> str:
        """What is wrong with a test, all its parameters together; empty where nothing is."""
        own = [one for one in self.outcomes if one.test.partition("[")[0] == test]
        if not own:
            return f"it did not run; pytest's status is {self.status}, and the console says:\n{self.console}"
        return "\n".join(f"{one.test}\n{one.text}" for one in own if not one.passed)


def tests_of(modules: Iterable[str]) -> list[str]:
    """The tests that these modules of tests/vm have, as pytest names them."""
    return [
        f"tests/vm/{module}.py::{name}"
        for module in modules
        for name in vars(import_module(f"tests.vm.{module}"))
        if name.startswith("test_")
    ]


def short(test: str) -> str:
    """The name of a test without its module."""
    return test.rpartition("::")[2]


def run_tests(prefix: Path, modules: Sequence[str], needs: Needs = NOTHING) -> Run:
    """Runs modules of tests/vm in a machine of their own, with the plugin that is installed at `prefix`."""
    if shutil.which(QEMU) is None:
        raise MissingError(f"{QEMU} is missing; install the package qemu-system-x86")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anypod"
    kernel = unpack(package(cache), (*MODULES, *needs.modules))
    with ExitStack() as stack:
        files = {name: _memory_file(stack, name) for name in ("kernel", "image", "report")}
        files["kernel"].write(kernel.image)
        _image(prefix, kernel.modules, modules, needs).write(files["image"])
        for file in files.values():
            file.flush()
        console = _boot(files)
        files["report"].seek(0)
        report = files["report"].read().decode(errors="replace")
    lines = [json.loads(line) for line in report.splitlines() if line.startswith("{") and line.endswith("}")]
    status = next((one["exit"] for one in lines if "exit" in one), -1)
    return Run([Outcome(**one) for one in lines if "exit" not in one], status, console[-CONSOLE_TAIL:])


def _memory_file(stack: ExitStack, name: str) -> BinaryIO:
    """A file without a place in any file system, which programs that are started have too."""
    return stack.enter_context(os.fdopen(os.memfd_create(name, 0), "w+b"))


def _image(prefix: Path, modules: dict[str, bytes], tests: Iterable[str], needs: Needs) -> Image:
    # The interpreter that the plugin names runs all Python of the machine, not by that link, which has no PYTHONPATH.
    named = (prefix / PLUGIN).read_text(encoding="utf-8").split()[0].removeprefix("#!")
    python = str(Path(named).resolve())
    image = Image()
    image.add(python)
    image.add(_standard_library(python), UNNEEDED)
    for path in (prefix / "opt", f"{REFERENCE}/bridge", f"{REFERENCE}/host-local"):
        image.add(str(path))
    for name in (*COMMANDS, *needs.commands):
        image.add(shutil.which(name) or name)
    for name in PYTEST:
        _add_distribution(image, name)
    for name in ("cni", "pyproject.toml", "tests/system", "tests/vm"):
        image.add(str(SOURCE / name))
    for path in needs.files:
        image.add(str(path))
    image.add_libraries()
    for name, data in modules.items():
        image.put(f"/modules/{name}.ko", data)
    plan = {
        "modules": [f"/modules/{name}.ko" for name in modules],
        "argv": [python, "-m", "pytest", "-p", "no:cacheprovider", f"--timeout={TEST_SECONDS}", "--color=no"]
        + [f"tests/vm/{one}.py" for one in tests],
        "cwd": str(SOURCE),
        "env": {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "PYTHONPATH": f"{distribution('pytest').locate_file('')}:{SOURCE}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "ANYPOD_PREFIX": str(prefix),
        },
    }
    image.put(PLAN, json.dumps(plan).encode())
    image.put("/init", f"#!{python} -IS\n".encode() + (SOURCE / "tests/vm/init.py").read_bytes())
    return image


def _standard_library(python: str) -> str:
    argv = [python, "-IS", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"]
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def _add_distribution(image: Image, name: str) -> None:
    found = distribution(name)
    for one in found.files or ():
        # Commands are outside of the folder of packages.
        if ".." not in one.parts:
            image.add(str(found.locate_file(one)))


def _boot(files: dict[str, BinaryIO]) -> str:
    """Boots the machine and waits for its end; what its console said. It ends with this process too."""
    numbers = {name: file.fileno() for name, file in files.items()}
    paths = {name: f"/dev/fd/{number}" for name, number in numbers.items()}
    argv = ["setpriv", "--pdeathsig", "KILL", QEMU, "-accel", "tcg", "-cpu", "max", "-smp", "1"]
    argv += ["-m", str(MEMORY_MB), "-nodefaults", "-no-user-config", "-display", "none", "-nic", "none"]
    argv += ["-kernel", paths["kernel"], "-initrd", paths["image"], "-append", KERNEL_ARGUMENTS]
    argv += ["-no-reboot", "-serial", "stdio", "-serial", f"file:{paths['report']}"]
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=list(numbers.values()),
            check=False,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode(errors="replace") + f"\nit did not end within {SECONDS} s"
    return done.stdout.decode(errors="replace")
