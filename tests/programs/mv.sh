# Onto the mount from elsewhere, back, and within.
tree "$LOCAL/tree"
cp -r "$LOCAL/tree" "$LOCAL/first"
mv "$LOCAL/tree" tree
[ ! -e "$LOCAL/tree" ] || fail "the source is still there"
diff -r "$LOCAL/first" "$FAR/tree"
mv tree/log tree/renamed
mv tree/a tree/empty/
agree tree/renamed tree/empty/a/b/packet
mv tree/renamed tree/log
mv tree/empty/a tree/a
mv tree "$LOCAL/tree"
diff -r "$LOCAL/first" "$LOCAL/tree"
equals "$(ls -A "$FAR")" ""
