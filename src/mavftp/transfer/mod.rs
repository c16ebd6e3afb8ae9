//! What moves bytes: the state of one ranged read, one upload, one listing, and the window over
//! what is in flight. Each is a plain state machine that says which request it wants next and takes
//! in answers; sequence numbers, sessions and retries belong to `client`.

mod list;
mod read;
mod window;
mod write;

pub use list::{ListJob, ListStep};
pub use read::{ReadJob, ReadStep};
pub use window::{Departure, Window};
pub use write::{WriteJob, WriteStep};
