//! What a listing asks for, what it believes, and that its entries are those of a lock-step listing.

use proptest::prelude::*;

use super::*;
use crate::mavftp::wire::DATA_BYTES_MAX;

const FREE: Traffic = Traffic::Free;

fn page(text: &[u8]) -> Payload {
    Payload::request(Opcode::Ack).with_data(text)
}

fn answer(job: &mut ListJob, offset: u32, text: &[u8]) -> ListStep {
    job.answered(offset, Ok(()), &page(text), FREE)
}

fn refuse(job: &mut ListJob, offset: u32, nak: Nak) -> ListStep {
    job.answered(offset, Err(nak), &page(b""), FREE)
}

fn ask(job: &mut ListJob) -> Option<u32> {
    job.ask().map(|(offset, _)| offset)
}

/// Asks for all that may be asked for now.
fn ask_all(job: &mut ListJob) -> Vec<u32> {
    std::iter::from_fn(|| ask(job)).collect()
}

fn name_all(entries: Vec<WireEntry>) -> Vec<String> {
    entries.into_iter().map(|entry| String::from_utf8_lossy(&entry.name).into_owned()).collect()
}

fn names(step: ListStep) -> Vec<String> {
    match step {
        ListStep::Page(entries) => name_all(entries),
        other => panic!("{other:?}"),
    }
}

/// A server's directory of so many entries, of which ten fit in a page.
struct Directory(u32);

const FIT: u32 = 10;

impl Directory {
    fn name(entry: u32) -> String {
        format!("{entry:019}")
    }

    fn page(&self, offset: u32) -> Result<Vec<u8>, Nak> {
        let end = (offset + FIT).min(self.0);
        match offset >= self.0 {
            true => Err(Nak::Eof),
            false => Ok((offset..end).flat_map(|n| Self::text(n).into_bytes()).collect()),
        }
    }

    fn text(entry: u32) -> String {
        format!("F{}\t1\0", Self::name(entry))
    }

    fn answer(&self, job: &mut ListJob, offset: u32) -> ListStep {
        match self.page(offset) {
            Ok(text) => answer(job, offset, &text),
            Err(nak) => refuse(job, offset, nak),
        }
    }

    fn names(&self) -> Vec<String> {
        (0..self.0).map(Self::name).collect()
    }
}

