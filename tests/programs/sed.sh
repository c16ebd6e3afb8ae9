# A file that is written anew beside the old one and renamed over it.
printf 'one\ntwo\nthree\n' >script.lua
sed -i s/two/2/ script.lua
equals "$(tr '\n' ' ' <script.lua)" "one 2 three "
sed -i.bak '$d' script.lua
equals "$(tr '\n' ' ' <script.lua)" "one 2 "
equals "$(tr '\n' ' ' <script.lua.bak)" "one 2 three "
agree script.lua script.lua.bak
equals "$(ls -A "$FAR" | tr '\n' ' ')" "script.lua script.lua.bak "
