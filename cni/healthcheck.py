"""How to tell that a pod serves: a health check as text, as a value, and as the state file keeps it. Pure.

`tcp://:53 interval=2 rise=3`: a URL without a host, for the host is the pod, and options behind it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = ("tcp", "http", "https", "grpc")
EXEC = "exec"
MAX_TEXT = 1024
# Option, its default, the least and the most. Times in seconds.
TIMES = {"interval": (5.0, 0.1, 3600.0), "timeout": (2.0, 0.05, 60.0), "fast": (1.0, 0.1, 3600.0)}
COUNTS = {"rise": (2, 1, 100), "fall": (3, 1, 100)}


class HealthCheck:
    """`kind` is one of KINDS or EXEC; times in seconds.

    `path` is that of an HTTP request, or the service that gRPC is asked about; `argv` is the command of EXEC.
    Every `interval` a probe; every `fast` while a change is on its way.
    """

    __slots__ = ("argv", "fall", "fast", "interval", "kind", "path", "port", "rise", "timeout")

    def __init__(self, kind: str, port: int = 0, path: str = "", argv: tuple[str, ...] = ()) -> None:
        self.kind = kind
        self.port = port
        self.path = path
        self.argv = argv
        self.interval = TIMES["interval"][0]
        self.timeout = TIMES["timeout"][0]
        self.fast = TIMES["fast"][0]
        self.rise = COUNTS["rise"][0]
        self.fall = COUNTS["fall"][0]

    def compiled(self) -> list[object]:
        """A JSON form that `load` reads back."""
        times = [self.interval, self.timeout, self.fast]
        return [self.kind, self.port, self.path, list(self.argv), *times, self.rise, self.fall]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HealthCheck) and self.compiled() == other.compiled()

    def __hash__(self) -> int:
        return hash(str(self.compiled()))

    def __str__(self) -> str:
        if self.kind == EXEC:
            return f"{EXEC}:{' '.join(self.argv)}"
        return f"{self.kind}://:{self.port}{'/' if self.kind == 'grpc' and self.path else ''}{self.path}"


def load(compiled: Any) -> HealthCheck:
    """The check from its compiled form; TypeError or ValueError for what is none."""
    kind, port, path, argv, interval, timeout, fast, rise, fall = compiled
    if kind not in {*KINDS, EXEC}:
        raise ValueError(f"no kind of health check: {kind}")
    check = HealthCheck(kind, port, path, tuple(argv))
    check.interval, check.timeout, check.fast = float(interval), float(timeout), float(fast)
    check.rise, check.fall = int(rise), int(fall)
    return check


def parse_check(text: str, allow_exec: bool = False) -> HealthCheck:
    """The check that a text asks for. ValueError says in words what is wrong with it and how to write it."""
    if len(text) > MAX_TEXT or not text.isprintable():
        raise ValueError(f"no printable text of at most {MAX_TEXT} characters")
    words = text.split()
    options: list[str] = []
    while len(words) > 1 and words[-1].partition("=")[0] in (*TIMES, *COUNTS):
        options.append(words.pop())
    if words and words[0].startswith(f"{EXEC}:"):
        if not allow_exec:
            raise ValueError("a command, which only the netconf may name; use tcp, http, https or grpc")
        check = HealthCheck(EXEC, argv=(words[0].removeprefix(f"{EXEC}:"), *words[1:]))
        if not check.argv[0].startswith("/"):
            raise ValueError("a command without its absolute path; write it like exec:/usr/local/bin/check")
    elif len(words) == 1:
        check = _url(words[0])
    elif words:
        raise ValueError(f"saying {words[-1]}, which is no option; there are {', '.join((*TIMES, *COUNTS))}")
    else:
        raise ValueError("no health check; write it like tcp://:53 interval=2 or http://:8080/healthz")
    _set_options(check, options)
    return check


def _url(text: str) -> HealthCheck:
    kind, separator, rest = text.partition("://")
    if not separator or kind not in KINDS:
        raise ValueError(f"no URL of {', '.join(KINDS)}; write it like tcp://:53 or http://:8080/healthz")
    host, slash, path = rest.partition("/")
    name, colon, number = host.rpartition(":")
    if name or not colon:
        raise ValueError("a URL whose host is not left out; the pod is asked, write it like tcp://:53")
    if not (number.isascii() and number.isdecimal() and len(number) <= 5 and 0 < int(number) <= 65535):
        raise ValueError("without a port from 1 to 65535; write it like tcp://:53")
    if slash and kind == "tcp":
        raise ValueError("a path, which tcp has none of; write it like tcp://:53")
    if not path.isascii():
        raise ValueError("a path with other than ASCII characters; encode them with %")
    return HealthCheck(kind, int(number), path if kind == "grpc" else slash + path)


def _set_options(check: HealthCheck, options: list[str]) -> None:
    seen: set[str] = set()
    for option in options:
        name, _, value = option.partition("=")
        if name in seen:
            raise ValueError(f"saying {name} twice; keep one")
        seen.add(name)
        if name in COUNTS:
            _, least, most = COUNTS[name]
            if not (value.isascii() and value.isdecimal() and len(value) < 5 and least <= int(value) <= most):
                raise ValueError(f"saying {option}; {name} is a whole number from {least} to {most}")
            setattr(check, name, int(value))
        else:
            setattr(check, name, _seconds(name, value))
    if check.timeout > check.interval:
        if "timeout" in seen:
            raise ValueError("saying a timeout longer than the interval; lower it")
        check.timeout = check.interval
    if check.fast > check.interval:
        if "fast" in seen:
            raise ValueError("saying a fast interval longer than the interval; lower it")
        check.fast = check.interval


def _seconds(name: str, text: str) -> float:
    _, least, most = TIMES[name]
    number, factor = text, 1.0
    if text.endswith("ms"):
        number, factor = text[:-2], 0.001
    elif text.endswith("s"):
        number = text[:-1]
    plain = number.replace(".", "", 1)
    value = float(number) * factor if plain.isascii() and plain.isdecimal() and len(plain) < 10 else -1.0
    if not least <= value <= most:
        raise ValueError(f"saying {name}={text}; it is {least:g} to {most:g} seconds, like 2, 0.5s or 500ms")
    return value
