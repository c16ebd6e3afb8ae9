# What a vehicle cannot hold is refused, or accepted and without effect, as docs/SEMANTICS.md says.
echo text >file
mkdir folder
refused 'not permitted' ln file hard
refused 'not permitted' ln -s file soft
refused 'not permitted' mkfifo pipe
refused 'not empty' sh -c 'echo x >folder/x && rmdir folder'
refused 'File exists' mkdir folder
refused 'Is a directory' sh -c 'echo text >folder'
refused 'Not a directory' cat file/below
refused 'No such file' cat nowhere
refused 'too long' touch "$(printf '%0255d' 0)"
mode=$(stat -c %a file)
chmod 600 file
equals "$(stat -c %a file)" "$mode"
equals "$(cat file)" text
equals "$(ls | tr '\n' ' ')" "file folder "
