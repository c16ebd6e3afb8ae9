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
    rename(from, &between).await?;
    let Err(error) = rename(&between, to).await else { return Ok(()) };
    if let Err(worse) = rename(&between, from).await {
        tracing::error!(%from, %between, error = %worse, "left under a temporary name on the vehicle");
    }
    Err(error)
}
