#!/usr/bin/env bash
# Installs, upgrades and removes anypod; docs/install.md says what goes where and why.
set -euo pipefail
umask 022

SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
# shellcheck source=packaging/packages.sh
. "$SOURCE/packaging/packages.sh"
# shellcheck source=packaging/release.sh
. "$SOURCE/packaging/release.sh"
# shellcheck source=packaging/files.sh
. "$SOURCE/packaging/files.sh"
# shellcheck source=packaging/remove.sh
. "$SOURCE/packaging/remove.sh"

usage() {
    cat <<'USAGE'
usage: install.sh [--prefix DIR] [--demo | --uninstall [--force]]
       install.sh --packages [PACKAGE...]

Without options, as root: installs what a node needs from the distribution, anypod below /opt/anypod, the CNI plugin
/opt/cni/bin/anypod, the command /usr/local/bin/anypod, systemd units, and examples of configuration. Run again, it
upgrades.

  --prefix DIR   everything below DIR and nothing outside it: no packages, no units; root is not needed
  --demo         install, then run 'anypod lab demo'
  --uninstall    remove what this script and the plugin made, unless pods or a runtime's configuration use it; files
                 that were edited stay and are named
  --force        with --uninstall: even so; pods that are attached lose their interfaces
  --packages     only the packages of the distribution that a node needs, and those named; no service is started

  sudo ./install.sh && sudo systemctl restart anypod-speaker    an upgrade, also while pods run

Exit status: 0 done; 1 it could not be done, one line says why and what to do; 2 a mistake in the call.
USAGE
}

say() { printf 'anypod: %s\n' "$*"; }

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

wrong_usage() {
    printf 'install.sh: %s; see install.sh --help\n' "$*" >&2
    exit 2
}

systemd_is_booted() { [[ -d /run/systemd/system ]]; }

# What a run must not leave behind, however it ends.
UNFINISHED=()
clean_up() {
    local release
    allow_service_starts
    for release in "${UNFINISHED[@]}"; do
        is_complete "$release" || rm -rf "$release"
    done
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

set_places() {
    PREFIX=$1
    ANYPOD_HOME=$PREFIX/opt/anypod
    RELEASES=$ANYPOD_HOME/releases
    PLUGIN=$PREFIX/opt/cni/bin/anypod
    COMMAND=$PREFIX/usr/local/bin/anypod
    COMPLETION=$PREFIX/usr/local/share/bash-completion/completions/anypod
    CONFIG=$PREFIX/etc/anypod/speaker.toml
    CONFLIST=$PREFIX/etc/cni/net.d/10-anypod.conflist.example
}

install_anypod() {
    local python release
    refuse_foreign_files
    if [[ -z $PREFIX ]]; then
        check_distribution
        install_packages
    fi
    python=$(find_python)
    [[ -n $python ]] || fail "no Python 3.11 or newer with venv in /usr/bin: install python3 and python3-venv"
    make_directory "$RELEASES"
    lock "$ANYPOD_HOME"
    release=$RELEASES/$(release_id "$python")
    if ! is_complete "$release"; then
        build_release "$release" "$python"
    fi
    make_directory "${PLUGIN%/*}"
    make_directory "${COMMAND%/*}"
    make_directory "${COMPLETION%/*}"
    switch_to "$release"
    prune_releases
    place_example "$SOURCE/examples/speaker.toml" "$CONFIG" 600
    place_example "$SOURCE/examples/netconf/10-anypod.conflist" "$CONFLIST" 644
    if [[ -z $PREFIX ]]; then
        install_units
    fi
    unlock
    say "$("$COMMAND" --version) is installed: $PLUGIN and $COMMAND"
}

next_steps() {
    local tool
    if [[ -n $PREFIX ]]; then
        for tool in gobgpd ip nft; do
            command -v "$tool" >/dev/null || say "needed when it runs, and not found here: $tool"
        done
        return
    fi
    if is_our_example "$CONFIG"; then
        say "next: say in $CONFIG who this node is: AS, router id, peers, pod subnets"
    fi
    if systemd_is_booted && ! systemctl --quiet is-enabled anypod-speaker 2>/dev/null; then
        say "next: systemctl enable --now anypod-gobgpd anypod-speaker"
    fi
    if [[ ! -e ${CONFLIST%.example} ]]; then
        say "next: copy $CONFLIST to ${CONFLIST%.example} and set this node's subnet in it"
    fi
}

main() {
    local action=install prefix=
    FORCE=
    while [[ $# -gt 0 ]]; do
        case $1 in
            --prefix)
                [[ -n ${2:-} && $2 != --* ]] || wrong_usage "--prefix needs a folder"
                prefix=$(realpath -m -- "$2")
                [[ $prefix != / ]] || wrong_usage "--prefix / is what no --prefix means"
                shift
                ;;
            --demo | --uninstall)
                [[ $action == install ]] || wrong_usage "--demo and --uninstall exclude each other"
                action=${1#--}
                ;;
            --force) FORCE=1 ;;
            --packages)
                shift
                require_root
                check_distribution
                install_packages "$@"
                return
                ;;
            -h | --help)
                usage
                return
                ;;
            *) wrong_usage "unknown option $1" ;;
        esac
        shift
    done
    [[ -z $FORCE || $action == uninstall ]] || wrong_usage "--force goes with --uninstall"
    [[ -n $prefix ]] || require_root
    set_places "$prefix"
    if [[ $action == uninstall ]]; then
        uninstall_anypod
        return
    fi
    install_anypod
    if [[ $action == demo ]]; then
        clean_up # exec does not run the trap
        exec "$COMMAND" lab demo
    fi
    next_steps
}

require_root() {
    [[ $EUID -eq 0 ]] || fail "this needs root: run it with sudo, or with --prefix DIR to install below DIR"
}

main "$@"
