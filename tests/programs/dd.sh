# Whole, synchronised, in the middle, past the end, around the page cache.
noise 100003 >"$LOCAL/disk"
dd if="$LOCAL/disk" of=disk bs=8k conv=fsync status=none
cmp "$LOCAL/disk" disk
agree disk
for place in 3 4095 70001 100003; do
    noise 5003 >"$LOCAL/piece"
    for target in disk "$LOCAL/disk"; do
        dd if="$LOCAL/piece" of="$target" bs=1003 seek="$place" oflag=seek_bytes \
            conv=notrunc,fdatasync status=none
    done
    agree disk
done
cmp "$LOCAL/disk" disk
dd if=disk bs=4096 iflag=direct status=none | cmp - "$LOCAL/disk"
dd if="$LOCAL/disk" of=around bs=4096 count=5 oflag=direct conv=fsync status=none
agree around
equals "$(stat -c %s around)" 20480
