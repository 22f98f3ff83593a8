//! Children on a leash: they live until the test lets go, and say when they are ready.
//! Unaware of what the tests do to them. What few tests do with one is in `unseen.rs`, `orphan.rs`, `orphan_pid.rs`,
//! `leash.rs`, `alive.rs` and `gone.rs`.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter};

use execloop::Command;

use super::helper::helper;

/// One run of the helper's mode `stay`, and its orphan, if `orphan` is among the words.
#[derive(Debug)]
pub struct Stay {
    pub command: Command,
    /// The child's, and behind it the orphan's. `None`: it was let go.
    pub(super) leashes: Vec<Option<PipeWriter>>,
    /// Who is ready, and who answers.
    pub(super) says: [BufReader<PipeReader>; 2],
    pids: Option<(u32, u32)>,
}

impl Stay {
    pub fn new(words: &[&str]) -> Stay {
        let has_orphan = words.contains(&"orphan") || words.contains(&"group");
        let (stdin, leash) = io::pipe().expect("a pipe");
        let (orphan_stdin, orphan_leash) = io::pipe().expect("a pipe");
        let (ready, says_ready) = io::pipe().expect("a pipe");
        let (answers, answer) = io::pipe().expect("a pipe");
        let mut command = helper("stay");
        command
            .args(words)
            .stdin(execloop::Input::file(stdin))
            .extra_fd(3, says_ready)
            .extra_fd(4, orphan_stdin)
            .extra_fd(5, answer);
        let mut leashes = vec![Some(leash)];
        if has_orphan {
            leashes.push(Some(orphan_leash));
        }
        Stay {
            command,
            leashes,
            says: [ready, answers].map(BufReader::new),
            pids: None,
        }
    }

    /// Waits until everything that was asked for is in place, without a turn of any reactor. The child's pid, and the orphan's.
    #[track_caller]
    pub(super) fn pids(&mut self) -> (u32, u32) {
        if self.pids.is_none() {
            let mut line = String::new();
            self.says[0].read_line(&mut line).expect("the pipe");
            let mut numbers = line
                .split_whitespace()
                .map(|number| number.parse().expect("a pid"));
            let pids = numbers.next().zip(numbers.next());
            self.pids = Some(pids.expect("the child ended before it was ready"));
        }
        self.pids.expect("set above")
    }

    /// The child's pid, once it is ready.
    #[track_caller]
    pub fn pid(&mut self) -> u32 {
        self.pids().0
    }

    /// Lets the child come to its end.
    pub fn release(&mut self) {
        self.leashes[0] = None;
    }
}
