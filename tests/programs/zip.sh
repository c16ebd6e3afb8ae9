# Python's zipfile, which goes back to fill in what it could not know, and appends.
tree "$LOCAL/tree"
python3 - "$LOCAL/tree" <<'END'
import os, sys, zipfile
source = sys.argv[1]
names = [os.path.relpath(os.path.join(at, name), source) for at, _, names in os.walk(source) for name in names]
with zipfile.ZipFile("archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    for name in names[:3]:
        archive.write(os.path.join(source, name), name)
with zipfile.ZipFile("archive.zip", "a") as archive:
    for name in names[3:]:
        with archive.open(name, "w") as member:
            member.write(open(os.path.join(source, name), "rb").read())
with zipfile.ZipFile("archive.zip") as archive:
    assert archive.testzip() is None
    assert sorted(archive.namelist()) == sorted(names)
    for name in names:
        assert archive.read(name) == open(os.path.join(source, name), "rb").read(), name
    archive.extractall("out")
END
agree archive.zip
rmdir "$LOCAL/tree/empty"
diff -r "$LOCAL/tree" out
diff -r out "$FAR/out"
