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
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, PollEvents, PollFlags, PollNotifier,
    RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLock, ReplyLseek, ReplyOpen, ReplyPoll, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::Options;
use super::callers::{OwnDevice, Users, closing};
use super::notices::{Notices, Teller};
use super::parking::{Parking, guarded};
use super::replies::{self, Shown};
use super::translate::{add_capabilities, file_attr, no_entry, seconds};
use crate::fs::{Access, Attr, Closing, Fs, FsError, Handle, Ino, Opened, SetAttr};

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
    notices: Notices,
    write_bytes_max: u32,
    read_ahead_bytes_max: u32,
    attribute_time: Duration,
    negative_time: Duration,
    /// Which device this mount is.
    pub(super) device: OwnDevice,
    users: Users,
    /// Closes its channel when dropped, which is how the mount's end is noticed.
    _alive: Sender<Infallible>,
}

impl Requests {
    /// Makes ready to answer, and what tells the kernel of changes by itself.
    pub(super) fn start(
        fs: Arc<Fs>,
        options: &Options,
        alive: Sender<Infallible>,
    ) -> io::Result<(Requests, Teller)> {
        let (notices, teller) = Notices::new(fs.notices_event());
        let requests = Requests {
            notices,
            fs,
            parking: Parking::start()?,
            write_bytes_max: options.write_bytes_max,
            read_ahead_bytes_max: options.read_ahead_bytes_max,
            attribute_time: options.attribute_time,
            negative_time: options.negative_time,
            device: OwnDevice::default(),
            users: Users::default(),
            _alive: alive,
        };
        Ok((requests, teller))
    }

