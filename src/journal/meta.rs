//! What an entry says of itself, and how that is written down. Read with care: the file may be of
//! another version, or torn. Must not know the disk.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The version of the format that is written; others are shown and left alone.
const FORMAT: u32 = 1;
/// A description that is longer is not read; paths on a vehicle are a few hundred bytes long.
pub(super) const META_BYTES_MAX: u64 = 1 << 20;

/// What became of an entry's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// The vehicle lacks nothing of it.
    Clean,
    /// There are changes, and a process that will send them.
    Dirty,
    /// The changes could not be sent, and their maker was told.
    Failed,
    /// The program that made the changes was killed before it had made them all.
    Partial,
    /// This program died with the changes.
    Interrupted,
    /// Their maker was told that they are safe here, and will be sent.
    Pending,
}

/// Whether a power cut may lose what is noted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives the end of the process.
    Process,
    /// It and the bytes survive a power cut.
    Power,
}

/// Which vehicle or server an entry belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vehicle {
    /// Who it says it is: `uid2:0123…`; for a server host, port and user.
    pub identity: Option<String>,
    /// Tells vehicles without identity apart for as long as one process sees them.
    pub session: String,
    /// Where it was, as the user wrote it.
    pub source: String,
}

impl Vehicle {
    /// Whether both are the same for certain. Without identities, only while one process has seen
    /// the same vehicle all along.
    pub fn is(&self, other: &Vehicle) -> bool {
        match (&self.identity, &other.identity) {
            (Some(own), Some(others)) => own == others,
            (None, None) => self.session == other.session,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    /// Whether this is the vehicle that `earlier` was in the same process: it may have said since who
    /// it is.
    pub fn continues(&self, earlier: &Vehicle) -> bool {
        match (&self.identity, &earlier.identity) {
            (Some(own), Some(others)) => own == others,
            (None, None) | (Some(_), None) | (None, Some(_)) => self.session == earlier.session,
        }
    }
}

/// What stood under the file's name when the copy was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Before {
    /// Nothing.
    Nothing,
    /// A file.
    File {
        /// Its length in bytes.
        size: u64,
        /// Its modification time, seconds since 1970 UTC, where it was known.
        mtime: Option<i64>,
    },
    /// Nobody knows any more.
    Unknown,
}

impl Before {
    /// Whether what is there now, by size and time, is what stood there before; the time counts
    /// where both are known.
    pub fn is_still(self, there: Option<(u64, Option<i64>)>) -> bool {
        match (self, there) {
            (Before::Nothing, there) => there.is_none(),
            (Before::File { size, mtime }, Some((now, time))) => {
                size == now && (mtime.is_none() || time.is_none() || mtime == time)
            }
            (Before::File { .. }, None) | (Before::Unknown, _) => false,
        }
    }
}

/// A path on the far side, which need not be text.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written", into = "Written")]
pub struct PathBytes(pub Vec<u8>);

/// How a path is written: as text where it is some.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Bytes(Vec<u8>),
}

impl From<Written> for PathBytes {
    fn from(written: Written) -> PathBytes {
        match written {
            Written::Text(text) => PathBytes(text.into_bytes()),
            Written::Bytes(bytes) => PathBytes(bytes),
        }
    }
}

impl From<PathBytes> for Written {
    fn from(path: PathBytes) -> Written {
        String::from_utf8(path.0)
            .map_or_else(|error| Written::Bytes(error.into_bytes()), Written::Text)
    }
}

impl fmt::Debug for PathBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

impl fmt::Display for PathBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

/// What an entry says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The entry's name, unique in its journal.
    pub id: String,
    /// Whose file it is.
    pub vehicle: Vehicle,
    /// The file's absolute path there.
    pub path: PathBytes,
    /// The file's length in bytes.
    pub length: u64,
    /// The file's modification time, seconds since 1970 UTC.
    pub mtime: i64,
    /// What became of it.
    pub state: State,
    /// Why it was not sent; empty where nothing failed.
    pub reason: String,
    /// When this was noted, seconds since 1970 UTC.
    pub when: i64,
    /// Whether all bytes of the file are here.
    pub whole: bool,
    /// From which byte on they are here, where it is only the tail.
    pub tail: Option<u64>,
    /// What stood on the vehicle under this path.
    pub before: Before,
    /// Temporary names of ours that may lie on the vehicle.
    pub leftovers: Vec<PathBytes>,
    /// The one of them that becomes the file when the upload under way ends well.
    #[serde(skip)]
    pub current: Option<PathBytes>,
}

impl Meta {
    /// Of an empty file without changes; the journal gives it an id.
    pub fn new(vehicle: Vehicle, path: &[u8], when: i64) -> Meta {
        Meta {
            id: String::new(),
            vehicle,
            path: PathBytes(path.to_owned()),
            length: 0,
            mtime: when,
            state: State::Clean,
            reason: String::new(),
            when,
            whole: true,
            tail: None,
            before: Before::Nothing,
            leftovers: Vec::new(),
            current: None,
        }
    }

    /// Of bytes of which nothing is known yet.
    pub fn blank() -> Meta {
        let vehicle = Vehicle { identity: None, session: String::new(), source: String::new() };
        Meta::new(vehicle, b"", 0)
    }

    /// Notes who the vehicle is, once it has said so.
    pub fn learn_identity(&mut self, now: &Vehicle) {
        if self.vehicle.identity.is_none() && now.continues(&self.vehicle) {
            self.vehicle.identity.clone_from(&now.identity);
        }
    }

    /// Whether something would be lost with the entry: bytes, or the names of what is to be removed
    /// from the vehicle.
    pub fn is_worth_keeping(&self) -> bool {
        self.state != State::Clean || !self.leftovers.is_empty()
    }

    /// As it is written to the disk.
    pub(super) fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Versioned<'a> {
            format: u32,
            #[serde(flatten)]
            meta: &'a Meta,
        }
        let mut json = serde_json::to_vec_pretty(&Versioned { format: FORMAT, meta: self })?;
        json.push(b'\n');
        Ok(json)
    }

    /// As it was read from the disk, or why not, for people.
    pub(super) fn from_json(json: &[u8]) -> Result<Meta, String> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let garbled = |error: serde_json::Error| format!("its description is garbled: {error}");
        let version: Version = serde_json::from_slice(json).map_err(garbled)?;
        if version.format != FORMAT {
            return Err(format!(
                "its description has format {}, and this program knows format {FORMAT}",
                version.format
            ));
        }
        serde_json::from_slice(json).map_err(garbled)
    }
}
