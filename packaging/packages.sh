# shellcheck shell=bash
# Distribution packages: which are missing, and installing them without a service of theirs being started.

POLICY=/usr/sbin/policy-rc.d
STARTS_DENIED=
POLICY_MARK="# made by anypod's install.sh for the time of one apt-get run"

check_distribution() {
    local id version
    # shellcheck source=/dev/null
    id=$(. /etc/os-release 2>/dev/null && printf '%s' "${ID:-unknown}") || id=unknown
    # shellcheck source=/dev/null
    version=$(. /etc/os-release 2>/dev/null && printf '%s' "${VERSION_ID:-}") || version=
    case $id in
        # Debian's testing and unstable carry no VERSION_ID and are newer than any release that does.
        debian) [[ -z $version || ${version%%.*} -ge 12 ]] && return ;;
        ubuntu) [[ ${version//./} -ge 2204 ]] && return ;;
    esac
    fail "$id $version is not supported: it takes Debian 12 or Ubuntu 22.04, or newer;" \
        "elsewhere install the tools by hand and use --prefix DIR"
}

# What a node needs. A tool that an operator put into PATH counts as well as the package that carries it.
node_packages() {
    command -v gobgpd >/dev/null || echo gobgpd
    command -v ip >/dev/null || echo iproute2
    command -v nft >/dev/null || echo nftables
    if [[ -z $(find_python) ]]; then
        # Ubuntu 22.04's python3 is 3.10; 3.11 is beside it.
        if grep -qsx 'VERSION_ID="22\..*"' /etc/os-release; then
            printf '%s\n' python3.11 python3.11-venv
        else
            printf '%s\n' python3 python3-venv
        fi
    fi
}

is_installed() {
    [[ $(dpkg-query -W -f='${db:Status-Abbrev}' "$1" 2>/dev/null) == ii* ]]
}

# install_packages [PACKAGE...]: what a node needs and those named.
install_packages() {
    local wanted=() package
    lock "${POLICY%/*}" # two runs would restore each other's policy
    restore_policy      # of a run that was killed
    mapfile -t wanted < <(node_packages)
    for package in "$@"; do
        is_installed "$package" || wanted+=("$package")
    done
    if [[ ${#wanted[@]} -gt 0 ]]; then
        install_missing "${wanted[@]}"
    fi
    unlock
    check_gobgpd
}

install_missing() {
    local wanted=("$@") before after output
    say "installing packages: ${wanted[*]}"
    before=$(installed_names)
    deny_service_starts
    output=$(apt update 2>&1) || say "apt-get update failed, trying with the lists there are: $(reason <<<"$output")"
    output=$(apt install --no-install-recommends --yes "${wanted[@]}" 2>&1) ||
        fail "apt-get could not install ${wanted[*]}: $(reason <<<"$output");" \
            "see that 'apt-get update' and 'apt-get install ${wanted[*]}' work, then run this again"
    restore_policy
    after=$(installed_names)
    # A package enables its units for the next boot too. Those of packages that were there before stay as they are.
    if command -v systemctl >/dev/null; then
        comm -13 <(echo "$before") <(echo "$after") | disable_units
    fi
}

apt() {
    # No question may wait for an answer, no running service be restarted (needrestart), and a lock only waited for.
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C.UTF-8 \
        apt-get --quiet -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" </dev/null
}

reason() {
    sed -n -e '/^E: /{s/^E: //p;q}' -e '$p'
}

installed_names() {
    dpkg-query -W -f='${db:Status-Abbrev} ${binary:Package}\n' | sed -n 's/^ii *//p' | sort
}

# invoke-rc.d and deb-systemd-invoke ask this file before they start anything; 101 means "not allowed".
deny_service_starts() {
    STARTS_DENIED=1
    if [[ -e $POLICY || -L $POLICY ]]; then
        mv -f "$POLICY" "$POLICY.before-anypod"
    fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY.anypod-new"
    chmod 755 "$POLICY.anypod-new"
    mv -f "$POLICY.anypod-new" "$POLICY"
}

restore_policy() {
    if grep -qsF "$POLICY_MARK" "$POLICY"; then
        rm -f "$POLICY"
    fi
    if [[ -e $POLICY.before-anypod || -L $POLICY.before-anypod ]]; then
        mv -f "$POLICY.before-anypod" "$POLICY"
    fi
    rm -f "$POLICY.anypod-new"
    STARTS_DENIED=
}

# For a run that ends before its time.
allow_service_starts() {
    [[ -z $STARTS_DENIED ]] || restore_policy
}

disable_units() {
    local package unit now=
    if systemd_is_booted; then
        now=--now
    fi
    while read -r package; do
        while read -r unit; do
            systemctl --quiet disable ${now:+--now} "${unit##*/}" 2>/dev/null ||
                say "could not disable ${unit##*/} of $package: see 'systemctl status ${unit##*/}'"
        done < <(dpkg -L "$package" | grep -E '/systemd/system/[^/@]+\.(service|socket|timer|path)$')
    done
}

# Version 3 of GoBGP's API is the oldest that the speaker talks.
check_gobgpd() {
    local version
    version=$(gobgpd --version 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1) || version=
    if [[ -n $version && ${version%%.*} -lt 3 ]]; then
        say "gobgpd $version is older than 3.0, the speaker cannot steer it: put a newer gobgpd into /usr/local/bin"
    fi
}
