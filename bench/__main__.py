"""Runs benchmarks one after the other, keeps what they found, and draws the pages anew.

    sudo bench/run.sh [--quick] [--results FILE] [TOPIC…]

With --quick nothing is kept, unless FILE is given; only the tree's own results.json changes pages and plots.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import machine, report
from bench.results import written
from bench.topics import TOPICS

if TYPE_CHECKING:
    from bench.topics import Topic

# Longer than the longest, by far: it is there so that a benchmark that hangs is told.
SECONDS = 7200
# Processors that may be busy with something else, of each.
QUIET = 0.5


def run(topic: Topic, quick: bool, directory: Path) -> tuple[dict[str, Any], str]:
    """Its rows by their keys, those also that were found before it failed; and why it failed."""
    kept = directory / f"{topic.name}.json"
    argv = [sys.executable, "-m", topic.module, "--json", str(kept), *(["--quick"] if quick else [])]
    reason = ""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL) as process:
        try:
            status = process.wait(SECONDS)
            reason = f"exit status {status}" if status else ""
        except subprocess.TimeoutExpired:
            reason = f"no end after {SECONDS} s"
        finally:
            process.terminate()  # its namespaces are removed by itself
    rows = json.loads(kept.read_text()) if kept.exists() else {}
    return rows, reason or ("" if rows else "it kept no row")


def main() -> None:
    """Exit status 1 where a benchmark failed; the others have run, and are kept."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that what runs is ended too
    names = {topic.name: topic for topic in TOPICS}
    parser = argparse.ArgumentParser(
        prog="bench/run.sh", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(names)}; none: all")
    parser.add_argument("--quick", action="store_true", help="few rounds, for trying")
    parser.add_argument("--results", type=Path, help="the file that keeps the results")
    given = parser.parse_args()
    if unknown := [name for name in given.topics if name not in names]:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(names)}")
    file = given.results or (None if given.quick else report.RESULTS)
    held = report.load(file) if file else {}
    failed, topics = [], [names[name] for name in given.topics or names]
    with tempfile.TemporaryDirectory(prefix="anypod-bench-") as directory:
        for number, topic in enumerate(topics, 1):
            print(f"\n[{number}/{len(topics)}] {topic.name}: {topic.what}", flush=True)
            if number == 1 and os.getloadavg()[0] > QUIET * (os.cpu_count() or 1):
                print("    this machine has other work to do: the ratios will be off", flush=True)
            began = time.monotonic()
            rows, reason = run(topic, given.quick, Path(directory))
            if reason:
                failed.append(topic.name)
            print(
                f"    {f'FAILED: {reason}' if reason else 'done'}, {time.monotonic() - began:.0f} s",
                flush=True,
            )
            if rows:
                held = report.merged(held, topic, rows, machine.describe())
                if file:
                    report.place(file, written(held))
    print(f"\n{report.verdicts(held)}")
    if file == report.RESULTS:
        report.write_pages()
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
