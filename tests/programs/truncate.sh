# Shorter, longer, to nothing, by name and by a descriptor.
noise 70001 >"$LOCAL/data"
cp "$LOCAL/data" data
for length in 50003 60000 4096 0 5; do
    truncate -s "$length" data "$LOCAL/data"
    cmp "$LOCAL/data" data
    agree data
    equals "$(stat -c %s data)" "$length"
done
for file in data "$LOCAL/data"; do
    python3 - "$file" <<'END'
import sys
with open(sys.argv[1], "r+b") as file:
    file.write(b"x" * 10_000)
    file.truncate(3_000)
    file.seek(9_000)
    file.write(b"end")
END
done
cmp "$LOCAL/data" data
agree data
