//! Saving a whole file so that its name never stands for half of it: upload under a temporary name,
//! check size and checksum, rename over the target. Written over the trait [`Remote`], so that a mount
//! and a plain `put` save alike on every far side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::ask::{ask, ask_as};
use super::{Class, Error, Name, Op, OpId, Pull, Remote, RemotePath, Reply};
use super::{Sink, Source, WriteMode};
use crate::mavftp::wire::Checksum;

const PREFIX: &[u8] = b".mavftp-";
const SUFFIX: &[u8] = b"~";

/// Larger files are not compared by checksum: an autopilot answers nothing else while it reads one.
const CHECKED_BYTES_MAX: u64 = 2 << 20;
/// A file whose bytes arrived wrong is sent so often in all.
const ATTEMPTS: u32 = 2;

/// How a file is saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Under which name it is sent.
    pub mode: UploadMode,
    /// What is compared before the upload counts as done.
    pub verify: Verify,
}

/// Under which name an upload is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum UploadMode {
    /// A temporary name in the same folder, renamed over the target: never half a file.
    #[default]
    Temp,
    /// The target itself: a cut link leaves a torn file there.
    Direct,
}

/// What is compared before an upload counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Verify {
    /// The size, and the checksum of files up to 2 MiB.
    #[default]
    Auto,
    /// The size.
    Size,
    /// Size and checksum, however large.
    Crc,
    /// Nothing: every block was acknowledged.
    None,
}

/// Whether a name is one that [`save`] gives to unfinished uploads; listings hide them.
pub fn is_temporary(name: &Name) -> bool {
    let bytes = name.as_bytes();
    bytes.len() == PREFIX.len() + 8 + SUFFIX.len()
        && bytes.starts_with(PREFIX)
        && bytes.ends_with(SUFFIX)
        && bytes[PREFIX.len()..bytes.len() - SUFFIX.len()].iter().all(u8::is_ascii_hexdigit)
}

/// Stores `length` bytes from `source` as `target`, through a temporary name in the same folder;
/// without a length, as many as the source turns out to have, at least one. Returns how many.
///
/// An empty file is created under its own name, and so is one whose two paths do not fit in one
/// rename request. `observer` sees the acknowledgements. `started` gets the operation's id, for
/// a source that answers `Pending`, and the far side's name for where the bytes go, before anything is
/// sent; again for each time the file is sent. After an error the target is as it was,
/// unless it had to be removed to be replaced, which the log says.
///
/// A file of up to 2 MiB is compared by checksum where the server has one, because on a server with a
/// single session id a late datagram of another file can be stored in this one. It is then sent anew.
///
/// Where the far side sets times, the file has that of its source ([`Source::mtime`]) before it gets
/// its name.
pub async fn save(
    remote: &Arc<dyn Remote>,
    (target, policy): (&RemotePath, Policy),
    length: Option<u64>,
    source: Arc<dyn Source>,
    patience: Duration,
    observer: Arc<dyn Sink>,
    started: &(dyn Fn(OpId, &RemotePath) + Sync),
) -> Result<u64, Error> {
    let epoch = remote.status().epoch;
    let temporary = temporary_beside(target).filter(|temporary| {
        let both = temporary.as_bytes().len() + 1 + target.as_bytes().len();
        let fits = both <= remote.status().path_bytes_max + 1;
        length != Some(0) && policy.mode == UploadMode::Temp && fits
    });
    let place = temporary.as_ref().unwrap_or(target);
    let verify = policy.verify;
    // What is not to be compared is not worth a special way.
    let at_once = temporary.is_some() && verify != Verify::None && remote.status().saves;
    let mode = match at_once {
        true => WriteMode::Save { target: target.clone(), length },
        false => WriteMode::Replace,
    };
    let saving =
        Saving { remote, place, length, mode, verify, source, patience, observer, started };
    let written = match saving.write_right().await {
        // What one vehicle's file is to be must not become another's.
        Ok(_) if remote.status().epoch != epoch => Err(Error::Changed),
        written => written,
    };
    let Some(temporary) = temporary.as_ref() else { return written.map(Written::length) };
    let mut replacing = Replacing::default();
    let saved = match written {
        Ok(Written::Renamed(length)) => Ok(length),
        Ok(Written::There(length)) => {
            replacing.replace(remote, temporary, target, patience).await.map(|()| length)
        }
        Err(error) => Err(error),
    };
    if replacing.target_is_gone && saved.is_err() {
        tracing::error!(%target, %temporary, "the old file is removed; the new one has this name");
        return saved;
    }
    // A cut link cannot carry the removal either; the name is hidden and never sent again.
    if saved.is_err() && !matches!(saved, Err(Error::LinkDown | Error::TimedOut)) {
        let removal = Op::Remove { path: temporary.clone() };
        if let Err(error) = ask(remote, removal, Class::Metadata, patience).await {
            tracing::debug!(%temporary, %error, "left an unfinished upload behind");
        }
    }
    saved
}

