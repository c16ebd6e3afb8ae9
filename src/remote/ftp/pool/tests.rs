//! Which seat gets which job.

use std::io;

use super::*;
use crate::remote::{Error, Pull, Reply, Sink, Source, WriteMode};

const SHORT: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Ends(Mutex<Vec<Result<Reply, Error>>>);

impl Sink for Ends {
    fn done(&self, result: Result<Reply, Error>) {
        self.0.lock().push(result);
    }
}

struct Nothing;

impl Source for Nothing {
    fn pull(&self, _: u64, _: &mut [u8]) -> Pull {
        Pull::End
    }
}

fn path(name: &str) -> RemotePath {
    RemotePath::parse(name.as_bytes()).unwrap()
}

fn size(id: u64, class: Class) -> Job {
    Job::new(OpId(id), Op::Size { path: path("/s") }, class, SHORT, Arc::new(Ends::default()))
}

fn read(id: u64, name: &str, offset: u64) -> Job {
    let op = Op::Read { path: path(name), offset, length: 100, expected: None };
    Job::new(OpId(id), op, Class::Demand, SHORT, Arc::new(Ends::default()))
}

fn write(id: u64) -> Job {
    let op = Op::Write { path: path("/w"), mode: WriteMode::Replace, source: Arc::new(Nothing) };
    Job::new(OpId(id), op, Class::Write, SHORT, Arc::new(Ends::default()))
}

fn standing(name: &str, at: u64) -> Option<Standing> {
    Some(Standing { path: path(name), at })
}

/// The job that a seat takes now, if it takes one at once.
fn taken(seat: &Seat) -> Option<u64> {
    let is_mine = seat.pool.state.lock().next_for(seat.number, Instant::now()).is_some();
    match is_mine.then(|| seat.next())? {
        Task::Run(job) => Some(job.id.0),
        Task::CloseStream | Task::StayAlive | Task::Leave | Task::End => None,
    }
}

fn seats<const N: usize>() -> (Arc<Pool>, [Seat; N]) {
    let pool = Pool::new(N, SHORT);
    let seats = std::array::from_fn(|at| pool.seat(at));
    seats.iter().for_each(|seat| seat.rest(None, true));
    (pool, seats)
}

#[test]
fn the_lesser_class_goes_first_and_the_older_within_it() {
    let (pool, [seat]) = seats();
    for (id, class) in [(1, Class::ReadAhead), (2, Class::Demand), (3, Class::Demand)] {
        pool.push(size(id, class));
    }
    pool.raise(OpId(1), Class::Metadata);
    let mut order = Vec::new();
    while let Some(id) = taken(&seat) {
        order.push(id);
        seat.release();
        seat.rest(None, true);
    }
    assert_eq!(order, [1, 2, 3]);
}

#[test]
fn who_reads_on_gets_the_stream_that_stands_there() {
    let (pool, [first, second]) = seats();
    second.rest(standing("/a", 100), true);
    pool.push(read(1, "/a", 100));
    assert_eq!((taken(&first), taken(&second)), (None, Some(1)));
    // Also while that is still read from.
    pool.push(read(2, "/a", 200));
    assert_eq!(taken(&first), None);
    pool.push(read(3, "/a", 0));
    pool.push(read(4, "/b", 200));
    assert_eq!(taken(&first), Some(3));
    second.release();
    second.rest(standing("/a", 200), true);
    assert_eq!(taken(&second), Some(2));
}

#[test]
fn what_is_fetched_far_ahead_waits_for_the_stream_that_comes_there() {
    let (pool, [first, second]) = seats();
    pool.push(read(1, "/a", 0));
    assert_eq!(taken(&first), Some(1));
    let far = 100 + SKIP_BYTES_MAX + 1;
    let ahead = Op::Read { path: path("/a"), offset: far, length: 100, expected: None };
    let sink = Arc::new(Ends::default());
    pool.push(Job::new(OpId(2), ahead, Class::ReadAhead, SHORT, sink));
    assert_eq!(taken(&second), None);
    // Who waits for it does not.
    pool.raise(OpId(2), Class::Demand);
    assert_eq!(taken(&second), Some(2));
}

#[test]
fn a_stream_does_not_pass_over_what_somebody_wants() {
    let (pool, [seat]) = seats();
    seat.rest(standing("/a", 100), true);
    pool.push(read(1, "/a", 300));
    pool.push(read(2, "/a", 200));
    pool.push(read(3, "/a", 100 + SKIP_BYTES_MAX + 1));
    assert_eq!(taken(&seat), Some(2));
}

#[test]
fn another_connection_is_made_before_a_fresh_stream_is_closed() {
    let (pool, [first, second]) = seats();
    first.rest(standing("/a", 100), true);
    second.rest(None, false);
    pool.push(size(1, Class::Metadata));
    assert_eq!((taken(&first), taken(&second)), (None, None), "it may read on in a moment");
    std::thread::sleep(CONNECTING_AFTER);
    assert_eq!((taken(&first), taken(&second)), (None, Some(1)));
    second.give_back(size(1, Class::Metadata), true);
    assert!(second.is_spare() && !pool.has_several());
    assert_eq!((taken(&second), taken(&first)), (None, Some(1)), "there is no other");
}

