//! Directory entries: a type byte, text, NUL (section "List directory"). Every byte of them is
//! hostile; names stay bytes here and are judged by whoever makes paths of them.

/// One entry of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireEntry {
    /// The name as sent.
    pub name: Vec<u8>,
    /// Whether it is a directory; else a file.
    pub directory: bool,
    /// Size in bytes; 0 where none was sent.
    pub size: u64,
    /// Seconds since 1970 UTC; `None` where none or 0 was sent.
    pub mtime: Option<i64>,
}

/// What one page of a listing held.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Files and directories.
    pub entries: Vec<WireEntry>,
    /// Entries counted by the server: the offset to go on from is so many further.
    pub count: u32,
    /// Entries that could not be read; they count, but cannot be shown.
    pub unreadable: u32,
}

/// Reads a page. `with_time` tells whether the page answers the opcode that sends times.
///
/// Empty strings are not entries (older ArduPilot doubles the NUL); skipped ones (`S`) count. What
/// runs against the end of a full page without its NUL was cut, and its name or size with it.
pub fn parse_entries(data: &[u8], with_time: bool) -> Listed {
    let mut listed = Listed::default();
    let full = data.len() >= super::DATA_BYTES_MAX;
    let mut texts = data.split(|&byte| byte == 0).peekable();
    while let Some(text) = texts.next() {
        if text.is_empty() {
            continue;
        }
        let cut = full && texts.peek().is_none();
        listed.count += 1;
        match (text[0], parse_entry(text, with_time).filter(|_| !cut)) {
            (b'S', _) => {}
            (_, Some(entry)) => listed.entries.push(entry),
            (_, None) => listed.unreadable += 1,
        }
    }
    listed
}

fn parse_entry(text: &[u8], with_time: bool) -> Option<WireEntry> {
    let (kind, rest) = text.split_first()?;
    match kind {
        b'F' => parse_fields(rest, with_time, false),
        // PX4 sends directories bare, MAVSDK and ArduPilot with both fields.
        b'D' if rest.contains(&b'\t') => {
            parse_fields(rest, with_time, true).or_else(|| Some(bare(rest, true)))
        }
        b'D' => Some(bare(rest, true)),
        _ => None,
    }
}

/// The fields stand at the end, so that a tab inside a name, which some servers send raw, stays in it.
fn parse_fields(rest: &[u8], with_time: bool, directory: bool) -> Option<WireEntry> {
    let (front, last) = split_number(rest)?;
    match split_number(front) {
        Some((name, size)) if with_time => {
            let mtime = i64::try_from(last).ok().filter(|&seconds| seconds != 0);
            Some(WireEntry { name: name.to_vec(), directory, size, mtime })
        }
        _ => Some(WireEntry { name: front.to_vec(), directory, size: last, mtime: None }),
    }
}

fn bare(name: &[u8], directory: bool) -> WireEntry {
    WireEntry { name: name.to_vec(), directory, size: 0, mtime: None }
}

fn split_number(text: &[u8]) -> Option<(&[u8], u64)> {
    let tab = text.iter().rposition(|&byte| byte == b'\t')?;
    let digits = std::str::from_utf8(&text[tab + 1..]).ok()?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !plain { None } else { digits.parse().ok().map(|number| (&text[..tab], number)) }
}

/// Writes an entry with its closing NUL; `with_time` adds the modification time to files and
/// directories. A name that could not be read back (a tab in it) or does not fit becomes `S`.
pub fn encode_entry(entry: &WireEntry, with_time: bool) -> Vec<u8> {
    let mut text = Vec::with_capacity(entry.name.len() + 32);
    text.push(if entry.directory { b'D' } else { b'F' });
    text.extend_from_slice(&entry.name);
    if with_time {
        let fields = format!("\t{}\t{}", entry.size, entry.mtime.unwrap_or(0).max(0));
        text.extend_from_slice(fields.as_bytes());
    } else if !entry.directory {
        text.extend_from_slice(format!("\t{}", entry.size).as_bytes());
    }
    text.push(0);
    let unreadable = entry.name.iter().any(|byte| matches!(byte, b'\t' | 0 | b'/'));
    if unreadable || text.len() > super::DATA_BYTES_MAX { b"S\0".to_vec() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn file(name: &[u8], size: u64, mtime: Option<i64>) -> WireEntry {
        WireEntry { name: name.to_vec(), directory: false, size, mtime }
    }

    #[test]
    fn all_servers_spellings_are_read() {
        let page = b"Flog.bin\t12\0Dempty.d\0S\0\0Ftab\there\t1\0";
        let listed = parse_entries(page, false);
        assert_eq!(listed.count, 4);
        assert_eq!(
            listed.entries,
            [file(b"log.bin", 12, None), bare(b"empty.d", true), file(b"tab\there", 1, None)]
        );
        let page = b"Flog.bin\t12\t1795118600\0Dd\t0\t1795118600\0De\0Ftab\there\t1\t0\0";
        let listed = parse_entries(page, true);
        assert_eq!(listed.entries[0], file(b"log.bin", 12, Some(1_795_118_600)));
        assert_eq!(listed.entries[1].mtime, Some(1_795_118_600));
        assert_eq!(listed.entries[2], bare(b"e", true));
        assert_eq!(listed.entries[3], file(b"tab\there", 1, None));
    }

    #[test]
    fn what_cannot_be_read_still_counts() {
        let listed =
            parse_entries(b"Fno-size\0Fbad\tx\0Xwhat\0Fhuge\t99999999999999999999999\0", false);
        assert_eq!((listed.count, listed.unreadable, listed.entries.len()), (4, 4, 0));
    }

    #[test]
    fn an_entry_that_a_full_page_cuts_off_is_not_believed() {
        let mut page = b"Fwhole\t5\0F".to_vec();
        page.resize(super::super::DATA_BYTES_MAX - 2, b'n');
        page.extend_from_slice(b"\t1");
        let listed = parse_entries(&page, false);
        assert_eq!((listed.count, listed.unreadable), (2, 1));
        assert_eq!(listed.entries, [file(b"whole", 5, None)]);
        assert_eq!(parse_entries(b"Flast\t12", false).entries, [file(b"last", 12, None)]);
    }

    proptest! {
        #[test]
        fn an_encoded_entry_is_read_back_or_skipped(
            name in proptest::collection::vec(1u8.., 1..260),
            size: u64, time in 1..i64::MAX, directory: bool, with_time: bool,
        ) {
            let entry = WireEntry { name, directory, size: if directory { 0 } else { size }, mtime: with_time.then_some(time) };
            let text = encode_entry(&entry, with_time);
            prop_assert!(text.len() <= super::super::DATA_BYTES_MAX);
            let listed = parse_entries(&text, with_time);
            prop_assert_eq!(listed.count, 1);
            if text != b"S\0" {
                prop_assert_eq!(listed.entries, vec![entry]);
            }
        }
    }
}
