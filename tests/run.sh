#!/usr/bin/env bash
# Installs what the tests need, then runs everything that checks this project; tests/README.md.
set -euo pipefail
umask 022

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Beyond what a node needs: other routers, runtimes and plugins, and what a test is made with.
PACKAGES=(
    frr bird2 exabgp containernetworking-plugins containerd runc podman dnsmasq-base iptables
    iputils-ping procps strace gcc libc6-dev qemu-system-x86 shellcheck debootstrap systemd-container prometheus
    chromium ipset ipvsadm python3-yaml
)
FAILED=()

fail() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    exit 1
}

# shellcheck source=packaging/tools.sh
. "$SOURCE/packaging/tools.sh"

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

lint() {
    local scripts
    mapfile -t scripts < <(find install.sh .ci/run packaging tests bench -type f \( -name '*.sh' -o -path .ci/run \))
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
    rm -rf "${ANYPOD_PREFIX:-}" "${BESIDE_LOGS[@]}"
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
    unset ANYPOD_PREFIX # an installation that somebody else made is not ours to remove
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    prepare "${PACKAGES[@]}"
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
