# What a file manager does by GIO: looks, copies out and in, renames, moves, and has no trash.
export GVFS_DISABLE_FUSE=1 XDG_DATA_HOME="$LOCAL/share"
gio() { timeout 30 dbus-run-session -- gio "$@" 2>"$LOCAL/complaint"; }

noise 30011 >"$LOCAL/log.bin"
gio copy "$LOCAL/log.bin" log.bin
agree log.bin
touch -d '2024-05-06 07:08:09' log.bin
equals "$(gio list -l | tr '\t' ' ')" "log.bin 30011 (regular)"
gio info log.bin >"$LOCAL/info"
grep -q 'size:  30011' "$LOCAL/info"
grep -q "time::modified: $(stat -c %Y log.bin)" "$LOCAL/info"
gio copy log.bin "$LOCAL/out.bin"
cmp "$LOCAL/log.bin" "$LOCAL/out.bin"
gio rename log.bin renamed.bin >"$LOCAL/answer"
gio mkdir folder
gio move renamed.bin folder/
gio copy folder/renamed.bin again.bin
cmp "$LOCAL/log.bin" "$FAR/folder/renamed.bin"
cmp "$LOCAL/log.bin" "$FAR/again.bin"
# There is no trash on a vehicle, and none is made.
if gio trash again.bin; then fail "there is a trash"; fi
grep -qi trash "$LOCAL/complaint"
agree again.bin
gio remove again.bin
equals "$(ls -A "$FAR")" folder
