//! What the kernel was told and must not believe any longer: collected here, taken by a thread that
//! owes nobody an answer. Must not know how the kernel is told (`fuse`).

use std::sync::Arc;

use event_listener::Event;
use parking_lot::MutexGuard;

use super::handles::{Handle, Listed, VersionRead};
use super::inodes::{Ino, Parting, Place, Used};
use super::{Fs, State};
use crate::cache::{News, VolumeId};
use crate::remote::{Kind, Name};

/// More than this does not wait: what is lost is asked for again when its time is over.
const NOTICES_MAX: usize = 4096;

/// More names that are not there are not remembered: the kernel asks for them again in time.
const ABSENT_MAX: usize = 1024;

/// Something that the kernel holds and that is not so any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A file's attributes, and its bytes from an offset on.
    Content {
        /// The file.
        ino: Ino,
        /// The first byte that may be another.
        from: u64,
    },
    /// What a name stands for.
    Name {
        /// The directory.
        parent: Ino,
        /// The name in it.
        name: Vec<u8>,
    },
}

impl Fs {
    /// What the kernel must be told, once. Never waits. Also notices that the far side is another
    /// one by now, so it is to be called now and then.
    pub fn take_notices(&self) -> Vec<Notice> {
        let news = self.cache.take_news();
        let mut state = self.synced();
        for news in news {
            state.translate(news);
        }
        std::mem::take(&mut state.notices)
    }

    /// Is notified when there is something to take.
    pub fn notices_event(&self) -> Arc<Event> {
        self.noticed.clone()
    }

    /// The file behind a handle, when it has more bytes by now than the kernel was told.
    pub fn outgrown(&self, handle: Handle) -> Option<Ino> {
        let (ino, read) = {
            let state = self.state.lock();
            let open = state.handles.file(handle)?;
            (open.ino, open.file.clone()?)
        };
        let size = read.file.version().ok()?.size;
        let state = self.state.lock();
        let is_more = !state.staged.contains_key(&ino)
            && state.inodes.shown(ino).is_some_and(|shown| shown.size < size);
        is_more.then_some(ino)
    }

    /// The state, in which nothing stands for a place on another vehicle or server than the one that
    /// answers now, unless what it shows can decide whether it is another.
    pub(super) fn synced(&self) -> MutexGuard<'_, State> {
        let far = self.cache.far_side(self.volume);
        let mut state = self.state.lock();
        if far.epoch > state.epoch {
            let is_other = far.last_other > state.epoch;
            state.epoch = far.epoch;
            state.meet_far_side(self.volume, is_other);
            self.noticed.notify(usize::MAX);
        }
        state
    }

    /// There are notices to take.
    pub(super) fn tell_kernel(&self) {
        self.noticed.notify(usize::MAX);
    }

    /// [`State::part_from_old_readers`].
    pub(super) fn part_from_old_readers(&self, ino: Ino) -> bool {
        let parted = self.state.lock().part_from_old_readers(ino);
        if parted {
            self.noticed.notify(usize::MAX);
        }
        parted
    }
}

impl State {
    /// All handles of an inode share the kernel's pages. When another station replaced a file that
    /// is still open here, its name goes to a new inode, or old and new readers would get a mixture:
    /// the old inode keeps the attributes that it had. True then; told that the inode is stale, the
    /// kernel looks the name up again.
    pub(super) fn part_from_old_readers(&mut self, ino: Ino) -> bool {
        let Some(place) = self.inodes.place(ino).cloned() else { return false };
        let contents = self.inodes.contents(ino);
        let is_old = |read: &VersionRead| read.contents == contents && read.file.is_outdated();
        if self.staged.contains_key(&ino) || !self.handles.versions_read(ino).iter().any(is_old) {
            return false;
        }
        self.give_up_name(&place, ino);
        true
    }

    /// The name of a file is gone or another's; who has it open goes on with what is known of it.
    pub(super) fn give_up_name(&mut self, place: &Place, ino: Ino) {
        let last = self.inodes.shown_entry(ino);
        self.note_name(place);
        self.inodes.orphan(place, last);
    }

    /// The kernel must look a name up again.
    pub(super) fn note_name(&mut self, place: &Place) {
        let (Some(parent), Some(name)) = (place.path.parent(), place.path.name()) else { return };
        if let Some(parent) = self.inodes.find(&place.at(parent)) {
            self.note(Notice::Name { parent, name: name.as_bytes().to_vec() });
        }
    }

    /// The kernel is told that a name is not there, and may remember that.
    pub(super) fn note_absent(&mut self, parent: Ino, name: Name) {
        if self.absent.len() >= ABSENT_MAX {
            self.absent.pop_front();
        }
        self.absent.push_back((parent, name));
    }

    fn note(&mut self, notice: Notice) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push(notice);
        }
    }

    fn translate(&mut self, news: News) {
        match news {
            News::Content { volume, path, from } => {
                let Some(ino) = self.inodes.find(&Place { volume, path }) else { return };
                // What old readers have of it in the kernel's pages stays theirs.
                if !self.part_from_old_readers(ino) && !self.staged.contains_key(&ino) {
                    self.note(Notice::Content { ino, from });
                }
            }
            News::Name { volume, path } => self.note_name(&Place { volume, path }),
        }
    }

    /// Another vehicle or server answers now, or one that may be another: what the kernel holds of it
    /// goes. No file here stands for one of another; one that may be the same keeps its number, and so
    /// does who has it open, if the cache can find out. Directories stay, so that a shell in one sees
    /// what is there now; what has a staged copy keeps its place, for who saves it must know for whom
    /// it was meant.
    fn meet_far_side(&mut self, volume: VolumeId, is_other: bool) {
        for Used { ino, kind, parent, name } in self.inodes.all_used(volume) {
            if self.staged.contains_key(&ino) {
                continue;
            }
            self.note(Notice::Content { ino, from: 0 });
            // To look a directory up again would take it from under whoever is in it.
            if let (Kind::File, Some(parent), Some(name)) = (kind, parent, name) {
                self.note(Notice::Name { parent, name: name.as_bytes().to_vec() });
            }
        }
        for (parent, name) in std::mem::take(&mut self.absent) {
            self.note(Notice::Name { parent, name: name.as_bytes().to_vec() });
        }
        let State { inodes, handles, staged, .. } = self;
        let lost = handles.that_cannot_go_on(|ino| inodes.contents(ino));
        inodes.part_files(volume, |ino| match staged.contains_key(&ino) {
            true => Parting::None,
            false if is_other || lost.contains(&ino) => Parting::Place,
            false => Parting::Time,
        });
        handles.directories_are(if is_other { Listed::Gone } else { Listed::InDoubt });
    }
}
