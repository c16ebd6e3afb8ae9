# :w as vim does it at a terminal, with its swap file, by renaming and by copying; and by a script.
export HOME="$LOCAL"
printf 'one\ntwo\n' >script.lua
printf '%s\n' 'Gothree\x1b' ':w\r' 'ofour\x1b' ':wq\r' | keys vim -N -u NONE -i NONE script.lua
equals "$(tr '\n' ' ' <script.lua)" "one two three four "
agree script.lua
for copy in no yes; do
    printf '%s\n' "ggI$copy \x1b" ':w\r' ':q\r' |
        keys vim -N -u NONE -i NONE -c "set backup backupskip= backupcopy=$copy" script.lua
    agree script.lua script.lua~
done
equals "$(head -n 1 script.lua)" "yes no one"
equals "$(head -n 1 script.lua~)" "no one"
vim -N -u NONE -i NONE -es -c '%s/two/2/' -c x script.lua
equals "$(sed -n 2p script.lua)" 2
agree script.lua
equals "$(ls -A "$FAR" | tr '\n' ' ')" "script.lua script.lua~ "
