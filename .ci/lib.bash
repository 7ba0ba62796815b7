# Shared by the scripts of this directory: how a step is shown, and how it fails.
# shellcheck shell=bash

# Debian keeps nginx and nft where a person's PATH does not look.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
LOGS=.cache/setup

# Nobody's home directory is written to, unless its owner has said so.
export PIP_CACHE_DIR=${PIP_CACHE_DIR:-$PWD/.cache/pip}
export UV_CACHE_DIR=${UV_CACHE_DIR:-$PWD/.cache/uv}
export npm_config_cache=${npm_config_cache:-$PWD/.cache/npm}
export NODE_DISABLE_COMPILE_CACHE=1

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

# step NAME WHAT COMMAND...: one line on the terminal, all output in a file; a failure shows the end of it.
step() {
    local name=$1 what=$2 started=$SECONDS
    shift 2
    mkdir -p "$LOGS"
    printf 'set-up: %s ...' "$what"
    if "$@" >"$LOGS/$name.log" 2>&1 </dev/null; then
        printf ' done (%ss)\n' "$((SECONDS - started))"
        return
    fi
    printf ' failed\n'
    tail -n 25 "$LOGS/$name.log" | sed 's/^/    /' >&2
    die "set-up: '$what' failed. The command was:" "    $*" \
        "Its whole output is in $LOGS/$name.log. Mend that (are the package registries reachable?) and run the same make again."
}
