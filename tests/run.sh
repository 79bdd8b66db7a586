#!/usr/bin/env bash
# Installs what the tests need, then runs everything that checks this project; tests/README.md.
set -euo pipefail
umask 022

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/anypod
# Beyond what a node needs: other routers, runtimes and plugins, and what a test is made with.
PACKAGES=(
    frr bird2 exabgp containernetworking-plugins containerd runc podman dnsmasq-base iptables
    iputils-ping procps strace gcc libc6-dev qemu-system-x86 shellcheck debootstrap systemd-container
)
FAILED=()

fail() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    exit 1
}

check() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        printf 'ok      %s\n' "$name"
    else
        printf '%s\nFAILED  %s\n' "$output" "$name"
        FAILED+=("$name")
    fi
}

# The tools live outside of the tree and are made anew when pyproject.toml asks for others.
prepare_tools() {
    local python wanted
    python=$(realpath "$ANYPOD_PREFIX/opt/anypod/current/bin/python")
    wanted=$("$python" -I - "$SOURCE/pyproject.toml" <<'PYTHON'
import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
print("\n".join([*project["dependencies"], *project["optional-dependencies"]["dev"]]))
PYTHON
    )
    TOOLS=$CACHE/tools-$(printf '%s\n' "$python" "$wanted" | sha256sum | cut -c 1-16)
    if [[ ! -f $TOOLS/.complete ]]; then
        printf 'installing the development tools into %s\n' "$TOOLS"
        rm -rf "$CACHE"/tools-*
        "$python" -I -m venv "$TOOLS"
        printf '%s\n' "$wanted" >"$TOOLS/requirements.txt"
        "$TOOLS/bin/pip" install --quiet --disable-pip-version-check -r "$TOOLS/requirements.txt" </dev/null ||
            fail "pip could not install the development tools: see that PyPI can be reached, then run this again"
        touch "$TOOLS/.complete"
    fi
    # Nothing is written into the tree.
    export PYTHONDONTWRITEBYTECODE=1 RUFF_CACHE_DIR=$CACHE/ruff MYPY_CACHE_DIR=$CACHE/mypy
    export HYPOTHESIS_STORAGE_DIRECTORY=$CACHE/hypothesis
}

lint() {
    local scripts
    mapfile -t scripts < <(find install.sh .ci/run packaging tests -type f \( -name '*.sh' -o -path .ci/run \))
    check "ruff check" "$TOOLS/bin/ruff" check
    check "ruff format" "$TOOLS/bin/ruff" format --check
    check "mypy --strict" "$TOOLS/bin/mypy" --strict
    check "generated files of protos/" "$TOOLS/bin/python" protos/generate.py --check
    check "shellcheck" shellcheck -x "${scripts[@]}"
}

# What stands on this machine that a test could have left behind.
snapshot() {
    find /run/netns -mindepth 1 -printf 'network namespace %f\n' 2>/dev/null
    ip -o link show | sed -E 's/^[0-9]+: ([^:@]+).*/link \1/'
    nft list tables | sed 's/^/nftables /'
    find /run/anypod /run/cni /var/lib/cni -maxdepth 1 2>/dev/null
}

# Every process that a test starts carries ANYPOD_TEST_RUN in its environment, or had a parent that did.
left_behind() {
    comm -13 <(echo "$BEFORE") <(snapshot | sort)
    local process
    while read -r process; do
        process=${process%/environ}
        printf 'process %s %s\n' "${process#/proc/}" "$(tr '\0' ' ' <"$process/cmdline")"
    done < <(grep -lsaF "ANYPOD_TEST_RUN=$RUN" /proc/[0-9]*/environ)
}

pytest_in() {
    "$TOOLS/bin/python" -m pytest -o cache_dir="$CACHE/pytest" "$@" </dev/null
}

# What runs beside the rest, each line by itself: thousands of calls that keep the processors busy, and what waits for
# timers and daemons for minutes.
BESIDE=(
    "test_concurrency.py test_crash_*.py test_faults_*.py test_fuzz.py test_model.py test_vm_*.py"
    "test_soak.py test_peers_*.py test_gobgp_fuzz.py test_fib_stale.py"
)
BESIDE_PIDS=()
BESIDE_LOGS=()

pytest_side_by_side() {
    local group pattern names files apart=() index status=0
    for group in "${BESIDE[@]}"; do
        names=()
        for pattern in $group; do
            names+=(-o -name "$pattern")
        done
        mapfile -t files < <(find tests/system \( "${names[@]:1}" \) | sort)
        apart+=("${files[@]/#/--ignore=}")
        BESIDE_LOGS+=("$(mktemp /tmp/anypod-beside-XXXXXX)")
        pytest_in "${files[@]}" >"${BESIDE_LOGS[-1]}" 2>&1 &
        BESIDE_PIDS+=("$!")
    done
    pytest_in "$@" "${apart[@]}" || status=$?
    for index in "${!BESIDE_PIDS[@]}"; do
        wait "${BESIDE_PIDS[index]}" || status=$?
        cat "${BESIDE_LOGS[index]}"
    done
    BESIDE_PIDS=()
    return "$status"
}

run_pytest() {
    RUN=$$-$RANDOM
    export ANYPOD_TEST_RUN=$RUN
    BEFORE=$(snapshot | sort)
    local left status=0
    "$@" || status=$?
    unset ANYPOD_TEST_RUN
    left=$(left_behind)
    if [[ -n $left ]]; then
        printf 'the tests left behind:\n%s\n' "$left"
        status=1
    fi
    return "$status"
}

clean_up() {
    # A run that was ended: its tests take down what they made before they end.
    local process
    for process in "${BESIDE_PIDS[@]}"; do
        kill "$process" 2>/dev/null || true
    done
    for process in "${BESIDE_PIDS[@]}"; do
        wait "$process" || true
    done
    rm -rf "$ANYPOD_PREFIX" "${BESIDE_LOGS[@]}"
}

main() {
    local part=all
    case ${1:-} in
        lint | unit | system)
            part=$1
            shift
            ;;
        -h | --help)
            cat "$SOURCE/tests/README.md"
            return
            ;;
    esac
    [[ $EUID -eq 0 ]] || fail "this needs root, for network namespaces: sudo tests/run.sh"
    cd "$SOURCE"
    ./install.sh --packages "${PACKAGES[@]}"
    # Where systemd runs, its tmpfiles make this folder; FRR's package alone does not.
    [[ -d /run/frr ]] || install -d -o frr -g frr -m 755 /run/frr
    ANYPOD_PREFIX=$(mktemp -d /tmp/anypod-test-XXXXXX)
    chmod 755 "$ANYPOD_PREFIX" # the speaker has a user of its own
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    ./install.sh --prefix "$ANYPOD_PREFIX"
    export ANYPOD_PREFIX
    prepare_tools
    case $part in
        all)
            lint
            if [[ $# -eq 0 ]]; then
                run_pytest pytest_side_by_side tests/unit tests/system || FAILED+=(tests)
            else
                run_pytest pytest_in tests/unit tests/system "$@" || FAILED+=(tests)
            fi
            ;;
        lint) lint ;;
        *) run_pytest pytest_in "tests/$part" "$@" || FAILED+=(tests) ;;
    esac
    if [[ ${#FAILED[@]} -gt 0 ]]; then
        fail "failed: ${FAILED[*]}"
    fi
}

main "$@"
