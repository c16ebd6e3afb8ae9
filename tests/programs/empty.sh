# Files of no bytes.
: >a
touch b
cp /dev/null c
truncate -s 0 d
for file in a b c d; do
    equals "$(stat -c %s "$file") $(stat -c %s "$FAR/$file")" "0 0"
    equals "$(cat "$file")" ""
done
mv a e
rm b
echo full >c
: >c
equals "$(stat -c %s "$FAR/c")" 0
equals "$(ls | tr '\n' ' ')" "c d e "
