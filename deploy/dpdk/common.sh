# shellcheck shell=sh
# What the scripts beside this one share: writing with a dry run, and remembering what was there for the undo.
#
# HIOLOAD_ROOT   looks for /sys and /proc below this folder (tests)
# HIOLOAD_STATE  keeps what was there before in this folder; default /var/lib/hioload/dpdk

set -eu

ROOT=${HIOLOAD_ROOT:-}
STATE=${HIOLOAD_STATE:-/var/lib/hioload/dpdk}
NAME=$(basename "$0")
DRY_RUN=

say() {
    echo "$NAME: $*"
}

die() {
    echo "$NAME: $*" >&2
    exit 1
}

# run COMMAND...: carries it out, or says so.
run() {
    if [ -n "$DRY_RUN" ]; then
        echo "would run: $*"
    else
        "$@"
    fi
}

# put VALUE FILE: writes a setting, unless it has that value already.
put() {
    if [ -r "$2" ] && [ "$(cat "$2" 2>/dev/null)" = "$1" ]; then
        return 0
    fi
    if [ -n "$DRY_RUN" ]; then
        echo "would write '$1' to $2"
    else
        printf '%s\n' "$1" >"$2"
    fi
}

# save KIND KEY VALUE: remembers a value under KIND, the first one only: doing a thing twice must not forget what was there
# before the first time. Keys are paths or addresses; a slash becomes a '!'.
save() {
    saved=$STATE/$1/$(printf '%s' "$2" | tr / !)
    [ ! -e "$saved" ] || return 0
    if [ -n "$DRY_RUN" ]; then
        echo "would remember '$3' for $2"
    else
        mkdir -p "$STATE/$1"
        printf '%s\n' "$3" >"$saved"
    fi
}

# saved_keys KIND: what is remembered under KIND, one a line.
saved_keys() {
    [ -d "$STATE/$1" ] || return 0
    for entry in "$STATE/$1"/*; do
        [ -e "$entry" ] || continue
        basename "$entry" | tr ! /
    done
}

# saved KIND KEY
saved() {
    cat "$STATE/$1/$(printf '%s' "$2" | tr / !)"
}

# forget KIND KEY
forget() {
    run rm -f "$STATE/$1/$(printf '%s' "$2" | tr / !)"
}

# Writing to another root needs no privileges.
need_root() {
    if [ -z "$DRY_RUN" ] && [ -z "$ROOT" ] && [ "$(id -u)" -ne 0 ]; then
        die "needs root (or --dry-run)"
    fi
}
