# shellcheck shell=bash
# Releases: one virtual environment for each state of the source, made beside the one in use and then switched to.
# RELEASES, PREFIX, SOURCE, COMPLETION and the functions say and fail come from install.sh.

MADE_BY="# Written by anypod's install.sh; it is replaced by every upgrade."
NEEDED_KB=102400 # three times a release: pip unpacks beside it

# Prints the newest interpreter of the distribution that is new enough and can make virtual environments.
# Only /usr/bin: an interpreter in a home directory may be gone or out of reach when a runtime starts the plugin.
find_python() {
    local candidate newest=
    while read -r candidate; do
        if "$candidate" -I -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            newest=$candidate
        fi
    done < <(find /usr/bin -maxdepth 1 -name 'python3.[0-9]*' -regex '.*/python3\.[0-9]+' | sort -V)
    [[ -z $newest ]] || realpath "$newest"
}

# A name for what would be installed: the same source and interpreter give the same release.
release_id() {
    {
        "$1" -I -c 'import sys; print(sys.executable, sys.version_info[:3])'
        cd "$SOURCE" || exit
        find cni speaker protos lab pyproject.toml packaging/release.sh packaging/image.py \
            -type d -name __pycache__ -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
    } | sha256sum | cut -c 1-16
}

# The marker is written last and holds the place, so that a half-made or a moved release is not taken for a whole one.
is_complete() {
    [[ -f $1/.complete && $(<"$1/.complete") == "$1" ]]
}

# build_release DIRECTORY PYTHON
build_release() {
    local release=$1 python=$2 log=$1/install.log free
    rm -rf "$release"
    free=$(df --output=avail -k "$RELEASES" | tail -n 1)
    [[ $free -ge $NEEDED_KB ]] || fail "$((free / 1024)) MB are free below $RELEASES, $((NEEDED_KB / 1024)) MB are" \
        "needed: make room, then run this again"
    mkdir -p "$release/tmp"
    UNFINISHED+=("$release")
    say "installing anypod and the Python packages it needs into $release"
    "$python" -I -m venv "$release" >"$log" 2>&1 ||
        fail "$python cannot make a virtual environment: $(tail -n 1 "$log"); install the package ${python##*/}-venv"
    # -I shuts out PYTHONPATH and the user's site-packages; pip's own settings (PIP_*, pip.conf) still count.
    TMPDIR=$release/tmp "$release/bin/python" -I -m pip install --no-cache-dir --no-compile --no-input \
        --disable-pip-version-check "$SOURCE" >"$log" 2>&1 </dev/null || fail "$(pip_reason "$log")"
    # A release is never changed, only replaced: nothing in it may call pip.
    "$release/bin/python" -I -m pip uninstall --yes --quiet setuptools pip >"$log" 2>&1 || true
    # unchecked-hash: the plugin starts without asking the kernel for the age of a single source file.
    "$release/bin/python" -I -m compileall -q -j 0 --invalidation-mode unchecked-hash "$release/lib" >"$log" 2>&1 ||
        fail "a module of the release does not compile: $(tail -n 1 "$log")"
    "$release/bin/python" -I "$SOURCE/packaging/image.py" "$(site_of "$release")" "$release/image" \
        >"$log" 2>&1 || fail "the plugin's image can't be made: $(tail -n 1 "$log")"
    link_interpreter "$release/image" "$python"
    launcher_text "$release" "$python" >"$release/launcher"
    chmod 755 "$release/launcher"
    # Without it the shell completes file names; that is no reason to install nothing.
    _ANYPOD_COMPLETE=bash_source "$release/bin/anypod" >"$release/completion.bash" 2>"$log" ||
        rm -f "$release/completion.bash"
    try_release "$release"
    rm -rf "$release/tmp" "$log"
    printf '%s\n' "$release" >"$release/.complete"
}

