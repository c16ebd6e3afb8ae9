# Trees in, out, and from the mount into the mount; times that stay.
tree "$LOCAL/tree"
cp -r "$LOCAL/tree" .
diff -r "$LOCAL/tree" tree
diff -r tree "$FAR/tree"
cp -r tree again
diff -r "$LOCAL/tree" "$FAR/again"
cp -r tree "$LOCAL/back"
diff -r "$LOCAL/tree" "$LOCAL/back"

touch -d '2020-02-03 04:05:06' "$LOCAL/log"
noise 3000 >>"$LOCAL/log"
touch -d '2020-02-03 04:05:06' "$LOCAL/log"
cp -p "$LOCAL/log" old
equals "$(stat -c %Y old)" "$(stat -c %Y "$LOCAL/log")"
touch -d '2020-02-03 04:05:06' tree/a
# Past all that is remembered for a time.
sleep 3
ls -l >"$LOCAL/listed"
equals "$(stat -c %Y tree/a)" "$(stat -c %Y "$LOCAL/log")"
equals "$(stat -c %Y old)" "$(stat -c %Y "$LOCAL/log")"
agree old
cp -p old "$LOCAL/out"
equals "$(stat -c %Y "$LOCAL/out")" "$(stat -c %Y "$LOCAL/log")"

# Over what is there, longer and shorter.
cp "$LOCAL/tree/log" old
agree old
cp "$LOCAL/tree/a/one" old
agree old
