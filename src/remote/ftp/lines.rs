//! One line of MLSD (RFC 3659) or LIST (as `ls -l` or DOS writes it) → what it says. Parsed here and
//! not by the library, which takes spaces from names and knows no marks of access lists, no links in
//! MLSD, no leap day of another year. Must not know the connection, nor which name is acceptable.

use super::calendar::{Moment, number, parse_digits};
use crate::remote::SIZE_MAX;

/// Months as `ls` writes them.
const MONTHS: [&[u8]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];
/// What IIS puts between `<DIR>` and a name.
const DIR_SPACES: usize = 10;
/// Two digits of a year from this one on are of the last century.
const CENTURY_TURN: i64 = 70;
/// A server's clock may be ahead by its time zone and some error.
const AHEAD_MAX: i64 = 24 * 3600;

/// What a line says.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Something in the directory.
    Named(Named<'a>),
    /// The directory itself.
    Itself,
    /// A head, the directory above, a device: nothing to show.
    Nothing,
    /// Nobody knows.
    Unknown,
}

/// A name and what is told of it.
#[derive(Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The name's bytes, as the server has them.
    pub name: &'a [u8],
    /// What it is.
    pub what: What,
    /// Its last change.
    pub time: Option<Told>,
}

/// What stands under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// A file of so many bytes.
    File(u64),
    /// A directory.
    Directory,
    /// A symbolic link, which does not say to what.
    Link,
}

/// A modification time as a line tells it, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// In UTC.
    Utc(i64),
    /// The minute, in the server's time zone.
    Minute(i64),
    /// The beginning of the day, in the server's time zone.
    Day(i64),
}

/// A line of MLSD: `fact=value;fact=value; name`.
pub fn mlsd(line: &[u8]) -> Line<'_> {
    let Some(space) = line.iter().position(|&byte| byte == b' ') else { return Line::Unknown };
    let (facts, name) = (&line[..space], &line[space + 1..]);
    let (mut what, mut size, mut time) = (None, 0, None);
    for fact in facts.split(|&byte| byte == b';') {
        let Some(equals) = fact.iter().position(|&byte| byte == b'=') else { continue };
        let (fact, value) = (fact[..equals].to_ascii_lowercase(), &fact[equals + 1..]);
        match &fact[..] {
            b"type" => what = Some(value.to_ascii_lowercase()),
            b"size" => size = bytes(value),
            // Servers without a clock say 1970.
            b"modify" => time = parse_digits(value).filter(|&time| time > 0).map(Told::Utc),
            _ => {}
        }
    }
    let what = match what.as_deref() {
        Some(b"file") => What::File(size),
        Some(b"dir") => What::Directory,
        Some(b"cdir") => return Line::Itself,
        Some(b"pdir") => return Line::Nothing,
        // Of the link, not of what it leads to.
        Some(other) if is_link(other) => return named(name, What::Link, None),
        Some(other) if other.starts_with(b"os.") => return Line::Nothing,
        Some(_) | None => return Line::Unknown,
    };
    named(name, what, time)
}

/// A line of LIST; `now` is seconds since 1970 UTC, for lines that tell no year.
pub fn list(line: &[u8], now: i64) -> Line<'_> {
    match line.first() {
        Some(b'0'..=b'9') => dos(line).unwrap_or(Line::Unknown),
        Some(_) if line.starts_with(b"total") => Line::Nothing,
        Some(_) => unix(line, now).unwrap_or(Line::Unknown),
        None => Line::Nothing,
    }
}

fn is_link(kind: &[u8]) -> bool {
    let kind = kind.strip_prefix(b"os.unix=").unwrap_or_default();
    kind.starts_with(b"slink") || kind.starts_with(b"symlink")
}

fn named(name: &[u8], what: What, time: Option<Told>) -> Line<'_> {
    match name {
        b"" => Line::Unknown,
        b"." => Line::Itself,
        b".." => Line::Nothing,
        name => Line::Named(Named { name, what, time }),
    }
}

/// A size; what is too large for anybody is as large as can be.
fn bytes(digits: &[u8]) -> u64 {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let size = std::str::from_utf8(digits).ok().filter(|_| is_number);
    size.map_or(0, |size| size.parse().unwrap_or(SIZE_MAX).min(SIZE_MAX))
}

/// `-rw-r--r--  1 owner group  size Nov 05 12:00 name`, with or without a mark of access lists, links
/// and group.
fn unix(line: &[u8], now: i64) -> Option<Line<'_>> {
    let (kind, mode) = (line.first()?, line.get(1..10)?);
    let mark = *line.get(10)?;
    if !mode.iter().all(|byte| b"rwxsStTlL-".contains(byte)) || !b" +.@".contains(&mark) {
        return None;
    }
    let tokens: Vec<(usize, &[u8])> = tokens(line);
    for at in 2..tokens.len() {
        let (_, size) = tokens[at - 1];
        let Some((time, used)) = date(&tokens[at..], now) else { continue };
        let (start, last) = tokens[at + used - 1];
        // One space; more are the name's.
        let name = line.get(start + last.len() + 1..)?;
        let what = match kind {
            b'-' if size.iter().all(u8::is_ascii_digit) => What::File(bytes(size)),
            b'd' => What::Directory,
            b'l' => {
                let arrow = name.windows(4).position(|part| part == b" -> ");
                return Some(named(arrow.map_or(name, |at| &name[..at]), What::Link, None));
            }
            b'b' | b'c' | b'p' | b's' | b'D' => return Some(Line::Nothing),
            _ => continue,
        };
        return Some(named(name, what, Some(time)));
    }
    None
}