pip_reason() {
    if grep -qsE 'No space left' "$1"; then
        echo "no space left below $RELEASES: make room there and run this again"
    elif grep -qs CERTIFICATE_VERIFY_FAILED "$1"; then
        echo "pip does not trust the certificate of the package index: set PIP_CERT to the file of its CA, then run" \
            "this again"
    elif grep -qsE 'NewConnectionError|ConnectTimeout|ReadTimeout|ProxyError|No matching distribution' "$1"; then
        echo "pip does not get the Python packages: see that this machine reaches PyPI, or that PIP_INDEX_URL or" \
            "pip.conf names an index that it reaches, then run this again"
    else
        echo "pip could not install anypod: $(grep -m 1 '^ERROR: ' "$1" || tail -n 1 "$1")"
    fi
}

site_of() { "$1/bin/python" -I -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# The distribution's interpreter by a link that a file `._pth` stands beside, which says where modules are (Python's
# documentation, "The initialization of the sys.path module search path"). So it finds cni/utf8.py as `encodings`.
link_interpreter() {
    ln -s "$2" "$1/python"
    "$2" -IS -c 'import os, sys; print(".", *filter(os.path.isdir, sys.path), sep="\n")' >"$1/python._pth"
}

# The smallest thing that starts the plugin: the distribution's interpreter, alone (-I) and without site (-S). It runs
# the image of the release, see cni/image.py, and imports what that does not give. This text is compiled for each call.
launcher_text() {
    local interpreter=$1/image/python
    # The kernel takes the interpreter's path as far as a space, and of the first line 255 bytes.
    [[ ! $interpreter =~ [[:space:]] && ${#interpreter} -le 240 ]] || interpreter=$2
    cat <<LAUNCHER
#!$interpreter -IS
$MADE_BY
import _imp, marshal, posix, sys
sys.path.insert(0, $(quoted "$(site_of "$1")"))
try: file = posix.open($(quoted "$1/image/start"), 0); data = posix.read(file, 1 << 20); posix.close(file)
except OSError: data = b""
if _imp.source_hash(sys.hexversion >> 16, data[8:]) == data[:8]: exec(marshal.loads(data[8:]))
from cni.main import main
main()
LAUNCHER
}

# As a string of Python.
quoted() { "$python" -I -c 'import sys; print(repr(sys.argv[1]))' "$1"; }

# A release that does not run is never switched to.
try_release() {
    local answer
    answer=$(env -i PATH="$PATH" CNI_COMMAND=VERSION "$1/launcher" <<<'{"cniVersion": "1.0.0"}' 2>&1) || true
    [[ $answer == *supportedVersions* ]] || fail "the new plugin does not answer VERSION: ${answer##*$'\n'}"
    answer=$("$1/bin/anypod" --version 2>&1) || fail "the new anypod command does not start: ${answer##*$'\n'}"
}

# Switching is renaming: at every moment the plugin that a runtime starts is wholly the old or wholly the new one.
switch_to() {
    local release=$1 running=
    [[ -L $ANYPOD_HOME/current ]] && running=$(readlink "$ANYPOD_HOME/current")
    if [[ $running != "$release" ]]; then
        [[ -z $running ]] || link "$running" "$ANYPOD_HOME/previous"
        link "$release" "$ANYPOD_HOME/current"
    fi
    if ! cmp -s "$release/launcher" "$PLUGIN"; then
        cp "$release/launcher" "$PLUGIN.anypod-new"
        mv -f "$PLUGIN.anypod-new" "$PLUGIN"
    fi
    link "$ANYPOD_HOME/current/bin/anypod" "$COMMAND"
    if [[ ! -e $COMPLETION && ! -L $COMPLETION ]] || is_our_completion; then
        link "$ANYPOD_HOME/current/completion.bash" "$COMPLETION"
    fi
}

link() {
    if [[ -L $2 && $(readlink "$2") == "$1" ]]; then
        return
    fi
    ln -sfn "$1" "$2.anypod-new"
    mv -fT "$2.anypod-new" "$2"
}

# The release before the current one stays for calls that are under way, and any other that a process still runs from.
prune_releases() {
    local release pointer keep
    for release in "$RELEASES"/*/; do
        release=${release%/}
        keep=
        for pointer in current previous; do
            [[ $(readlink "$ANYPOD_HOME/$pointer") == "$release" ]] && keep=1
        done
        if [[ -z $keep ]] && ! is_in_use "$release"; then
            rm -rf "$release"
        fi
    done
}

is_in_use() {
    grep -qsaF "$1/" /proc/[0-9]*/cmdline
}
