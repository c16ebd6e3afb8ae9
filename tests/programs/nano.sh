# An editor that writes in place: a new file, then another line at its end.
export HOME="$LOCAL"
printf '%s\n' 'first line' '\x0f' '\r' '\x18' | keys nano --ignorercfiles note
equals "$(cat note)" 'first line'
agree note
printf '%s\n' '\x1b/' 'second line' '\x0f' '\r' '\x18' | keys nano --ignorercfiles note
equals "$(tr '\n' ' ' <note)" 'first line second line '
agree note
# With a backup beside it.
printf '%s\n' '\x1b/' 'third line' '\x0f' '\r' '\x18' | keys nano --ignorercfiles --backup note
equals "$(tr '\n' ' ' <note~)" 'first line second line '
equals "$(wc -l <note)" 3
agree note note~