/// Words and where they begin. Those of a name are among them, hence the limit.
fn tokens(line: &[u8]) -> Vec<(usize, &[u8])> {
    const TOKENS_MAX: usize = 16;
    let mut at = 0;
    let words = line.split(|&byte| byte == b' ').map(|word| {
        let start = at;
        at += word.len() + 1;
        (start, word)
    });
    words.filter(|(_, word)| !word.is_empty()).take(TOKENS_MAX).collect()
}

/// The time that the words begin with, and how many of them it takes: `Nov 05 12:00`, `05 Nov 2018` or
/// `2018-11-05 12:00`.
fn date(words: &[(usize, &[u8])], now: i64) -> Option<(Told, usize)> {
    let word = |at: usize| words.get(at).map(|(_, word)| *word);
    let (first, second) = (word(0)?, word(1)?);
    if let [year, month, day] = first.split(|&byte| byte == b'-').collect::<Vec<_>>()[..] {
        let (year, month, day) = (number(year)?, number(month)?, number(day)?);
        let moment = Moment { year, month, day, second: clock(second)? };
        return Some((Told::Minute(moment.seconds()?), 2));
    }
    let (month, day) = match month(first) {
        Some(month) => (month, number(second)?),
        None => (month(second)?, number(first)?),
    };
    let third = word(2)?;
    let at = |year, second| Moment { year, month, day, second }.seconds();
    if let Some(second) = clock(third) {
        // The last time that there was such a minute. The leap day is not in every year.
        let this = Moment::at(now).year + 1;
        let past = (this - 8..=this).rev().filter_map(|year| at(year, second));
        return past
            .into_iter()
            .find(|&time| time <= now + AHEAD_MAX)
            .map(|t| (Told::Minute(t), 3));
    }
    let year = number(third).filter(|_| third.len() == 4)?;
    at(year, 0).map(|time| (Told::Day(time), 3))
}

fn month(word: &[u8]) -> Option<i64> {
    let at = MONTHS.iter().position(|month| word.eq_ignore_ascii_case(month))?;
    Some(at as i64 + 1)
}

/// `12:00` or `12:00:30`, as seconds since midnight; the seconds are left out.
fn clock(word: &[u8]) -> Option<i64> {
    let parts: Vec<&[u8]> = word.split(|&byte| byte == b':').collect();
    let (hour, minute) = match parts[..] {
        [hour, minute] | [hour, minute, _] => (number(hour)?, number(minute)?),
        _ => return None,
    };
    (hour < 24 && minute < 60).then_some(hour * 3600 + minute * 60)
}

/// `11-05-18  12:00PM       <DIR>          name`, or a size in the place of `<DIR>`.
fn dos(line: &[u8]) -> Option<Line<'_>> {
    let words = tokens(line);
    let ((_, date), (_, time), (start, what)) = (words.first()?, words.get(1)?, words.get(2)?);
    let told = dos_time(date, time)?;
    let rest = line.get(start + what.len()..)?;
    if what.iter().all(u8::is_ascii_digit) {
        return Some(named(rest.get(1..)?, What::File(bytes(what)), Some(told)));
    }
    let spaces = rest.iter().take_while(|&&byte| byte == b' ').count();
    let name = rest.get(spaces.min(DIR_SPACES)..)?;
    match &what.to_ascii_uppercase()[..] {
        b"<DIR>" => Some(named(name, What::Directory, Some(told))),
        b"<SYMLINK>" | b"<SYMLINKD>" | b"<JUNCTION>" => {
            let name = name.trim_ascii_start();
            let target = name.windows(2).position(|part| part == b" [");
            Some(named(target.map_or(name, |at| &name[..at]), What::Link, None))
        }
        _ => None,
    }
}

fn dos_time(date: &[u8], time: &[u8]) -> Option<Told> {
    let parts: Vec<&[u8]> = date.split(|&byte| byte == b'-' || byte == b'/').collect();
    let [month, day, year] = parts[..] else { return None };
    let short = year.len() == 2;
    let (month, day, year) = (number(month)?, number(day)?, number(year)?);
    let century = if year < CENTURY_TURN { 2000 } else { 1900 };
    let year = if short { century + year } else { year };
    let upper = time.to_ascii_uppercase();
    let half = |mark: &[u8]| upper.strip_suffix(mark).and_then(clock);
    // Twelve is the first hour of each half.
    let second = match (half(b"AM"), half(b"PM")) {
        (Some(second), _) => second % (12 * 3600),
        (_, Some(second)) => second % (12 * 3600) + 12 * 3600,
        (None, None) => clock(&upper)?,
    };
    Some(Told::Minute(Moment { year, month, day, second }.seconds()?))
}

#[cfg(test)]
mod tests;
