# A shell's > and >>.
printf 'one\n' >log
for number in 2 3 4 5 6 7 8 9; do echo "$number" >>log; done
equals "$(tr '\n' ' ' <log)" "one 2 3 4 5 6 7 8 9 "
agree log
noise 10000 >"$LOCAL/begin"
noise 7001 >"$LOCAL/more"
cp "$LOCAL/begin" data
cat "$LOCAL/more" >>data
cat "$LOCAL/begin" "$LOCAL/more" | cmp - data
agree data
