//! Results of [`Fs`](crate::fs::Fs) as replies to the kernel: the same shape for every request of a
//! kind. Must not know which request it was.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use fuser::{
    Errno, FileAttr, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyXattr,
};

use super::translate::{file_type, open_flags};
use crate::fs::{DirectoryEntry, Fs, Handle, Opened};

/// Our inode numbers are never used twice, so there is but one generation.
const GENERATION: Generation = Generation(0);

/// Attributes, and how long the kernel may keep them.
pub(super) type Shown = (Duration, FileAttr);

/// Done, or why not.
pub(super) fn empty(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

/// What a name stands for; nothing, when the number of the inode is 0.
pub(super) fn entry(result: Result<Shown, Errno>, reply: ReplyEntry) {
    match result {
        Ok((time, attr)) => reply.entry(&time, &attr, GENERATION),
        Err(errno) => reply.error(errno),
    }
}

/// Attributes.
pub(super) fn attr(result: Result<Shown, Errno>, reply: ReplyAttr) {
    match result {
        Ok((time, attr)) => reply.attr(&time, &attr),
        Err(errno) => reply.error(errno),
    }
}

/// An open file.
pub(super) fn opened(result: Result<Opened, Errno>, reply: ReplyOpen) {
    match result {
        Ok(opened) => reply.opened(FileHandle(opened.handle.0), open_flags(&opened)),
        Err(errno) => reply.error(errno),
    }
}

/// An open directory.
pub(super) fn directory_opened(result: Result<Handle, Errno>, reply: ReplyOpen) {
    match result {
        Ok(handle) => reply.opened(FileHandle(handle.0), FopenFlags::empty()),
        Err(errno) => reply.error(errno),
    }
}

/// A file that was made and opened.
pub(super) fn created(result: Result<(Shown, Opened), Errno>, reply: ReplyCreate) {
    match result {
        Ok(((time, attr), opened)) => {
            let handle = FileHandle(opened.handle.0);
            reply.created(&time, &attr, GENERATION, handle, open_flags(&opened));
        }
        Err(errno) => reply.error(errno),
    }
}

/// An extended attribute for a caller who has room for `size` bytes; 0 asks for the length.
pub(super) fn xattr(result: Result<Vec<u8>, Errno>, size: u32, reply: ReplyXattr) {
    match result {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(&value),
        Err(errno) => reply.error(errno),
    }
}

/// As many lines of a directory as fit.
pub(super) fn directory(result: Result<Vec<DirectoryEntry>, Errno>, mut reply: ReplyDirectory) {
    let entries = match result {
        Ok(entries) => entries,
        Err(errno) => return reply.error(errno),
    };
    for entry in &entries {
        let (ino, kind) = (INodeNo(entry.ino.0), file_type(entry.attr.kind));
        if reply.add(ino, entry.cookie, kind, OsStr::from_bytes(&entry.name)) {
            break;
        }
    }
    reply.ok();
}

/// The same with attributes, as `shown` gives them. Each counts as a lookup.
pub(super) fn directory_plus(
    result: Result<Vec<DirectoryEntry>, Errno>,
    shown: impl Fn(&DirectoryEntry) -> Shown,
    fs: &Fs,
    mut reply: ReplyDirectoryPlus,
) {
    let entries = match result {
        Ok(entries) => entries,
        Err(errno) => return reply.error(errno),
    };
    for entry in &entries {
        let (ino, (time, attr)) = (INodeNo(entry.ino.0), shown(entry));
        let name = OsStr::from_bytes(&entry.name);
        if reply.add(ino, entry.cookie, name, &time, &attr, GENERATION) {
            break;
        }
        // The kernel counts a lookup of each but these two; it may forget at once.
        if !matches!(&entry.name[..], b"." | b"..") {
            fs.looked_up(entry.ino);
        }
    }
    reply.ok();
}
