//! Names that are being changed on the vehicle. An upload that ended under a name just then would
//! bring the old name back, so uploads wait until the change is over.

use super::inodes::{Ino, Place};
use super::staged::Staged;
use super::turn::Holding;
use super::{Fs, State};

/// The changes of names under way.
#[derive(Default)]
pub(super) struct Moves {
    /// Their places, by a number of their own.
    places: Vec<(u64, Place)>,
    last: u64,
}

/// A change of names under way, until it is dropped.
pub(super) struct Moving<'a> {
    fs: &'a Fs,
    number: u64,
}

impl Fs {
    /// From now on no upload at or below these places begins. Those under way go on: who holds the
    /// turns of their staged copies knows them ended.
    pub(super) fn begin_moving(&self, places: &[&Place]) -> Moving<'_> {
        let moves = &mut self.state.lock().moves;
        moves.last += 1;
        let number = moves.last;
        moves.places.extend(places.iter().map(|place| (number, (*place).clone())));
        Moving { fs: self, number }
    }

    /// Takes a staged copy's turn when its file's name is not being changed.
    pub(super) async fn take_turn_at_rest(&self, staged: &Staged) -> Holding {
        loop {
            let rested = self.rested.listen();
            let turn = staged.take_turn().await;
            if !self.state.lock().is_moving(staged.ino) {
                return turn;
            }
            drop(turn);
            rested.await;
        }
    }
}

impl State {
    pub(super) fn is_moving(&self, ino: Ino) -> bool {
        self.inodes.place(ino).is_some_and(|at| {
            self.moves
                .places
                .iter()
                .any(|(_, place)| place.volume == at.volume && at.path.is_within(&place.path))
        })
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.fs.state.lock().moves.places.retain(|(number, _)| *number != self.number);
        self.fs.rested.notify(usize::MAX);
    }
}