/// Lists to the end; `pick` says which of the pages on their way is answered next. Also tells how many
/// were asked for.
fn list(directory: &Directory, mut pick: impl FnMut(usize) -> usize) -> (Vec<String>, usize) {
    let mut job = ListJob::new(b"/".to_vec(), false);
    let (mut flying, mut listed, mut count) = (Vec::new(), Vec::new(), 0);
    loop {
        let asked = ask_all(&mut job);
        count += asked.len();
        flying.extend(asked);
        let offset = flying.remove(pick(flying.len()) % flying.len());
        match directory.answer(&mut job, offset) {
            ListStep::Page(entries) => listed.extend(name_all(entries)),
            ListStep::Early => {}
            ListStep::Done(entries) => {
                listed.extend(name_all(entries));
                return (listed, count);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn pages_follow_one_another_and_repeats_are_left_out() {
    let mut job = ListJob::new(b"/".to_vec(), false);
    assert_eq!(ask_all(&mut job), [0], "the first page alone");
    assert_eq!(names(answer(&mut job, 0, b"Fa\t1\0S\0Fb\t2\0")), ["a", "b"]);
    assert_eq!(ask_all(&mut job), [3], "a page with much room is probably the last");
    assert_eq!(names(answer(&mut job, 3, b"Fb\t2\0Fc\t3\0")), ["c"]);
    assert_eq!(ask_all(&mut job), [5]);
    assert_eq!(refuse(&mut job, 5, Nak::Eof), ListStep::Done(Vec::new()));
}

#[test]
fn whatever_order_pages_come_in_their_entries_are_in_their_own() {
    for size in [0, 1, 9, 10, 11, 40, 300, 1000] {
        let directory = Directory(size);
        let orders: [fn(usize) -> usize; 4] =
            [|_| 0, |flying| flying - 1, |flying| flying / 2, |flying| flying * 7 + 3];
        for order in orders {
            let (listed, asked) = list(&directory, order);
            assert_eq!(listed, directory.names());
            let needed = (size / FIT) as usize;
            assert!(asked <= needed + needed / 4 + 18, "{asked} requests for {size} entries");
        }
    }
}

#[test]
fn a_small_directory_costs_few_requests() {
    for (size, most) in [(0, 1), (1, 2), (8, 2), (9, 3), (10, 3), (15, 4)] {
        let (_, asked) = list(&Directory(size), |_| 0);
        assert!(asked <= most, "{asked} requests for {size} entries");
    }
}

#[test]
fn each_page_lets_one_more_go_ahead() {
    let (directory, mut job) = (Directory(100_000), ListJob::new(b"/".to_vec(), false));
    let mut flying = ask_all(&mut job);
    let mut rounds = Vec::new();
    for _ in 0..6 {
        rounds.push(flying.len());
        for offset in std::mem::take(&mut flying) {
            directory.answer(&mut job, offset);
        }
        flying = ask_all(&mut job);
    }
    assert_eq!(rounds, [1, 2, 4, 8, 16, 16]);
}

#[test]
fn a_hole_is_asked_for_before_the_end_is_believed() {
    let mut job = ListJob::new(b"/".to_vec(), false);
    ask(&mut job);
    let directory = Directory(FIT);
    directory.answer(&mut job, 0);
    let ahead = ask_all(&mut job);
    assert_eq!(ahead.len(), 2);
    assert_eq!(refuse(&mut job, ahead[1], Nak::Eof), ListStep::Page(Vec::new()));
    let short = Directory::text(FIT);
    assert_eq!(names(answer(&mut job, FIT, short.as_bytes())), [Directory::name(FIT)]);
    assert_eq!(ask_all(&mut job), [FIT + 1]);
    assert_eq!(refuse(&mut job, FIT + 1, Nak::Eof), ListStep::Done(Vec::new()));
}

#[test]
fn what_lies_behind_the_least_end_is_not_listed() {
    // A server that ends a listing at a name too long for a page answers pages behind it.
    let mut job = ListJob::new(b"/".to_vec(), false);
    ask(&mut job);
    let directory = Directory(1000);
    directory.answer(&mut job, 0);
    let ahead = ask_all(&mut job);
    assert_eq!(directory.answer(&mut job, ahead[1]), ListStep::Early);
    assert_eq!(refuse(&mut job, ahead[0], Nak::Eof), ListStep::Done(Vec::new()));
}

#[test]
fn a_page_refused_ahead_of_its_turn_is_asked_for_again() {
    let mut job = ListJob::new(b"/".to_vec(), false);
    ask(&mut job);
    let directory = Directory(1000);
    directory.answer(&mut job, 0);
    let ahead = ask_all(&mut job);
    assert_eq!(refuse(&mut job, ahead[1], Nak::Fail), ListStep::Page(Vec::new()));
    directory.answer(&mut job, ahead[0]);
    let next = ask_all(&mut job);
    assert_eq!(next[0], 2 * FIT);
    let failed = refuse(&mut job, next[0], Nak::Fail);
    assert_eq!(failed, ListStep::Failed(Error::Refused(Nak::Fail)), "now it counts");
}

#[test]
fn a_void_request_is_made_again() {
    let mut job = ListJob::new(b"/".to_vec(), false);
    ask(&mut job);
    Directory(1000).answer(&mut job, 0);
    let ahead = ask_all(&mut job);
    job.unask(ahead[0]);
    assert_eq!(ask_all(&mut job), [ahead[0]]);
}

#[test]
fn a_server_without_times_is_asked_without() {
    for nak in [Nak::UnknownCommand, Nak::Fail] {
        let mut job = ListJob::new(b"/".to_vec(), true);
        ask(&mut job);
        assert_eq!(refuse(&mut job, 0, nak), ListStep::WithoutTime);
        assert_eq!(job.ask().unwrap().1.opcode, Opcode::ListDirectory as u8);
        assert_eq!(refuse(&mut job, 0, nak), ListStep::Failed(Error::Refused(nak)));
    }
}

#[test]
fn an_old_error_that_sticks_ends_a_listing_in_its_turn() {
    let mut job = ListJob::new(b"/".to_vec(), false);
    ask(&mut job);
    let directory = Directory(FIT);
    directory.answer(&mut job, 0);
    let ahead = ask_all(&mut job);
    assert_eq!(refuse(&mut job, ahead[1], Nak::FileExists), ListStep::Page(Vec::new()));
    assert_eq!(refuse(&mut job, ahead[0], Nak::FileExists), ListStep::Done(Vec::new()));
}

#[test]
fn an_entry_that_cannot_be_sent_is_stepped_over() {
    let mut job = ListJob::new(b"/".to_vec(), false);
    ask(&mut job);
    assert!(names(answer(&mut job, 0, b"")).is_empty());
    assert_eq!(ask_all(&mut job), [1]);
    assert_eq!(names(answer(&mut job, 1, b"Fa\t1\0")), ["a"]);
    for _ in 1..EMPTY_PAGES_MAX {
        let offset = ask(&mut job).unwrap();
        assert!(names(answer(&mut job, offset, b"")).is_empty());
    }
    let offset = ask(&mut job).unwrap();
    let last = answer(&mut job, offset, b"");
    assert_eq!(last, ListStep::Done(Vec::new()), "so many mean the end");
}

#[test]
fn a_listing_without_end_is_stopped() {
    let mut job = ListJob::new(b"/".to_vec(), false);
    let full = b"Fa\t1\0".repeat(40);
    let last = std::iter::from_fn(|| {
        let offset = ask(&mut job)?;
        assert_eq!(ask(&mut job), None, "a server that repeats itself is asked for one at a time");
        Some(answer(&mut job, offset, &full))
    })
    .skip(1)
    .find(|step| !matches!(step, ListStep::Page(_)));
    assert_eq!(last, Some(ListStep::Failed(Error::Endless)));
}

/// One entry of a directory as a server has it.
#[derive(Debug, Clone, Copy)]
enum Item {
    /// Sent, with a name so long.
    Plain(usize),
    /// Sent as something to skip.
    Skipped,
    /// Counted and not sent.
    Hidden,
    /// Too long for a page.
    TooLong,
}

/// How a server pages, with what is too long for a page.
#[derive(Debug, Clone, Copy)]
enum Pager {
    /// Says that the listing ends there.
    Ends,
    /// Sends an empty page.
    Empty,
}

impl Pager {
    fn page(self, items: &[Item], offset: u32) -> Result<Vec<u8>, Nak> {
        let mut text = Vec::new();
        let rest = items.iter().enumerate().skip(offset as usize);
        let rest_is_empty = rest.len() == 0;
        for (n, item) in rest {
            let entry = match item {
                Item::Plain(length) => format!("F{n:04}{}\t1\0", "x".repeat(*length)),
                Item::Skipped => "S\0".into(),
                Item::Hidden => String::new(),
                Item::TooLong => break,
            };
            if text.len() + entry.len() > DATA_BYTES_MAX {
                break;
            }
            text.extend_from_slice(entry.as_bytes());
        }
        match self {
            Pager::Empty if !rest_is_empty => Ok(text),
            Pager::Empty | Pager::Ends if text.is_empty() => Err(Nak::Eof),
            Pager::Empty | Pager::Ends => Ok(text),
        }
    }

    /// What a client finds that asks for one page after another.
    fn list_in_lock_step(self, items: &[Item]) -> Vec<Vec<u8>> {
        let (mut found, mut offset, mut empty) = (Vec::new(), 0, 0);
        while let Ok(text) = self.page(items, offset) {
            let listed = parse_entries(&text, false);
            empty = if listed.count == 0 { empty + 1 } else { 0 };
            if empty == EMPTY_PAGES_MAX {
                break;
            }
            offset += listed.count.max(1);
            for entry in listed.entries {
                if !found.contains(&entry.name) {
                    found.push(entry.name);
                }
            }
        }
        found
    }

    /// What the job finds; `picks` say which page on its way is answered next, and how.
    fn list_ahead(self, items: &[Item], picks: &[u8]) -> Vec<Vec<u8>> {
        let mut job = ListJob::new(b"/".to_vec(), false);
        let (mut flying, mut found) = (Vec::new(), Vec::new());
        for pick in picks.iter().cycle().take(100 * (items.len() + 10)) {
            flying.extend(ask_all(&mut job));
            assert!(!flying.is_empty() && flying.len() <= crate::mavftp::transfer::PAGES_MAX);
            let offset = flying.remove(usize::from(*pick) % flying.len());
            if *pick == 77 {
                job.unask(offset);
                continue;
            }
            let traffic = match pick % 7 {
                0 => Traffic::Lossy,
                1 => Traffic::Crowded,
                _ => FREE,
            };
            let page = self.page(items, offset).map(|text| page(&text));
            let answer = page.unwrap_or_else(|_| Payload::request(Opcode::Nak));
            let result = page.map(|_| ());
            match job.answered(offset, result, &answer, traffic) {
                ListStep::Page(entries) => found.extend(entries),
                ListStep::Early => {}
                ListStep::Done(entries) => {
                    found.extend(entries);
                    return found.into_iter().map(|entry| entry.name).collect();
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("no end")
    }
}

fn items() -> impl Strategy<Value = Vec<Item>> {
    let item = prop_oneof![
        40 => (0usize..60).prop_map(Item::Plain),
        10 => (60usize..220).prop_map(Item::Plain),
        5 => Just(Item::Skipped),
        5 => Just(Item::Hidden),
        1 => Just(Item::TooLong),
    ];
    let short = (0usize..20).prop_map(Item::Plain);
    prop_oneof![proptest::collection::vec(item, 0..300), proptest::collection::vec(short, 0..900)]
}

proptest! {
    #[test]
    fn what_is_asked_ahead_finds_what_one_page_after_another_does(
        items in items(),
        picks in proptest::collection::vec(any::<u8>(), 1..40),
        empty in any::<bool>(),
    ) {
        prop_assume!(picks.iter().any(|pick| *pick != 77));
        let pager = if empty { Pager::Empty } else { Pager::Ends };
        prop_assert_eq!(pager.list_ahead(&items, &picks), pager.list_in_lock_step(&items));
    }
}
