# shellcheck shell=bash
# Files outside of the releases: whose they are, examples of configuration, units; remove.sh removes them again.
# What was made is written down in ANYPOD_HOME: "directories" (one a line) and "examples" (as sha256sum prints them).

UNIT_SOURCE=$SOURCE/examples/systemd
UNITS=/usr/local/lib/systemd/system # the vendor's place: an operator's own units and drop-ins are in /etc and win
SYSUSERS=/usr/local/lib/sysusers.d/anypod.conf
TMPFILES=/usr/local/lib/tmpfiles.d/anypod.conf
SPEAKER_GROUP=anypod # speaker and gobgpd run as a user of this name, see sysusers.conf

is_our_plugin() { grep -qsxF "$MADE_BY" "$PLUGIN"; }

is_our_command() { [[ -L $COMMAND && $(readlink "$COMMAND") == "$ANYPOD_HOME/current/bin/anypod" ]]; }

is_our_completion() { [[ -L $COMPLETION && $(readlink "$COMPLETION") == "$ANYPOD_HOME/current/completion.bash" ]]; }

refuse_foreign_files() {
    if [[ -e $PLUGIN ]] && ! is_our_plugin; then
        fail "$PLUGIN exists and is not from this script: move it away, then run this again"
    fi
    if [[ -e $COMMAND || -L $COMMAND ]] && ! is_our_command; then
        fail "$COMMAND exists and is not from this script: move it away, then run this again"
    fi
}

# The lock is on the folder itself, so that nothing is left of it.
lock() {
    exec 9<"$1"
    flock --timeout 600 9 || fail "another install.sh has been at work in $1 for ten minutes: see what it waits for"
}

unlock() { exec 9<&-; }

make_directory() {
    local directory=$1 made=()
    while [[ ! -d $directory ]]; do
        made=("$directory" "${made[@]}")
        directory=$(dirname "$directory")
    done
    if [[ ${#made[@]} -gt 0 ]]; then
        mkdir -p -- "$1" 2>/dev/null || fail "cannot make $1: see that $directory is a folder you may write to"
        printf '%s\n' "${made[@]}" >>"$ANYPOD_HOME/directories"
    fi
}

is_our_example() {
    [[ -f $1 ]] && grep -qsxF "$(sha256sum "$1")" "$ANYPOD_HOME/examples"
}

# place_example EXAMPLE TARGET MODE: a file that an operator made or edited is never touched.
place_example() {
    local example=$1 target=$2 mode=$3
    if [[ -e $target || -L $target ]] && ! is_our_example "$target"; then
        return
    fi
    if cmp -s "$example" "$target"; then
        return
    fi
    make_directory "$(dirname "$target")"
    install -m "$mode" "$example" "$target.anypod-new"
    mv -f "$target.anypod-new" "$target"
    sha256sum "$target" >>"$ANYPOD_HOME/examples"
}

install_units() {
    if ! systemd_is_booted; then
        say "no systemd runs here: units are not installed; start gobgpd and 'anypod speaker run' as this system does"
        return
    fi
    local unit changed=
    place_file "$UNIT_SOURCE/sysusers.conf" "$SYSUSERS"
    place_file "$UNIT_SOURCE/tmpfiles.conf" "$TMPFILES"
    systemd-sysusers anypod.conf
    systemd-tmpfiles --create anypod.conf
    for unit in "$UNIT_SOURCE"/*.service; do
        place_file "$unit" "$UNITS/${unit##*/}"
        [[ -z $PLACED ]] || changed=1
    done
    [[ -z $changed ]] || systemctl daemon-reload
    give_speaker_its_files
    if systemctl --quiet is-active anypod-speaker; then
        say "anypod-speaker runs on with the release it was started from, until: systemctl restart anypod-speaker"
    fi
}

# place_file SOURCE TARGET: PLACED says whether something changed.
place_file() {
    PLACED=
    if cmp -s "$1" "$2"; then
        return
    fi
    make_directory "${2%/*}"
    install -m 644 "$1" "$2"
    PLACED=1
}

# Its configuration may hold what is nobody else's business: root writes it, the speaker reads it.
give_speaker_its_files() {
    local file
    for file in "$CONFIG" "${CONFIG%/*}/cluster.toml"; do
        if [[ -f $file && $(stat -c %G "$file") == root ]]; then
            chgrp "$SPEAKER_GROUP" "$file"
            chmod g+r "$file"
        fi
    done
}
