#!/usr/bin/env bash
# Installs what the benchmarks compare with, runs them, and writes results, pages and plots; docs/performance.md.
set -euo pipefail
umask 022

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Those that are measured beside, what drives them, and GNU time.
PACKAGES=(
    containernetworking-plugins iptables bird2 frr gobgpd iperf3 iproute2 iputils-ping procps time
)

fail() {
    printf 'bench/run.sh: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=packaging/tools.sh
. "$SOURCE/packaging/tools.sh"

usage() {
    cat <<'USAGE'
usage: bench/run.sh [--quick] [--results FILE] [TOPIC...]

Runs the benchmarks that are named, or all, one after the other. They are kept in bench/results.json, and the tables and
plots of docs/performance.md and README.md are made from it. Exit status 1 where one failed; the others are kept.

  --quick          few rounds, for trying; nothing is kept
  --results FILE   keep the results there, and leave pages and plots as they are

Topics:
USAGE
    sed -n 's/^    Topic("\([^"]*\)", [A-Z]*, "\(.*\)"),$/  \1\t\2/p' "$SOURCE/bench/topics.py" | expand -t 19
}

main() {
    local argument
    for argument in "$@"; do
        if [[ $argument == -h || $argument == --help ]]; then
            usage
            return
        fi
    done
    [[ $EUID -eq 0 ]] || fail "this needs root, for network namespaces: sudo bench/run.sh"
    trap '[[ -z ${ANYPOD_PREFIX:-} ]] || rm -rf "$ANYPOD_PREFIX"' EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    unset ANYPOD_PREFIX # an installation that somebody else made is not ours to remove
    prepare "${PACKAGES[@]}"
    cd "$SOURCE"
    "$TOOLS/bin/python" -m bench "$@" </dev/null
}

main "$@"
