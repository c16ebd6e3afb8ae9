//! Lines that servers write, and lines that nobody writes.

use proptest::prelude::*;

use super::*;

/// The 20th of November 2026, 15:00 UTC.
const NOW: i64 = 1_795_186_800;

fn at(digits: &str) -> i64 {
    parse_digits(digits.as_bytes()).unwrap()
}

fn is(name: &str, what: What, time: Option<Told>) -> Line<'_> {
    Line::Named(Named { name: name.as_bytes(), what, time })
}

#[test]
fn lines_as_unix_servers_write_them() {
    let this_year = Some(Told::Minute(at("20261105120000")));
    let day = Some(Told::Day(at("20181105000000")));
    for (line, expected) in [
        ("-rw-r--r--   1 me us 12 Nov 05 12:00 a b", is("a b", What::File(12), this_year)),
        ("-rw-r--r--+  1 me us 12 Nov  5 12:00 acl", is("acl", What::File(12), this_year)),
        ("-rw-r--r--.  1 me us 12 Nov  5 12:00 se", is("se", What::File(12), this_year)),
        ("drwxrwsr-t   2 me us 4096 Nov 05  2018 sub", is("sub", What::Directory, day)),
        ("-rw-r--r-- 1 me 12 Nov 05 2018 no group", is("no group", What::File(12), day)),
        ("-rw------- 1 1000 1000 12 05 Nov 2018 european", is("european", What::File(12), day)),
        ("-rw-r--r-- 1 me us 12 2026-11-05 12:00 iso", is("iso", What::File(12), this_year)),
        (
            "-rw-r--r-- 1 me us 12 Nov 05 12:00   two spaces ",
            is("  two spaces ", What::File(12), this_year),
        ),
        ("-rw-r--r-- 1 me us 12 Nov 05 12:00 -l", is("-l", What::File(12), this_year)),
        ("-rw-r--r-- 1 me us 12 Nov 05 12:00 100% ; x", is("100% ; x", What::File(12), this_year)),
        ("-rw-r--r-- 1 me us 12 Nov 05 12:00 a -> b", is("a -> b", What::File(12), this_year)),
        (
            "-rw-r--r-- 1 me us 99999999999999999999999 Nov 05 2018 vast",
            is("vast", What::File(SIZE_MAX), day),
        ),
        ("lrwxrwxrwx 1 me us 4 Nov 05 12:00 to -> a b", is("to", What::Link, None)),
        ("crw-rw---- 1 root tty 4, 64 Nov 05 12:00 ttyS0", Line::Nothing),
        ("drwxr-xr-x 2 me us 4096 Nov 05 12:00 .", Line::Itself),
        ("drwxr-xr-x 2 me us 4096 Nov 05 12:00 ..", Line::Nothing),
        ("total 12", Line::Nothing),
        ("-rw-r--r-- 1 me us 12 Nov 31 12:00 never", Line::Unknown),
        ("ftpd: cannot open .: Permission denied", Line::Unknown),
    ] {
        assert_eq!(list(line.as_bytes(), NOW), expected, "{line}");
    }
}

#[test]
fn a_line_without_a_year_is_of_the_last_twelve_months() {
    let time = |line: &str, now| match list(line.as_bytes(), now) {
        Line::Named(Named { time: Some(Told::Minute(time)), .. }) => time,
        other => panic!("{line}: {other:?}"),
    };
    let line = |date: &str| format!("-rw-r--r-- 1 me us 12 {date} a");
    assert_eq!(time(&line("Dec 31 23:59"), NOW), at("20251231235900"));
    // A server to the east of us is in tomorrow.
    assert_eq!(time(&line("Nov 21 03:00"), NOW), at("20261121030000"));
    assert_eq!(time(&line("Jan  1 01:00"), at("20261231230000")), at("20270101010000"));
    assert_eq!(time(&line("Feb 29 10:00"), NOW), at("20240229100000"));
}

