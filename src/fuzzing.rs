//! What the fuzz targets do with the bytes they get: each part of the core against a naive model of it.
//! Unaware of who chose the bytes: `fuzz/` hands in new ones, and `cargo test` those that are kept in `fuzz/corpus/`.
//!
//! Not part of the crate's interface: only compiled for tests and for fuzzing.

mod deadlines;
mod ends;
mod env;
mod job;
mod look_path;
mod reactor;

pub use deadlines::deadlines;
pub use ends::ends;
pub use env::env;
pub use job::job;
pub use look_path::look_path;
pub use reactor::reactor;

/// Reads decisions from a fuzzer's bytes, one after the other. When they are used up, each is zero.
#[derive(Debug)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn is_used_up(&self) -> bool {
        self.0.is_empty()
    }

    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// The next `len` bytes, or those that are left.
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::from(self.next()) % list.len()]
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::panic::catch_unwind;
    use std::path::{Path, PathBuf};

    type Target = fn(&[u8]);

    const TARGETS: &[(&str, Target)] = &[
        ("deadlines", super::deadlines),
        ("ends", super::ends),
        ("env", super::env),
        ("job", super::job),
        ("look_path", super::look_path),
        ("reactor", super::reactor),
    ];
    /// Replayed by the test of the program, which alone can name its functions.
    const OF_THE_PROGRAM: &[&str] = &["command_line"];

    /// `None` where there is no `fuzz/`: a published package leaves it out.
    fn fuzz_directory() -> Option<PathBuf> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
        if directory.join("Cargo.toml").exists() {
            return Some(directory);
        }
        eprintln!("skipped: there is no fuzz/ here");
        None
    }

    fn files(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).unwrap_or_else(|e| panic!("{directory:?}: {e}"));
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads the directory of the sources")]
    fn every_kept_input_is_replayed() {
        let Some(directory) = fuzz_directory() else {
            return;
        };
        for (name, target) in TARGETS {
            let inputs = files(&directory.join("corpus").join(name));
            assert!(!inputs.is_empty(), "the corpus of {name} is empty");
            for input in inputs {
                let data = fs::read(&input).unwrap();
                assert!(
                    catch_unwind(|| target(&data)).is_ok(),
                    "{name} fails with {input:?}: see above"
                );
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "reads the directory of the sources")]
    fn every_target_is_replayed_by_a_test() {
        let Some(directory) = fuzz_directory() else {
            return;
        };
        let mut expected: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
        expected.extend(OF_THE_PROGRAM);
        expected.sort();
        let targets = files(&directory.join("fuzz_targets"));
        let found: Vec<_> = targets
            .iter()
            .filter_map(|file| file.file_stem()?.to_str())
            .collect();
        assert_eq!(found, expected);
    }
}
