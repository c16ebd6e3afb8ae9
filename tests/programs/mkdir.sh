# Directories, deep ones, and the end of them.
mkdir -p a/b/c/d 'e f'
echo x >a/b/c/d/file
equals "$(find . -type d | sort | tr '\n' ' ')" ". ./a ./a/b ./a/b/c ./a/b/c/d ./e f "
mv a/b moved
agree moved/c/d/file
rm -r moved a
rmdir 'e f'
equals "$(ls -A)" ""
equals "$(ls -A "$FAR")" ""
