//! Changing the spelling of a name where the far side does not tell upper from lower case. Written over
//! the trait [`Remote`].

use std::sync::Arc;
use std::time::Duration;

use super::ask::ask;
use super::save::temporary_beside;
use super::{Class, Error, Op, Remote, RemotePath};

/// Renames `from` to `to`, which differs in case only, in two steps: some servers remove what stands at
/// the new name first, and that is the file itself.
pub async fn respell(
    remote: &Arc<dyn Remote>,
    from: &RemotePath,
    to: &RemotePath,
    patience: Duration,
) -> Result<(), Error> {
    let between = temporary_beside(to).ok_or(Error::Invalid)?;
    let rename = |from: &RemotePath, to: &RemotePath| {
        let op = Op::Rename { from: from.clone(), to: to.clone() };
        ask(remote, op, Class::Metadata, patience)
    };
    let moved = rename(from, &between).await;
    let error = match moved {
        Ok(_) => match rename(&between, to).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        },
        // It may have been done all the same.
        Err(error @ (Error::LinkDown | Error::TimedOut | Error::Failed(_))) => error,
        Err(error) => return Err(error),
    };
    match rename(&between, from).await {
        Ok(_) | Err(Error::NotFound) => {}
        Err(worse) => {
            tracing::error!(%from, %between, error = %worse, "left under a temporary name on the vehicle");
        }
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::memory::{MemoryRemote, run};

    #[test]
    fn a_first_step_whose_end_is_not_known_is_taken_back() {
        for (error, back) in [(Error::TimedOut, 1), (Error::LinkDown, 1), (Error::Denied, 0)] {
            let remote = MemoryRemote::with([("/a", &b"old"[..])]);
            remote.fail_next("Rename", error.clone());
            let far: Arc<dyn Remote> = remote.clone();
            let path = |text: &[u8]| RemotePath::parse(text).unwrap();
            let (from, to) = (path(b"/a"), path(b"/A"));
            let respelled = run(&remote, respell(&far, &from, &to, Duration::from_secs(1)));
            assert_eq!(respelled, Err(error));
            let renames = remote.log().iter().filter(|op| op.starts_with("Rename")).count();
            assert_eq!(renames, 1 + back);
            assert_eq!(remote.names("/"), ["a"]);
        }
    }
}