#[test]
fn lines_as_dos_servers_write_them() {
    let noon = Some(Told::Minute(at("20181105120000")));
    let night = Some(Told::Minute(at("20181105000500")));
    for (line, expected) in [
        ("11-05-18  12:00PM       <DIR>          sub dir", is("sub dir", What::Directory, noon)),
        ("11-05-18  12:00PM       <DIR>            two", is("  two", What::Directory, noon)),
        ("11-05-2018  12:05AM                  403 a b", is("a b", What::File(403), night)),
        ("11-05-18  00:05                  403  lead", is(" lead", What::File(403), night)),
        ("11-05-18  12:00PM    <SYMLINKD>     to [C:\\x]", is("to", What::Link, None)),
        ("11-05-18  12:00PM    <JUNCTION>     j", is("j", What::Link, None)),
        ("31-12-18  12:00PM       <DIR>          x", Line::Unknown),
        ("11-05-18", Line::Unknown),
    ] {
        assert_eq!(list(line.as_bytes(), NOW), expected, "{line}");
    }
}

#[test]
fn lines_made_for_programs() {
    let time = Some(Told::Utc(at("20200101000001")));
    for (line, expected) in [
        ("type=file;size=12;modify=20200101000001; a;b.txt", is("a;b.txt", What::File(12), time)),
        ("Size=1;Type=FILE;Modify=20200101000001.123;  x ", is(" x ", What::File(1), time)),
        ("type=file;size=7;modify=19700101000000; no clock", is("no clock", What::File(7), None)),
        ("type=file;size=184467440737095516160; vast", is("vast", What::File(SIZE_MAX), None)),
        ("type=dir;modify=20200101000001; -l", is("-l", What::Directory, time)),
        ("type=OS.unix=slink:/else/where;size=3; to", is("to", What::Link, None)),
        ("modify=20200101000001;type=OS.UNIX=symlink; to", is("to", What::Link, None)),
        ("type=OS.unix=chr-4/64; tty", Line::Nothing),
        ("type=cdir; /logs", Line::Itself),
        ("type=pdir; ..", Line::Nothing),
        ("type=dir; .", Line::Itself),
        ("size=12; what?", Line::Unknown),
        ("type=file;", Line::Unknown),
        ("", Line::Unknown),
    ] {
        assert_eq!(mlsd(line.as_bytes()), expected, "{line}");
    }
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("no name", |byte| !b"\0/\r\n".contains(byte));
    prop::collection::vec(byte, 1..40).prop_filter("dots", |name| name != b"." && name != b"..")
}

fn line(head: String, name: &[u8]) -> Vec<u8> {
    [head.as_bytes(), name].concat()
}

proptest! {
    #[test]
    fn no_line_is_too_strange(bytes: Vec<u8>, now in -1_i64 << 40..1_i64 << 40) {
        mlsd(&bytes);
        list(&bytes, now);
    }

    #[test]
    fn no_line_that_is_nearly_one_is_too_strange(
        line in "[-dl0-9]([-rwx]{9}[+. ]|[0-9]{1,2}-[0-9]{1,2})( {1,3}([0-9]{1,20}|[A-Za-z]{3}|[0-9]{1,2}:[0-9]{1,2}|<DIR>)){0,9} ?.{0,5}"
    ) {
        list(line.as_bytes(), NOW);
    }

    #[test]
    fn every_name_comes_through(name in name(), size in 0..SIZE_MAX) {
        let minute = Some(Told::Minute(at("20261105120000")));
        let file = |time| Line::Named(Named { name: &name, what: What::File(size), time });
        let directory = |time| Line::Named(Named { name: &name, what: What::Directory, time });
        let unix = line(format!("-rw-r--r--    1 ftp      ftp  {size:>12} Nov 05 12:00 "), &name);
        prop_assert_eq!(list(&unix, NOW), file(minute));
        let unix = line("drwxr-xr-x    2 ftp      ftp          4096 Nov 05 12:00 ".into(), &name);
        prop_assert_eq!(list(&unix, NOW), directory(minute));
        let dos = line(format!("11-05-26  12:00PM {size:>20} "), &name);
        prop_assert_eq!(list(&dos, NOW), file(minute));
        let dos = line("11-05-26  12:00PM       <DIR>          ".into(), &name);
        prop_assert_eq!(list(&dos, NOW), directory(minute));
        let facts = line(format!("modify=20261105120000;size={size};type=file; "), &name);
        prop_assert_eq!(mlsd(&facts), file(Some(Told::Utc(at("20261105120000")))));
    }
}
