//! Trees from seeds: other names, sizes and depths than those that were recorded.

use mavftp_mount::mavftp::server::MemoryFiles;

use crate::network::Random;
use crate::personalities::disk::Disk;

/// When all of it was written.
pub const TIME: i64 = 1_700_000_000;
/// What a name may be made of: a tab and letters of two and three bytes among it.
const LETTERS: [&str; 12] = ["a", "B", "7", "_", "-", ".x", " ", "\t", "é", "ß", "語", "log"];

/// A tree and what is in it.
pub struct Grown {
    pub disk: Disk,
    /// Without a trailing `/`; the first is the root's child.
    pub directories: Vec<String>,
    pub files: Vec<(String, Vec<u8>)>,
    pub empty: String,
    pub link: String,
}

fn name(random: &mut Random, count: usize) -> String {
    let most = if random.chance(0.1) { 60 } else { 12 };
    let letters = 2 + random.below(most);
    let text: String =
        (0..letters).map(|_| LETTERS[random.below(LETTERS.len() as u64) as usize]).collect();
    // A name of its own, and none that ends in a tab or is a dot.
    format!("{count}{text}z")
}

pub fn grow(seed: u64) -> Grown {
    let mut random = Random::new(seed ^ 0x7EEE);
    let tree = MemoryFiles::new();
    tree.set_time(Some(TIME));
    let mut directories = vec![format!("/{}", name(&mut random, 0))];
    for count in 1..=2 + random.below(4) as usize {
        let above = &directories[random.below(count as u64) as usize];
        let below = format!("{above}/{}", name(&mut random, count));
        directories.push(if below.len() < 120 { below } else { format!("/{count}short") });
    }
    let mut files = Vec::new();
    for count in 0..10 + random.below(60) as usize {
        let above = &directories[random.below(directories.len() as u64) as usize];
        let path = format!("{above}/{}", name(&mut random, count + 100));
        let size = match count {
            0 => 0,
            1 => 239 * (1 + random.below(6)),
            _ => random.below(6000),
        };
        let path = if path.len() < 200 { path } else { format!("{above}/{count}") };
        files.push((path, random.bytes(size as usize)));
    }
    for directory in &directories {
        tree.insert_directory(directory);
    }
    for (path, bytes) in &files {
        tree.insert(path, bytes);
    }
    let (empty, link) = (format!("{}/empty", directories[0]), format!("{}/link", directories[0]));
    tree.insert_directory(&empty);
    tree.insert(&link, b"what it leads to");
    let mut disk = Disk::from(tree);
    disk.links.insert(link.as_bytes()[1..].to_vec());
    directories.push(empty.clone());
    Grown { disk, directories, files, empty, link }
}
