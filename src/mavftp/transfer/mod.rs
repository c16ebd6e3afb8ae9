//! What moves bytes: the state of one ranged read, one burst, one upload, one listing, the flow of what
//! is on its way, the size of blocks, and the choice between reads and bursts. Each is a plain state machine that says which request it wants next and takes
//! in answers; sequence numbers, sessions and retries belong to `client`.

mod ahead;
mod block_size;
mod burst;
mod choice;
mod flow;
mod list;
mod ranges;
mod read;
mod write;

pub use ahead::{PAGES_MAX, Traffic};
pub use block_size::BlockSize;
pub use burst::{Burst, Taken};
pub use choice::{Choice, Wanted};
pub use flow::Flow;
pub use list::{ListJob, ListStep};
pub use ranges::Ranges;
pub use read::{ReadJob, ReadStep, is_made_up};
pub use write::{WriteJob, WriteStep};
