# shellcheck shell=bash
# What tests/run.sh and bench/run.sh have in common: this tree installed to a folder of its own, and the tools of those
# who develop it. Who sources this has set SOURCE and has a function fail.

CACHE=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/anypod

# prepare [PACKAGE...]: the packages of the distribution, ANYPOD_PREFIX, TOOLS. The caller removes ANYPOD_PREFIX.
prepare() {
    "$SOURCE/install.sh" --packages "$@"
    # Where systemd runs, its tmpfiles make this folder; FRR's package alone does not.
    [[ -d /run/frr ]] || install -d -o frr -g frr -m 755 /run/frr
    ANYPOD_PREFIX=$(mktemp -d /tmp/anypod-run-XXXXXX)
    export ANYPOD_PREFIX
    chmod 755 "$ANYPOD_PREFIX" # the speaker has a user of its own
    "$SOURCE/install.sh" --prefix "$ANYPOD_PREFIX"
    prepare_tools
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
