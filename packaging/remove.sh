# shellcheck shell=bash
# Removing: whether pods are in the way, and then the node's state, units, files, and the user, in this order.
# What is whose comes from files.sh; PREFIX, SOURCE, FORCE and the functions say and fail from install.sh.

RUN_DIR=/run/anypod

# node_state users PREFIX | clear: packaging/node.py on this tree. Nothing is written into the tree.
node_state() {
    PYTHONPATH=$SOURCE "$(find_python)" -B -s -P "$SOURCE/packaging/node.py" "$@"
}

# Pods outlive the plugin's files, but not the next call of their runtime, nor the routes that lead to them.
refuse_while_in_use() {
    local reason
    if [[ -z $(find_python) ]]; then
        fail "whether pods are attached can't be found out without Python 3.11 in /usr/bin: install python3," \
            "or go on with --uninstall --force"
    fi
    reason=$(node_state users "${PREFIX:-/}" 2>&1) || reason="whether pods are attached can't be found out:\
 ${reason##*$'\n'}; --uninstall --force goes on all the same"
    [[ -z $reason ]] || fail "$reason"
}

is_anything_here() {
    [[ -d $ANYPOD_HOME || -d $PREFIX$RUN_DIR ]] || is_our_plugin || is_our_command || is_our_completion ||
        { [[ -z $PREFIX ]] && { compgen -G "$UNITS/anypod-*.service" || getent passwd "$SPEAKER_GROUP"; } >/dev/null; }
}

uninstall_anypod() {
    if ! is_anything_here; then
        say "nothing of anypod is installed below ${PREFIX:-/}"
        return
    fi
    [[ -n $FORCE ]] || refuse_while_in_use
    if [[ -d $ANYPOD_HOME ]]; then
        lock "$ANYPOD_HOME"
    fi
    ! is_our_plugin || rm -f "$PLUGIN"
    if [[ -z $PREFIX ]]; then
        remove_units
        clear_node
    fi
    rm -rf "$PREFIX$RUN_DIR"
    ! is_our_command || rm -f "$COMMAND"
    ! is_our_completion || rm -f "$COMPLETION"
    rm -f "$PLUGIN.anypod-new" "$COMMAND.anypod-new" "$COMPLETION.anypod-new"
    remove_examples
    if [[ -z $PREFIX ]]; then
        remove_user
        name_what_operators_made
    fi
    remove_home
    say "removed from ${PREFIX:-/}"
}

remove_units() {
    local unit found=
    # The end of the speaker starts the dead man's switch: it is stopped last.
    for unit in anypod-drain anypod-speaker anypod-gobgpd anypod-dead-man; do
        [[ -f $UNITS/$unit.service ]] || continue
        if systemd_is_booted; then
            systemctl --quiet disable "$unit.service" 2>/dev/null || true
            systemctl stop "$unit.service" || say "$unit.service did not stop: see 'systemctl status $unit'"
        fi
        rm -f "$UNITS/$unit.service"
        found=1
    done
    rm -f /etc/systemd/system/*.wants/anypod-{drain,speaker,gobgpd}.service "$SYSUSERS" "$TMPFILES"
    if [[ -n $found ]] && systemd_is_booted; then
        systemctl daemon-reload
        systemctl reset-failed 'anypod-*' 2>/dev/null || true
    fi
}

# Links of pods, bridges, tables of nftables, routes and next hops of the speaker: behind the speaker, which would put
# them back, and before the state file, which knows the bridges' names.
clear_node() {
    local line
    if [[ -n $(find_python) ]]; then
        while read -r line; do
            say "$line"
        done < <(node_state clear 2>&1 | tail -n 20)
    else
        say "bridges, routes and tables stay until the next boot: there is no Python 3.11 to find them with"
    fi
}

remove_examples() {
    local target
    while read -r target; do
        if is_our_example "$target"; then
            rm -f "$target"
        elif [[ -e $target ]]; then
            say "kept, because it was edited: $target"
        fi
    done < <(sed 's/^[^ ]*  //' "$ANYPOD_HOME/examples" 2>/dev/null | sort -u)
}

# What is left of configuration is root's then, and read by nobody of the same number who comes later.
remove_user() {
    getent passwd "$SPEAKER_GROUP" >/dev/null || return 0
    [[ ! -d ${CONFIG%/*} ]] || find "${CONFIG%/*}" -xdev -group "$SPEAKER_GROUP" -exec chgrp -h root {} +
    if ! userdel "$SPEAKER_GROUP" 2>/dev/null; then
        say "the user $SPEAKER_GROUP stays, a process of it still runs: end it, then userdel $SPEAKER_GROUP"
    fi
    groupdel "$SPEAKER_GROUP" 2>/dev/null || true # where userdel leaves it
}

name_what_operators_made() {
    local path
    for path in /etc/systemd/system/anypod-*.service{,.d} /etc/systemd/system.control/anypod-*.d; do
        [[ ! -e $path ]] || say "kept, because it is not from this script: $path"
    done
    for path in "${CONFLIST%/*}"/*; do
        if [[ -f $path && $path =~ \.(conf|conflist|json)$ ]] && grep -qs '"type": *"anypod"' "$path"; then
            say "kept, though no pod can be attached by it any more: $path"
        fi
    done
}

remove_home() {
    local directory directories=()
    [[ -f $ANYPOD_HOME/directories ]] && mapfile -t directories < <(sort -ru "$ANYPOD_HOME/directories")
    if is_in_use "$RELEASES"; then
        say "a process still runs from $RELEASES: stop it, it does not find its files any more"
    fi
    rm -rf "$ANYPOD_HOME"
    for directory in "${directories[@]}"; do
        rmdir --ignore-fail-on-non-empty -- "$directory" 2>/dev/null || true
    done
}
