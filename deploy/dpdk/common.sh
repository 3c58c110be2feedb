# shellcheck shell=sh
# Functions that the scripts of this folder share: write a setting or print it in a dry run, and save the previous value for undo.
#
# HIOLOAD_ROOT   the folder that has sys and proc (for tests); default: the root
# HIOLOAD_STATE  the folder for the saved values; default /var/lib/hioload/dpdk

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

# run COMMAND...: runs the command, or prints it in a dry run.
run() {
    if [ -n "$DRY_RUN" ]; then
        echo "would run: $*"
    else
        "$@"
    fi
}

# put VALUE FILE: writes a setting, unless the file already has that value.
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

# save GROUP KEY VALUE: saves a value, unless GROUP already has one for KEY: a command that runs twice must not overwrite the value
# from before its first run. Keys are paths or addresses; in the file name a slash becomes a '!'.
save() {
    saved=$STATE/$1/$(printf '%s' "$2" | tr / !)
    [ ! -e "$saved" ] || return 0
    if [ -n "$DRY_RUN" ]; then
        echo "would save '$3' for $2"
    else
        mkdir -p "$STATE/$1"
        printf '%s\n' "$3" >"$saved"
    fi
}

# saved_keys GROUP: prints the keys in GROUP, one a line.
saved_keys() {
    [ -d "$STATE/$1" ] || return 0
    for entry in "$STATE/$1"/*; do
        [ -e "$entry" ] || continue
        basename "$entry" | tr ! /
    done
}

# saved GROUP KEY: prints the value.
saved() {
    cat "$STATE/$1/$(printf '%s' "$2" | tr / !)"
}

# forget GROUP KEY: deletes the value.
forget() {
    run rm -f "$STATE/$1/$(printf '%s' "$2" | tr / !)"
}

# Exits without root privileges, unless this is a dry run or HIOLOAD_ROOT is set.
need_root() {
    if [ -z "$DRY_RUN" ] && [ -z "$ROOT" ] && [ "$(id -u)" -ne 0 ]; then
        die "this needs root; --dry-run does not"
    fi
}