/// How many bytes were written, and where they are.
enum Written {
    /// Where they were sent to; compared.
    There(u64),
    /// Under the target's name already, compared before.
    Renamed(u64),
}

impl Written {
    fn length(self) -> u64 {
        match self {
            Written::There(length) | Written::Renamed(length) => length,
        }
    }
}

/// One upload and what proves it.
struct Saving<'a> {
    remote: &'a Arc<dyn Remote>,
    place: &'a RemotePath,
    length: Option<u64>,
    mode: WriteMode,
    verify: Verify,
    source: Arc<dyn Source>,
    patience: Duration,
    observer: Arc<dyn Sink>,
    started: &'a (dyn Fn(OpId, &RemotePath) + Sync),
}

impl Saving<'_> {
    /// Writes, and writes anew when other bytes have arrived.
    async fn write_right(&self) -> Result<Written, Error> {
        for _ in 0..ATTEMPTS {
            let sent = Arc::new(Tally::of(self.source.clone()));
            let length = match self.write(sent.clone()).await? {
                renamed @ Written::Renamed(_) => return Ok(renamed),
                Written::There(length) => length,
            };
            if self.arrived_right(&sent, length).await? {
                self.keep_time().await;
                return Ok(Written::There(length));
            }
            tracing::warn!(path = %self.place, "other bytes arrived than were sent");
        }
        Err(Error::Failed("other bytes arrived than were sent; the link mixes up frames".into()))
    }

    async fn write(&self, sent: Arc<Tally>) -> Result<Written, Error> {
        let source = sent.clone();
        let op = Op::Write { path: self.place.clone(), mode: self.mode.clone(), source };
        let observer = self.observer.clone();
        let id = OpId::fresh();
        (self.started)(id, self.place);
        let writing = ask_as(self.remote, id, op, Class::Write, self.patience, observer);
        let reply = writing.await?;
        let length = self.length.unwrap_or_else(|| sent.source_length());
        if reply == Reply::Saved(length) {
            return Ok(Written::Renamed(length));
        }
        expect_size(reply, length)?;
        if self.verify == Verify::None {
            return Ok(Written::There(length));
        }
        match self.ask(Op::Size { path: self.place.clone() }).await {
            Ok(reply) => expect_size(reply, length)?,
            Err(Error::Unsupported) => {}
            Err(error) => return Err(error),
        }
        Ok(Written::There(length))
    }

    async fn arrived_right(&self, sent: &Tally, length: u64) -> Result<bool, Error> {
        let is_summed = match self.verify {
            Verify::Auto => length <= CHECKED_BYTES_MAX,
            Verify::Crc => true,
            Verify::Size | Verify::None => false,
        };
        if length == 0 || !is_summed {
            return Ok(true);
        }
        let Some(expected) = sent.checksum(length) else { return Ok(true) };
        match self.ask(Op::Checksum { path: self.place.clone() }).await {
            Ok(Reply::Checksum(checksum)) => Ok(checksum == expected),
            Ok(Reply::Done | Reply::Size(_) | Reply::Saved(_)) | Err(Error::Unsupported) => {
                Ok(true)
            }
            // A server that has no checksum may say so in any way, or in none. The size is right, and
            // a link that is dead fails the renaming that follows.
            Err(error @ (Error::Failed(_) | Error::Invalid | Error::Denied | Error::TimedOut)) => {
                tracing::warn!(path = %self.place, %error, "compared by size only");
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives the file its source's time, where the server lets it be set. A time is not worth an
    /// upload: a refusal is not told, and a link that is dead fails the renaming that follows.
    async fn keep_time(&self) {
        let mtime = self.source.mtime().filter(|_| self.remote.status().sets_times);
        let Some(mtime) = mtime else { return };
        let path = self.place.clone();
        if let Err(error) = self.ask(Op::SetTime { path, mtime }).await {
            tracing::debug!(path = %self.place, %error, "the time of an upload is not kept");
        }
    }

    async fn ask(&self, op: Op) -> Result<Reply, Error> {
        ask(self.remote, op, Class::Metadata, self.patience).await
    }
}

/// A source whose bytes are added up as they are pulled.
struct Tally {
    source: Arc<dyn Source>,
    sum: Mutex<Sum>,
}

#[derive(Default)]
struct Sum {
    checksum: Checksum,
    /// The offset after the last byte that was added.
    end: u64,
    /// Bytes were left out, so that the sum means nothing.
    broken: bool,
    /// Where the source said that it ends.
    whole: u64,
}

impl Tally {
    fn of(source: Arc<dyn Source>) -> Tally {
        Tally { source, sum: Mutex::default() }
    }

    /// How many bytes the source turned out to have.
    fn source_length(&self) -> u64 {
        self.sum.lock().whole
    }

    /// The checksum of the first `length` bytes, if those are what was pulled.
    fn checksum(&self, length: u64) -> Option<u32> {
        let sum = self.sum.lock();
        (sum.end == length && !sum.broken).then(|| sum.checksum.value())
    }
}

impl Source for Tally {
    fn pull(&self, offset: u64, buffer: &mut [u8]) -> Pull {
        let answer = self.source.pull(offset, buffer);
        match answer {
            Pull::Bytes(count) => self.sum.lock().add(offset, &buffer[..count]),
            Pull::End => self.sum.lock().whole = offset,
            Pull::Pending | Pull::Idle => {}
        }
        answer
    }
    fn mtime(&self) -> Option<i64> {
        self.source.mtime()
    }
}

impl Sum {
    fn add(&mut self, offset: u64, bytes: &[u8]) {
        if offset == 0 {
            *self = Sum::default();
        }
        let known = self.end.checked_sub(offset).map(|known| known as usize);
        match known {
            // What was pulled before is pulled again where an upload goes on.
            Some(known) => {
                let new = bytes.get(known..).unwrap_or_default();
                self.checksum.update(new);
                self.end += new.len() as u64;
            }
            None => self.broken = true,
        }
    }
}

fn expect_size(reply: Reply, length: u64) -> Result<(), Error> {
    match reply {
        Reply::Size(size) if size == length => Ok(()),
        Reply::Size(size) => Err(Error::Failed(format!(
            "{size} bytes of {length} were stored; the disk there may be full"
        ))),
        Reply::Done | Reply::Saved(_) | Reply::Checksum(_) => {
            Err(Error::Failed("the remote answered a write without a size".into()))
        }
    }
}

/// Renames over a file; where the server refuses to replace, removes it first.
pub async fn replace(
    remote: &Arc<dyn Remote>,
    from: &RemotePath,
    to: &RemotePath,
    patience: Duration,
) -> Result<(), Error> {
    Replacing::default().replace(remote, from, to, patience).await
}

/// How far replacing has come.
#[derive(Default)]
struct Replacing {
    /// The old file was removed, or may have been.
    target_is_gone: bool,
}

impl Replacing {
    async fn replace(
        &mut self,
        remote: &Arc<dyn Remote>,
        from: &RemotePath,
        to: &RemotePath,
        patience: Duration,
    ) -> Result<(), Error> {
        let rename = || Op::Rename { from: from.clone(), to: to.clone() };
        match ask(remote, rename(), Class::Metadata, patience).await {
            Ok(_) => Ok(()),
            Err(Error::Exists) => {
                tracing::warn!(%to, "this server cannot replace a file in one step; removing it first");
                let removal = Op::Remove { path: to.clone() };
                let removed = ask(remote, removal, Class::Metadata, patience).await;
                self.target_is_gone = matches!(removed, Ok(_) | Err(Error::TimedOut));
                removed?;
                ask(remote, rename(), Class::Metadata, patience).await.map(drop)
            }
            Err(error) => Err(error),
        }
    }
}

/// Removes an unfinished upload, if it is there. Whether it is, its own size tells: listing a folder
/// for that may take long.
pub async fn remove_temporary(
    remote: &Arc<dyn Remote>,
    path: &RemotePath,
    patience: Duration,
) -> Result<(), Error> {
    let size = Op::Size { path: path.clone() };
    match ask(remote, size, Class::Metadata, patience).await {
        // A server without sizes may have it.
        Ok(_) | Err(Error::Unsupported) => {}
        Err(Error::NotFound) => return Ok(()),
        Err(error) => return Err(error),
    }
    let removal = Op::Remove { path: path.clone() };
    match ask(remote, removal, Class::Metadata, patience).await {
        Ok(_) | Err(Error::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}

pub(super) fn temporary_beside(target: &RemotePath) -> Option<RemotePath> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mixed = (started.as_nanos() as u64 ^ u64::from(std::process::id()) << 40)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(count);
    let name = [PREFIX, format!("{:08x}", mixed as u32).as_bytes(), SUFFIX].concat();
    Some(target.parent()?.join(&Name::parse(&name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::memory::{Bytes, MemoryRemote, run};

    struct Nobody;
    impl Sink for Nobody {
        fn done(&self, _: Result<Reply, Error>) {}
    }

    fn save_in(remote: &Arc<MemoryRemote>, path: &str, bytes: &[u8]) -> Result<(), Error> {
        save_as(remote, path, bytes, Policy::default())
    }

    fn save_as(
        remote: &Arc<MemoryRemote>,
        path: &str,
        bytes: &[u8],
        policy: Policy,
    ) -> Result<(), Error> {
        let far: Arc<dyn Remote> = remote.clone();
        let path = RemotePath::parse(path.as_bytes()).unwrap();
        let source = Arc::new(Bytes(bytes.to_vec()));
        let patience = Duration::from_secs(1);
        let length = Some(bytes.len() as u64);
        let saved = run(
            remote,
            save(&far, (&path, policy), length, source, patience, Arc::new(Nobody), &|_, _| {}),
        );
        saved.map(|stored| assert_eq!(Some(stored), length))
    }

    /// > A save goes to a temporary name in the same folder and is renamed over the target, so that
    /// > the target is the old file or the new one at every moment.
    #[test]
    fn a_file_is_replaced_through_a_temporary_name() {
        let remote = MemoryRemote::with([("/a", &b"old"[..])]);
        save_in(&remote, "/a", b"new content").unwrap();
        assert_eq!(remote.content("/a").unwrap(), b"new content");
        assert_eq!(remote.names("/"), ["a"]);
        assert!(remote.log().iter().any(|op| op.starts_with("Rename")));
    }

    fn asked(remote: &MemoryRemote, what: &str) -> usize {
        remote.log().iter().filter(|op| op.starts_with(what)).count()
    }

    /// > `--upload-mode direct` writes the target itself, without a temporary name and a rename.
    #[test]
    fn directly_saved_bytes_go_under_the_name_itself_and_are_compared_there() {
        let direct = Policy { mode: UploadMode::Direct, ..Policy::default() };
        let remote = MemoryRemote::with([("/a", &b"old"[..])]);
        save_as(&remote, "/a", b"new content", direct).unwrap();
        assert_eq!(remote.content("/a").unwrap(), b"new content");
        assert_eq!(asked(&remote, "Rename") + asked(&remote, "Remove"), 0);
        assert_eq!((asked(&remote, "Write \"/a\""), asked(&remote, "Checksum \"/a\"")), (1, 1));
        remote.fail_next("Size", Error::TimedOut);
        assert_eq!(save_as(&remote, "/a", b"newer", direct), Err(Error::TimedOut));
        assert!(remote.content("/a").is_some(), "a torn file is never removed");
    }

    /// > A file of up to 2 MiB is compared by CRC32 as well, where the server has that; bytes that
    /// > arrived wrong are sent anew, and never renamed over the target.
    #[test]
    fn what_is_compared_is_what_was_asked_for() {
        let cases = [
            (Verify::Auto, 3, (1, 1)),
            (Verify::Auto, CHECKED_BYTES_MAX as usize + 1, (1, 0)),
            (Verify::Size, 3, (1, 0)),
            (Verify::Crc, CHECKED_BYTES_MAX as usize + 1, (1, 1)),
            (Verify::None, 3, (0, 0)),
        ];
        for (verify, length, expected) in cases {
            let remote = MemoryRemote::with([]);
            save_as(&remote, "/a", &vec![7; length], Policy { verify, ..Policy::default() })
                .unwrap();
            assert_eq!(
                (asked(&remote, "Size"), asked(&remote, "Checksum")),
                expected,
                "{verify:?}"
            );
            assert_eq!(remote.content("/a").unwrap(), vec![7; length]);
        }
        let remote = MemoryRemote::with([]);
        remote.garble_writes(1);
        let verify = Policy { verify: Verify::Size, ..Policy::default() };
        save_as(&remote, "/a", b"content", verify).unwrap();
        assert_ne!(remote.content("/a").unwrap(), b"content", "nobody looked");
    }

    #[test]
    fn a_failed_upload_leaves_the_target_as_it_was() {
        let remote = MemoryRemote::with([("/a", &b"old"[..])]);
        remote.fail_next("Size", Error::NoSpace);
        assert_eq!(save_in(&remote, "/a", b"new"), Err(Error::NoSpace));
        assert_eq!(remote.content("/a").unwrap(), b"old");
        assert_eq!(remote.names("/"), ["a"]);
    }

    #[test]
    fn nothing_is_replaced_on_a_vehicle_that_came_in_the_place_of_another() {
        let remote = MemoryRemote::with([("/a", &b"old"[..])]);
        let far: Arc<dyn Remote> = remote.clone();
        let path = RemotePath::parse(b"/a").unwrap();
        let source = Arc::new(Bytes(b"new".to_vec()));
        let swap = |_: OpId, _: &RemotePath| remote.change_status(|status| status.epoch += 1);
        let target = (&path, Policy::default());
        let patience = Duration::from_secs(1);
        let saving = save(&far, target, Some(3), source, patience, Arc::new(Nobody), &swap);
        assert_eq!(run(&remote, saving), Err(Error::Changed));
        assert_eq!(remote.content("/a").unwrap(), b"old");
        assert_eq!(remote.names("/"), ["a"]);
    }

    #[test]
    fn what_was_written_under_its_own_name_on_another_vehicle_is_not_saved() {
        let direct = Policy { mode: UploadMode::Direct, ..Policy::default() };
        for (bytes, policy) in [(&b"new"[..], direct), (&b""[..], Policy::default())] {
            let remote = MemoryRemote::with([]);
            let far: Arc<dyn Remote> = remote.clone();
            let path = RemotePath::parse(b"/a").unwrap();
            let source = Arc::new(Bytes(bytes.to_vec()));
            let swap = |_: OpId, _: &RemotePath| remote.change_status(|status| status.epoch += 1);
            let (length, patience) = (Some(bytes.len() as u64), Duration::from_secs(1));
            let observer = Arc::new(Nobody);
            let saving = save(&far, (&path, policy), length, source, patience, observer, &swap);
            assert_eq!(run(&remote, saving), Err(Error::Changed));
        }
    }

    /// > A file of up to 2 MiB is compared by CRC32 as well, where the server has that; bytes that
    /// > arrived wrong are sent anew, and never renamed over the target.
    #[test]
    fn bytes_that_arrived_wrong_are_sent_anew_and_never_renamed() {
        let remote = MemoryRemote::with([("/a", &b"old"[..])]);
        remote.garble_writes(1);
        save_in(&remote, "/a", b"new content").unwrap();
        assert_eq!(remote.content("/a").unwrap(), b"new content");
        remote.garble_writes(2);
        assert!(matches!(save_in(&remote, "/a", b"newer content"), Err(Error::Failed(_))));
        assert_eq!(remote.content("/a").unwrap(), b"new content");
        assert_eq!(remote.names("/"), ["a"]);
    }

    #[test]
    fn a_server_without_checksums_is_believed_by_size() {
        let remote = MemoryRemote::with([]);
        for error in [Error::Unsupported, Error::Failed("code 1".into()), Error::TimedOut] {
            remote.fail_next("Checksum", error);
            save_in(&remote, "/a", b"content").unwrap();
            assert_eq!(remote.content("/a").unwrap(), b"content");
        }
        remote.fail_next("Checksum", Error::LinkDown);
        assert_eq!(save_in(&remote, "/b", b"content"), Err(Error::LinkDown));
    }

    #[test]
    fn what_is_pulled_again_counts_once() {
        let tally = Tally::of(Arc::new(Bytes(b"123456789".to_vec())));
        let mut buffer = [0; 4];
        for offset in [0, 4, 2, 0, 3, 5, 8] {
            tally.pull(offset, &mut buffer);
        }
        assert_eq!(tally.checksum(9), Some(Checksum::of(b"123456789")));
        let gap = Tally::of(Arc::new(Bytes(b"123456789".to_vec())));
        gap.pull(0, &mut buffer);
        gap.pull(5, &mut buffer);
        assert_eq!(gap.checksum(9), None);
    }

    /// > Where a server will not replace a file by renaming, the old one is removed first; the new
    /// > one is never removed after that, whatever happens.
    #[test]
    fn a_server_that_will_not_replace_is_asked_to_remove_first() {
        let remote = MemoryRemote::with([("/a", &b"old"[..])]);
        remote.fail_next("Rename", Error::Exists);
        save_in(&remote, "/a", b"new").unwrap();
        assert_eq!(remote.content("/a").unwrap(), b"new");
    }

    /// > Where a server will not replace a file by renaming, the old one is removed first; the new
    /// > one is never removed after that, whatever happens.
    #[test]
    fn the_new_file_is_never_removed_after_the_old_one() {
        let remote = MemoryRemote::with([("/a", &b"old"[..])]);
        remote.fail_next("Rename", Error::Exists);
        remote.fail_next("Rename", Error::Armed);
        assert_eq!(save_in(&remote, "/a", b"new"), Err(Error::Armed));
        let names = remote.names("/");
        let [left] = &names[..] else { panic!("{names:?}") };
        assert_eq!(remote.content(&format!("/{left}")).unwrap(), b"new");
    }

    #[test]
    fn an_empty_file_is_created_under_its_own_name() {
        let remote = MemoryRemote::with([]);
        save_in(&remote, "/a", b"").unwrap();
        assert!(remote.log().iter().all(|op| !op.starts_with("Rename")));
        assert_eq!(remote.content("/a").unwrap(), b"");
    }

    #[test]
    fn only_our_own_temporary_names_are_recognised() {
        let name = |text: &str| Name::parse(text.as_bytes()).unwrap();
        assert!(is_temporary(&name(".mavftp-0011aaff~")));
        assert!(!is_temporary(&name(".mavftp-notes.txt~")));
        assert!(!is_temporary(&name(".mavftp-0011aaff")));
    }
}
