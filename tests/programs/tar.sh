# An archive written onto the vehicle, and one unpacked there, with times.
tree "$LOCAL/tree"
find "$LOCAL/tree" -exec touch -d '2021-06-07 08:09:10' {} +
tar -C "$LOCAL" -cf archive.tar tree
agree archive.tar
tar -xf archive.tar
diff -r "$LOCAL/tree" tree
diff -r tree "$FAR/tree"
equals "$(stat -c %Y tree/log)" "$(stat -c %Y "$LOCAL/tree/log")"
tar -czf archive.tgz tree
mkdir "$LOCAL/out"
tar -C "$LOCAL/out" -xzf archive.tgz
diff -r tree "$LOCAL/out/tree"
agree archive.tgz
