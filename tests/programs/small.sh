# Many small files.
mkdir "$LOCAL/many"
for number in $(seq "$FILES"); do echo "log number $number" >"$LOCAL/many/$number"; done
cp -r "$LOCAL/many" .
diff -r "$LOCAL/many" "$FAR/many"
diff -r "$LOCAL/many" many
equals "$(ls many | wc -l)" "$FILES"
rm -r many
equals "$(ls -A "$FAR")" ""
