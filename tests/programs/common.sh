# What the scripts beside this one share. Each works in a directory of its own of a mount, which
# $FAR is on the served side; $LOCAL is a local directory, and $FILES how many small files a link
# of this kind is given. A command that fails ends the script; the test then compares every byte.

# noise BYTES: bytes without a pattern.
noise() { head -c "$1" /dev/urandom; }

# tree DIRECTORY: directories and files, empty ones among them.
tree() {
    mkdir -p "$1/a/b/c" "$1/empty" "$1/with space"
    : >"$1/nothing"
    noise 1 >"$1/a/one"
    noise 239 >"$1/a/b/packet"
    noise 4097 >"$1/a/b/c/page"
    noise 70001 >"$1/log"
    noise 600 >"$1/with space/größe"
}

# agree FILE…: the same bytes through the mount and on the far side.
agree() { for file; do cmp "$file" "$FAR/$file"; done; }

# equals VALUE EXPECTED
equals() { [ "$1" = "$2" ] || fail "expected: $2; got: $1"; }

# refused REASON COMMAND…: it fails, and says why.
refused() {
    reason=$1
    shift
    if complaint=$("$@" 2>&1); then fail "$*: succeeded"; fi
    case $complaint in *"$reason"*) ;; *) fail "$*: expected $reason; got: $complaint" ;; esac
}

fail() {
    echo "$*" >&2
    exit 1
}

# keys PROGRAM…: types lines of the form `SECONDS TEXT` (printf's escapes) at a program's terminal.
keys() { python3 "$SCRIPTS/keys.py" "$@"; }
