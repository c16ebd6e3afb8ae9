//! The program: one match on the command.

fn main() {}
