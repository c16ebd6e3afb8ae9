//! Whether a file here and one there are the same, and the checksum that tells it.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};

use super::{Error, Found, Vehicle};

use crate::remote::ask::ask;
use crate::remote::{self, Checksum, Class, Op, RemotePath, Reply};

/// Bytes of a local file read at once.
const PIECE_BYTES: usize = 256 << 10;

impl Vehicle {
    /// CRC32 of a file as MAVLink has it (not that of zlib: it starts at 0 and is not inverted at the
    /// end). The server computes it; where it has no checksum, as FTP servers have none, the file is
    /// read instead.
    ///
    /// # Errors
    /// As [`Vehicle::read_to`].
    pub fn checksum(&self, path: &RemotePath) -> Result<u32, Error> {
        self.refuse_directory(path)?;
        match self.server_checksum(path)? {
            Some(checksum) => Ok(checksum),
            None => {
                tracing::info!(%path, "the server has no checksum; the file is read");
                let mut sum = Summed(Checksum::new());
                self.read_to(path, &mut sum, &mut |_, _| {})?;
                Ok(sum.0.value())
            }
        }
    }

    /// Whether a local file and one on the far side are the same: by size and the server's CRC32, or by
    /// content where it has none. Nothing is transferred when the sizes differ.
    ///
    /// # Errors
    /// As [`Vehicle::read_to`]; [`Error::Input`] when the local file cannot be read.
    pub fn is_identical(&self, path: &RemotePath, local: &File) -> Result<bool, Error> {
        let length = local.metadata().map_err(Error::Input)?.len();
        let listed = match self.find(path) {
            Ok(Found::Directory) => {
                return Err(Error::remote(path, remote::Error::IsADirectory));
            }
            Ok(Found::File(entry)) => Some(entry.size),
            // Some files no listing shows.
            Err(Error::Remote { error: remote::Error::NotFound, .. }) => None,
            Err(error) => return Err(error),
        };
        match listed.filter(|_| !self.is_made_up(path)) {
            Some(size) if size != length => return Ok(false),
            Some(_) => {
                if let Some(there) = self.server_checksum(path)? {
                    return Ok(there == checksum_of(local).map_err(Error::Input)?);
                }
            }
            None => {}
        }
        self.has_content(path, local)
    }

    /// The server's own checksum of a file, where it has checksums. Nothing is listed.
    ///
    /// # Errors
    /// As [`Vehicle::read_to`].
    pub fn server_checksum(&self, path: &RemotePath) -> Result<Option<u32>, Error> {
        let op = Op::Checksum { path: path.clone() };
        let asked = ask(&self.remote, op, Class::Demand, self.patience);
        match self.interrupt.block_on(asked)? {
            Ok(Reply::Checksum(checksum)) => Ok(Some(checksum)),
            Ok(Reply::Done | Reply::Size(_) | Reply::Saved(_))
            | Err(remote::Error::Unsupported) => Ok(None),
            Err(error) => Err(Error::remote(path, error)),
        }
    }

    fn has_content(&self, path: &RemotePath, local: &File) -> Result<bool, Error> {
        let local = local.try_clone().map_err(Error::Input)?;
        let mut compared = Compared::with(local).map_err(Error::Input)?;
        match self.read_to(path, &mut compared, &mut |_, _| {}) {
            Ok(_) => compared.is_at_end().map_err(Error::Input),
            Err(Error::Output(_)) if compared.differs => Ok(false),
            Err(Error::Output(error)) => Err(Error::Input(error)),
            Err(error) => Err(error),
        }
    }
}

/// MAVLink's CRC32 of a local file, from its beginning.
///
/// # Errors
/// Why it cannot be read.
pub fn checksum_of(local: &File) -> io::Result<u32> {
    let mut sum = Summed(Checksum::new());
    io::copy(&mut from_start(local.try_clone()?)?, &mut sum)?;
    Ok(sum.0.value())
}

fn from_start(mut file: File) -> io::Result<BufReader<File>> {
    io::Seek::rewind(&mut file)?;
    Ok(BufReader::with_capacity(PIECE_BYTES, file))
}

/// Sums up what is written to it.
struct Summed(Checksum);

impl Write for Summed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes what is written to it for as long as a local file holds the same.
struct Compared {
    local: BufReader<File>,
    differs: bool,
}

impl Compared {
    fn with(local: File) -> io::Result<Compared> {
        Ok(Compared { local: from_start(local)?, differs: false })
    }

    fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.local.read(&mut [0])? == 0)
    }
}

impl Write for Compared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut here = vec![0; bytes.len()];
        match self.local.read_exact(&mut here) {
            Ok(()) if here == bytes => Ok(bytes.len()),
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => Err(error),
            Ok(()) | Err(_) => {
                self.differs = true;
                Err(io::Error::other("the files differ"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::tests::{Bench, kind, local, path, some_bytes};
    use remote::Error::{IsADirectory, NotFound, Unsupported};

    #[test]
    fn files_are_the_same_when_sizes_and_checksums_are() {
        let bytes = some_bytes(5000);
        let bench = Bench::with(&[("/f", &bytes)]);
        let same = |here: &[u8]| bench.vehicle.is_identical(&path("/f"), &local(here)).unwrap();
        assert!(same(&bytes));
        assert!(!same(&bytes[1..]));
        // MAVLink's checksum does not see zeros in front.
        assert!(!same(&[&[0], &bytes[..]].concat()));
        let other = [&bytes[..4999], b"?"].concat();
        assert!(!same(&other));
        assert!(!bench.memory.log().iter().any(|op| op.starts_with("Read")));
    }

    #[test]
    fn without_checksums_the_content_is_compared() {
        let bytes = some_bytes(5000);
        let bench = Bench::with(&[("/f", &bytes), ("/0", b"")]);
        let same = |name: &str, here: &[u8]| {
            bench.memory.fail_next("Checksum", Unsupported);
            bench.vehicle.is_identical(&path(name), &local(here)).unwrap()
        };
        assert!(same("/f", &bytes));
        assert!(!same("/f", &[&bytes[..4999], b"?"].concat()));
        assert!(same("/0", b""));
    }

    #[test]
    fn what_cannot_be_compared_is_no_difference() {
        let bench = Bench::with(&[("/d/f", b"1")]);
        let failed =
            |name: &str| kind(bench.vehicle.is_identical(&path(name), &local(b"1")).unwrap_err());
        assert_eq!(failed("/d"), IsADirectory);
        assert_eq!(failed("/no"), NotFound);
    }

    #[test]
    fn a_checksum_is_the_servers_or_that_of_the_content() {
        let bytes = some_bytes(5000);
        let bench = Bench::with(&[("/f", &bytes)]);
        let there = bench.vehicle.checksum(&path("/f")).unwrap();
        assert_eq!(there, checksum_of(&local(&bytes)).unwrap());
        bench.memory.fail_next("Checksum", Unsupported);
        assert_eq!(bench.vehicle.checksum(&path("/f")).unwrap(), there);
    }
}
