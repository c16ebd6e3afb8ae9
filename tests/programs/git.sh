# A repository that lives on the vehicle.
export HOME="$LOCAL" GIT_CONFIG_NOSYSTEM=1
git config --global user.email pilot@example.com
git config --global user.name Pilot
git config --global init.defaultBranch main
git init -q .
mkdir scripts
echo 'gcs:send_text(6, "hello")' >scripts/hello.lua
noise 5000 >scripts/table.bin
git add .
git commit -q -m 'First flight'
echo 'gcs:send_text(6, "again")' >>scripts/hello.lua
git commit -q -a -m 'Second flight'
git fsck --strict
equals "$(git status --porcelain)" ""
equals "$(git rev-list --count HEAD)" 2
git clone -q . "$LOCAL/clone"
diff -r --exclude=.git . "$LOCAL/clone"
git -C "$FAR" -c safe.directory='*' fsck --strict
