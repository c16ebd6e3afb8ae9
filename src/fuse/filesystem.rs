//! The kernel's requests one by one: each arm names the call of [`Fs`] and shapes the reply.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crossbeam_channel::Sender;
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags,
    Generation, INodeNo, IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags,
    PollNotifier, RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen,
    ReplyPoll, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::Options;
use super::callers::closing;
use super::parking::{Parking, guarded};
use super::translate::{add_capabilities, file_attr, file_type, no_entry, open_flags, seconds};
use crate::fs::{Fs, Handle, Ino, SetAttr};

/// Our inode numbers are never used twice, so there is but one generation.
const GENERATION: Generation = Generation(0);

/// Requests that are always refused: the errno, the request, its arguments and its reply.
macro_rules! refused {
    ($($errno:ident: $request:ident($($argument:ty),*; $reply:ty);)*) => {$(
        fn $request(&self, _: &Request, $(_: $argument,)* reply: $reply) {
            reply.error(Errno::$errno);
        }
    )*};
}

/// Answers the kernel's requests. Dropped when the mount has ended.
pub(super) struct Requests {
    fs: Arc<Fs>,
    parking: Parking,
    write_bytes_max: u32,
    read_ahead_bytes_max: u32,
    attribute_time: Duration,
    negative_time: Duration,
    /// Closes its channel when dropped, which is how the mount's end is noticed.
    _alive: Sender<Infallible>,
}

impl Requests {
    /// Makes ready to answer.
    pub(super) fn start(
        fs: Arc<Fs>,
        options: &Options,
        alive: Sender<Infallible>,
    ) -> io::Result<Requests> {
        Ok(Requests {
            fs,
            parking: Parking::start()?,
            write_bytes_max: options.write_bytes_max,
            read_ahead_bytes_max: options.read_ahead_bytes_max,
            attribute_time: options.attribute_time,
            negative_time: options.negative_time,
            _alive: alive,
        })
    }
}

