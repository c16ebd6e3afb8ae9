//! Client and server against each other in virtual time, over a damaged network, from seeds.
//! A failure prints its seed; a seed that found a bug stays as a named test.

mod bad_input;
mod bursts;
mod compared;
mod fairness;
mod hostile;
mod largest_frame;
mod listings;
mod network;
mod personalities;
mod requests;
mod streaming;
mod thousand;
mod throughput;
mod transfers;
mod vehicles;
mod world;

/// Runs `test` for each seed and names the seed that fails.
pub fn for_seeds(seeds: std::ops::Range<u64>, test: impl Fn(u64)) {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("failed with seed {}", self.0);
            }
        }
    }
    for seed in seeds {
        let named = Named(seed);
        test(seed);
        std::mem::forget(named);
    }
}