#[test]
fn a_stream_of_a_file_that_we_change_is_not_read_on() {
    let rename = |from: &str, to: &str| {
        let op = Op::Rename { from: path(from), to: path(to) };
        Job::new(OpId(9), op, Class::Metadata, SHORT, Arc::new(Ends::default()))
    };
    for (from, to) in [("/d/a", "/x"), ("/x", "/d/a"), ("/d", "/e")] {
        let (pool, [first, second]) = seats();
        second.rest(standing("/d/a", 100), true);
        pool.push(rename(from, to));
        assert_eq!((taken(&first), taken(&second)), (None, Some(9)), "it is closed first");
        assert_eq!(second.take_staleness(), (true, 2));
        // One that was opened while the change was made.
        pool.push(read(1, "/d/a", 0));
        assert_eq!(taken(&first), Some(1));
        second.release();
        second.rest(None, true);
        first.release();
        first.rest(standing("/d/a", 100), true);
        assert!(matches!(first.next(), Task::CloseStream));
        assert_eq!(first.take_staleness(), (true, 4));
    }
    let (pool, [first, second]) = seats();
    second.rest(standing("/d/a", 100), true);
    pool.push(rename("/d/b", "/d/c"));
    assert_eq!((taken(&first), second.take_staleness().0), (Some(9), false));
}

#[test]
fn uploads_leave_one_connection_to_others() {
    let (pool, [first, second]) = seats();
    pool.push(write(1));
    pool.push(write(2));
    assert_eq!((taken(&first), taken(&second)), (Some(1), None));
    pool.push(size(3, Class::Demand));
    assert_eq!(taken(&second), Some(3));
    // A single connection takes them one after the other.
    let (pool, [only]) = seats();
    pool.push(write(1));
    assert_eq!(taken(&only), Some(1));
}

#[test]
fn more_that_comes_while_the_source_is_asked_is_not_lost() {
    let (pool, [seat]) = seats();
    pool.push(write(1));
    assert_eq!(taken(&seat), Some(1));
    seat.expect_more();
    pool.more(OpId(1));
    assert!(seat.wait_for_more(false).is_ok());
    seat.expect_more();
    let kind = |result: io::Result<()>| result.map_err(|error| error.kind());
    assert_eq!(kind(seat.wait_for_more(false)), Err(io::ErrorKind::TimedOut));
    assert!(pool.cancel(OpId(1)).is_none());
    assert_eq!(kind(seat.wait_for_more(false)), Err(io::ErrorKind::ConnectionAborted));
}

#[test]
fn an_idle_upload_gives_way_to_who_waits() {
    let (pool, [first, second]) = seats();
    pool.push(write(1));
    assert_eq!(taken(&first), Some(1));
    pool.push(write(2));
    assert_eq!(taken(&second), None);
    first.expect_more();
    let kind = first.wait_for_more(true).map_err(|error| error.kind());
    assert_eq!(kind, Err(io::ErrorKind::ResourceBusy));
}

#[test]
fn who_has_waited_for_too_long_is_told() {
    let (pool, [seat]) = seats();
    pool.push(write(1));
    assert_eq!(taken(&seat), Some(1));
    pool.push(size(2, Class::Metadata));
    pool.push(write(3));
    assert!(seat.overdue().is_empty());
    std::thread::sleep(SHORT);
    let overdue: Vec<_> = seat.overdue().iter().map(|job| job.id.0).collect();
    assert_eq!(overdue, [2]);
}

#[test]
fn a_job_that_no_connection_is_left_for_is_handed_back() {
    let (pool, [first, second]) = seats();
    second.rest(None, false);
    first.rest(None, false);
    pool.push(size(1, Class::Metadata));
    pool.push(size(2, Class::Metadata));
    assert_eq!((taken(&first), taken(&second)), (Some(1), Some(2)));
    assert!(first.give_back(size(1, Class::Metadata), true).is_some());
    assert!(second.give_back(size(2, Class::Metadata), true).is_some());
    // Barred or not, somebody has to try.
    pool.push(size(3, Class::Metadata));
    assert_eq!(taken(&first), Some(3));
}

#[test]
fn a_job_that_was_cancelled_while_a_connection_was_made_is_not_begun_on_another() {
    let (pool, [first, second]) = seats();
    second.rest(None, false);
    pool.push(size(1, Class::Metadata));
    pool.push(size(2, Class::Metadata));
    assert_eq!(taken(&first), Some(1));
    std::thread::sleep(CONNECTING_AFTER);
    assert_eq!(taken(&second), Some(2));
    assert!(pool.cancel(OpId(2)).is_none());
    let handed_back = second.give_back(size(2, Class::Metadata), true);
    assert!(handed_back.is_some_and(|(_, cancelled)| cancelled));
}

#[test]
fn who_asks_for_a_size_doubts_what_is_open() {
    let (pool, [first, second]) = seats();
    first.rest(standing("/s", 100), true);
    pool.push(size(1, Class::Metadata));
    assert_eq!((taken(&second), taken(&first)), (None, Some(1)));
    assert!(first.take_staleness().0);
}