    /// Notes who opens a file to change it.
    fn note_user(&self, request: &Request, flags: i32) -> impl FnOnce(&Opened) + Send + 'static {
        let (users, thread) = (self.users.clone(), request.pid());
        move |opened| {
            if Access::parse(flags).changes() {
                users.add(opened.handle, thread);
            }
        }
    }

    /// Turns attributes and the time for which they hold into what is replied.
    fn shown(&self) -> impl Fn(&Attr) -> Shown + Send + 'static {
        let time = self.attribute_time;
        move |attr| (attr.valid.min(time), file_attr(attr))
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
        let shown = self.shown();
        let work = async move {
            match fs.lookup(Ino(parent.0), &name).await {
                Ok(attr) => Ok(shown(&attr)),
                Err(FsError::Absent { valid }) if !valid.min(negative).is_zero() => {
                    Ok((valid.min(negative), no_entry()))
                }
                Err(error) => Err(error),
            }
        };
        self.parking.answer("lookup", work, |result| replies::entry(result, reply));
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        guarded("forget", || self.fs.forget(Ino(ino.0), count));
    }

    fn getattr(&self, _: &Request, ino: INodeNo, handle: Option<FileHandle>, reply: ReplyAttr) {
        let (fs, handle) = (self.fs.clone(), handle.map(|handle| Handle(handle.0)));
        let shown = self.shown();
        let work = async move { fs.getattr(Ino(ino.0), handle).await.map(|attr| shown(&attr)) };
        self.parking.answer("getattr", work, |result| replies::attr(result, reply));
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
        let shown = self.shown();
        let work =
            async move { fs.setattr(Ino(ino.0), handle, change).await.map(|attr| shown(&attr)) };
        self.parking.answer("setattr", work, |result| replies::attr(result, reply));
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
        let shown = self.shown();
        let work = async move { fs.mkdir(Ino(parent.0), &name).await.map(|attr| shown(&attr)) };
        self.parking.answer("mkdir", work, |result| replies::entry(result, reply));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name) = (self.fs.clone(), bytes(name));
        let work = async move { fs.unlink(Ino(parent.0), &name).await };
        self.parking.answer("unlink", work, |result| replies::empty(result, reply));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (fs, name) = (self.fs.clone(), bytes(name));
        let work = async move { fs.rmdir(Ino(parent.0), &name).await };
        self.parking.answer("rmdir", work, |result| replies::empty(result, reply));
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
        self.parking.answer("rename", work, |result| replies::empty(result, reply));
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let (fs, note) = (self.fs.clone(), self.note_user(request, flags.0));
        let work = async move { fs.open(Ino(ino.0), flags.0).await.inspect(note) };
        self.parking.answer("open", work, |result| replies::opened(result, reply));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let (fs, name) = (self.fs.clone(), bytes(name));
        let (shown, note) = (self.shown(), self.note_user(request, flags));
        let work = async move {
            let (attr, opened) = fs.create(Ino(parent.0), &name, flags).await?;
            note(&opened);
            Ok((shown(&attr), opened))
        };
        self.parking.answer("create", work, |result| replies::created(result, reply));
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
        let (fs, notices, handle) = (self.fs.clone(), self.notices.clone(), Handle(handle.0));
        let work = async move {
            let data = fs.read(handle, offset, size as usize).await?;
            // Who reads on finds the rest, and not the end that the kernel was told of.
            if let Some(ino) = fs.outgrown(handle) {
                notices.has_grown(ino).await;
            }
            Ok(data)
        };
        self.parking.answer("read", work, move |result| match result {
            Ok(data) => reply.data(&data),
            Err(errno) => reply.error(errno),
        });
    }

    fn write(
        &self,
        request: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let (fs, data) = (self.fs.clone(), data.to_vec());
        // What the kernel writes back of a mapping, it does on behalf of nobody.
        if !write_flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
            self.users.add(Handle(handle.0), request.pid());
        }
        let work = async move { fs.write(Handle(handle.0), offset, data).await };
        self.parking.answer("write", work, move |result| match result {
            Ok(count) => reply.written(count),
            Err(errno) => reply.error(errno),
        });
    }

    fn flush(
        &self,
        request: &Request,
        ino: INodeNo,
        handle: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        let (fs, caller, handle) = (self.fs.clone(), request.pid(), Handle(handle.0));
        let (users, device) = (self.users.clone(), self.device.clone());
        let work = async move {
            let closing = match fs.has_changes(handle) {
                true => closing(caller, (Ino(ino.0), handle), users, device).await,
                false => Closing::Ordinary,
            };
            fs.flush(handle, closing).await
        };
        self.parking.answer("flush", work, |result| replies::empty(result, reply));
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
        self.parking.answer("fsync", work, |result| replies::empty(result, reply));
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
        self.users.remove(Handle(handle.0));
        let work = async move { fs.release(Handle(handle.0)).await };
        self.parking.answer_always("release", work, |result| replies::empty(result, reply));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let fs = self.fs.clone();
        let work = async move { fs.opendir(Ino(ino.0)).await };
        self.parking.answer("opendir", work, |result| replies::directory_opened(result, reply));
    }

    fn readdir(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        cookie: u64,
        reply: ReplyDirectory,
    ) {
        let fs = self.fs.clone();
        let work = async move { fs.readdir(Handle(handle.0), cookie).await };
        self.parking.answer("readdir", work, |result| replies::directory(result, reply));
    }

    fn readdirplus(
        &self,
        _: &Request,
        _ino: INodeNo,
        handle: FileHandle,
        cookie: u64,
        reply: ReplyDirectoryPlus,
    ) {
        let (fs, reading) = (self.fs.clone(), self.fs.clone());
        let shown = self.shown();
        let work = async move { reading.readdir(Handle(handle.0), cookie).await };
        self.parking.answer("readdirplus", work, move |result| {
            replies::directory_plus(result, |entry| shown(&entry.attr), &fs, reply);
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

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let (fs, name) = (self.fs.clone(), bytes(name));
        let work = async move { fs.getxattr(Ino(ino.0), &name, size > 0).await };
        self.parking.answer("getxattr", work, move |result| replies::xattr(result, size, reply));
    }

    fn listxattr(&self, _: &Request, _: INodeNo, size: u32, reply: ReplyXattr) {
        // None is listed: a program that copies all of them would ask for a checksum of every file.
        if size == 0 { reply.size(0) } else { reply.data(&[]) }
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