impl Filesystem for Requests {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        add_capabilities(config);
        // A kernel that offers less than we allow keeps its own, lesser limit.
        let _ = config.set_max_write(self.write_bytes_max);
        let _ = config.set_max_readahead(self.read_ahead_bytes_max);
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let (fs, name, negative) = (self.fs.clone(), bytes(name), self.negative_time);
        let time = self.attribute_time;
        let work = async move { fs.lookup(Ino(parent.0), &name).await };
        self.parking.answer("lookup", work, move |result| match result {
            Ok(attr) => reply.entry(&time, &file_attr(&attr), GENERATION),
            Err(errno) if errno == Errno::ENOENT && !negative.is_zero() => {
                reply.entry(&negative, &no_entry(), GENERATION);
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        guarded("forget", || self.fs.forget(Ino(ino.0), count));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        let (fs, handle) = (self.fs.clone(), handle.map(|handle| Handle(handle.0)));
        let time = self.attribute_time;
        let work = async move { fs.getattr(Ino(ino.0), handle).await };
        self.parking.answer("getattr", work, move |result| match result {
            Ok(attr) => reply.attr(&time, &file_attr(&attr)),
            Err(errno) => reply.error(errno),
        });
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let (fs, handle) = (self.fs.clone(), handle.map(|handle| Handle(handle.0)));
        let change = SetAttr { size, mtime: mtime.map(seconds) };
        let time = self.attribute_time;
        let work = async move { fs.setattr(Ino(ino.0), handle, change).await };
        self.parking.answer("setattr", work, move |result| match result {
            Ok(attr) => reply.attr(&time, &file_attr(&attr)),
            Err(errno) => reply.error(errno),
        });
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        reply: ReplyEntry,
    ) {
        let (fs, name) = (self.fs.clone(), bytes(name));
        let time = self.attribute_time;
        let work = async move { fs.mkdir(Ino(parent.0), &name).await };
        self.parking.answer("mkdir", work, move |result| match result {
            Ok(attr) => reply.entry(&time, &file_attr(&attr), GENERATION),
            Err(errno) => reply.error(errno),
        });
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name) = (self.fs.clone(), bytes(name));
        let work = async move { fs.unlink(Ino(parent.0), &name).await };
        self.parking.answer("unlink", work, |result| finish(result, reply));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name) = (self.fs.clone(), bytes(name));
        let work = async move { fs.rmdir(Ino(parent.0), &name).await };
        self.parking.answer("rmdir", work, |result| finish(result, reply));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
            // Exchange and whiteout: no protocol has them.
            return reply.error(Errno::EINVAL);
        }
        let no_replace = flags.contains(RenameFlags::RENAME_NOREPLACE);
        let (fs, name, new_name) = (self.fs.clone(), bytes(name), bytes(new_name));
        let work = async move {
            fs.rename(Ino(parent.0), &name, Ino(new_parent.0), &new_name, no_replace).await
        };
        self.parking.answer("rename", work, |result| finish(result, reply));
    }

    fn open(&self, _: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let fs = self.fs.clone();
        let work = async move { fs.open(Ino(ino.0), flags.0).await };
        self.parking.answer("open", work, move |result| match result {
            Ok(opened) => reply.opened(FileHandle(opened.handle.0), open_flags(&opened)),
            Err(errno) => reply.error(errno),
        });
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (fs, name) = (self.fs.clone(), bytes(name));
        let time = self.attribute_time;
        let work = async move { fs.create(Ino(parent.0), &name, flags).await };
        self.parking.answer("create", work, move |result| match result {
            Ok((attr, opened)) => reply.created(
                &time,
                &file_attr(&attr),
                GENERATION,
                FileHandle(opened.handle.0),
                open_flags(&opened),
            ),
            Err(errno) => reply.error(errno),
        });
    }

    fn read(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let fs = self.fs.clone();
        let work = async move { fs.read(Handle(handle.0), offset, size as usize).await };
        self.parking.answer("read", work, move |result| match result {
            Ok(data) => reply.data(&data),
            Err(errno) => reply.error(errno),
        });
    }

    fn write(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (fs, data) = (self.fs.clone(), data.to_vec());
        let work = async move { fs.write(Handle(handle.0), offset, data).await };
        self.parking.answer("write", work, move |result| match result {
            Ok(count) => reply.written(count),
            Err(errno) => reply.error(errno),
        });
    }

    fn flush(
        &self,
        request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let (fs, closing) = (self.fs.clone(), closing(request.pid()));
        let work = async move { fs.flush(Handle(handle.0), closing).await };
        self.parking.answer("flush", work, |result| finish(result, reply));
    }

    fn fsync(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _data_only: bool,
        reply: ReplyEmpty,
    ) {
        let fs = self.fs.clone();
        let work = async move { fs.fsync(Handle(handle.0)).await };
        self.parking.answer("fsync", work, |result| finish(result, reply));
    }

    fn release(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        let fs = self.fs.clone();
        let work = async move { fs.release(Handle(handle.0)).await };
        self.parking.answer_always("release", work, |result| finish(result, reply));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let fs = self.fs.clone();
        let work = async move { fs.opendir(Ino(ino.0)).await };
        self.parking.answer("opendir", work, move |result| match result {
            Ok(handle) => reply.opened(FileHandle(handle.0), FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        });
    }

    fn readdir(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        cookie: u64,
        mut reply: ReplyDirectory,
    ) {
        let fs = self.fs.clone();
        let work = async move { fs.readdir(Handle(handle.0), cookie).await };
        self.parking.answer("readdir", work, move |result| match result {
            Ok(entries) => {
                for entry in &entries {
                    let kind = file_type(entry.attr.kind);
                    let name = OsStr::from_bytes(&entry.name);
                    if reply.add(INodeNo(entry.ino.0), entry.cookie, kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(errno) => reply.error(errno),
        });
    }

    fn readdirplus(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        cookie: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let (fs, reading) = (self.fs.clone(), self.fs.clone());
        let time = self.attribute_time;
        let work = async move { reading.readdir(Handle(handle.0), cookie).await };
        self.parking.answer("readdirplus", work, move |result| match result {
            Ok(entries) => {
                for entry in &entries {
                    let (ino, attr) = (INodeNo(entry.ino.0), file_attr(&entry.attr));
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
            Err(errno) => reply.error(errno),
        });
    }

    fn releasedir(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        guarded("releasedir", || self.fs.releasedir(Handle(handle.0)));
        reply.ok();
    }

    fn statfs(&self, _: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        guarded("statfs", || {
            let all = self.fs.statfs();
            let (free, size) = (all.blocks_free, all.block_size);
            reply.statfs(
                all.blocks,
                free,
                free,
                all.files,
                all.files_free,
                size,
                all.name_bytes_max,
                size,
            );
        });
    }

    fn access(&self, _: &Request, _ino: INodeNo, _mask: AccessFlags, reply: ReplyEmpty) {
        // The kernel checks the permission bits itself (`default_permissions`).
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        // Changes of names are on the vehicle before their request is answered.
        reply.ok();
    }

    // What no protocol has. After ENOSYS the kernel does not ask again: it tells programs that
    // attributes and preallocation are not supported, and seeks, copies and locks by itself.
    refused! {
        EPERM: mknod(INodeNo, &OsStr, u32, u32, u32; ReplyEntry);
        EPERM: symlink(INodeNo, &OsStr, &Path; ReplyEntry);
        EPERM: link(INodeNo, INodeNo, &OsStr; ReplyEntry);
        EINVAL: readlink(INodeNo; ReplyData);
        EINVAL: bmap(INodeNo, u32, u64; ReplyBmap);
        ENOTTY: ioctl(INodeNo, FileHandle, IoctlFlags, u32, &[u8], u32; ReplyIoctl);
        ENOSYS: setxattr(INodeNo, &OsStr, &[u8], i32, u32; ReplyEmpty);
        ENOSYS: getxattr(INodeNo, &OsStr, u32; ReplyXattr);
        ENOSYS: listxattr(INodeNo, u32; ReplyXattr);
        ENOSYS: removexattr(INodeNo, &OsStr; ReplyEmpty);
        ENOSYS: fallocate(INodeNo, FileHandle, u64, u64, i32; ReplyEmpty);
        ENOSYS: lseek(INodeNo, FileHandle, i64, i32; ReplyLseek);
        ENOSYS: copy_file_range(
            INodeNo, FileHandle, u64, INodeNo, FileHandle, u64, u64, CopyFileRangeFlags; ReplyWrite
        );
        ENOSYS: poll(INodeNo, FileHandle, PollNotifier, PollEvents, PollFlags; ReplyPoll);
        ENOSYS: getlk(INodeNo, FileHandle, LockOwner, u64, u64, i32, u32; ReplyLock);
        ENOSYS: setlk(INodeNo, FileHandle, LockOwner, u64, u64, i32, u32, bool; ReplyEmpty);
    }
}

fn bytes(name: &OsStr) -> Vec<u8> {
    name.as_bytes().to_vec()
}

fn finish(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}
