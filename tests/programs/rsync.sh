# Plain, in place and appending; what is there already is not sent again.
moved() { sed -n 's/^Number of regular files transferred: //p' "$LOCAL/stats"; }
literal() { sed -n 's/^Literal data: \([0-9,]*\) bytes/\1/p' "$LOCAL/stats" | tr -d ,; }

tree "$LOCAL/tree"
for mode in '' --inplace; do
    rsync -a --stats $mode "$LOCAL/tree/" "tree$mode" >"$LOCAL/stats"
    equals "$(moved)" 6
    diff -r "$LOCAL/tree" "$FAR/tree$mode"
    rsync -a --stats $mode "$LOCAL/tree/" "tree$mode" >"$LOCAL/stats"
    equals "$(moved)" 0
done

# A changed middle, found by its checksums.
noise 100 | dd of="$LOCAL/tree/log" seek=30000 oflag=seek_bytes conv=notrunc status=none
touch -d tomorrow "$LOCAL/tree/log"
for mode in '' --inplace; do
    rsync -a --stats --no-whole-file $mode "$LOCAL/tree/" "tree$mode" >"$LOCAL/stats"
    equals "$(moved)" 1
    [ "$(literal)" -lt 10000 ] || fail "$(literal) bytes were sent for a hundred that differ"
    diff -r "$LOCAL/tree" "$FAR/tree$mode"
done

# A log that grew.
noise 5000 >>"$LOCAL/tree/log"
rsync -a --stats --append "$LOCAL/tree/" tree >"$LOCAL/stats"
equals "$(moved) $(literal)" "1 5000"
diff -r "$LOCAL/tree" "$FAR/tree"
rsync -a --stats --append "$LOCAL/tree/" tree >"$LOCAL/stats"
equals "$(moved)" 0

# And off the vehicle.
rsync -a --stats tree/ "$LOCAL/back" >"$LOCAL/stats"
equals "$(moved)" 6
rsync -a --stats tree/ "$LOCAL/back" >"$LOCAL/stats"
equals "$(moved)" 0
diff -r "$LOCAL/tree" "$LOCAL/back"
