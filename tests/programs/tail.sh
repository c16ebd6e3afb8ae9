# A file that grows on the far side is followed without opening it again.
echo first >"$FAR/growing"
# What another writes is seen once the listing's time is over.
for _ in $(seq 100); do [ -e growing ] && break || sleep 0.1; done
tail -n +1 -f growing >"$LOCAL/seen" &
follower=$!
trap 'kill $follower 2>/dev/null || :' EXIT
for number in 2 3; do
    echo "line $number" >>"$FAR/growing"
    for _ in $(seq 100); do
        cmp -s "$LOCAL/seen" "$FAR/growing" && break || sleep 0.1
    done
    cmp "$LOCAL/seen" "$FAR/growing"
done
