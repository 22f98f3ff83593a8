//! Other threads of a program while children start: they and the children must not notice each other.
//! Unaware of which system calls are refused.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use execloop::{Command, Input, Output, Reactor};

use super::{calls, finish, is_root, skip};
use crate::counts::{assert_fds, assert_no_children, open_fds};

/// As many as start while the threads look.
const CHILDREN: usize = 3000;
const RUNNING_MAX: usize = 32;

/// Opens, checks and closes files and pipes, and checks some that it keeps, until told to stop. Returns how often.
fn look_after_files(name: &str, stop: &AtomicBool) -> usize {
    let path = std::env::temp_dir().join(format!("execloop-{}-{name}", std::process::id()));
    let content = format!("the file of thread {name}").repeat(20);
    fs::write(&path, &content).expect("a file");
    let inode = fs::metadata(&path).expect("its inode").ino();
    let kept: Vec<File> = (0..20)
        .map(|_| File::open(&path).expect("opened"))
        .collect();
    let mut rounds = 0;
    while !stop.load(Ordering::Acquire) {
        let mut text = String::new();
        File::open(&path)
            .expect("opened")
            .read_to_string(&mut text)
            .expect("read");
        assert_eq!(text, content);
        let (mut read, mut write) = io::pipe().expect("a pipe");
        write.write_all(name.as_bytes()).expect("written");
        drop(write);
        text.clear();
        read.read_to_string(&mut text).expect("read");
        assert_eq!(text, name);
        for file in &kept {
            assert_eq!(file.metadata().expect("its inode").ino(), inode);
        }
        rounds += 1;
    }
    fs::remove_file(path).expect("removed");
    rounds
}

pub(super) fn undisturbed() {
    let before = open_fds();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads = ["one", "two"].map(|name| {
            let stop = &stop;
            scope.spawn(move || look_after_files(name, stop))
        });
        let children = scope.spawn(start_children);
        let result = children.join();
        stop.store(true, Ordering::Release);
        for thread in threads {
            assert_ne!(thread.join().expect("its files were left alone"), 0);
        }
        result.expect("the children were left alone");
    });
    assert_no_children();
    assert_fds(&before);
}

fn start_children() {
    let mut reactor = Reactor::builder()
        .max_running(RUNNING_MAX)
        .build()
        .expect("a reactor");
    let input: std::sync::Arc<[u8]> = b"what it is given"[..].into();
    for _ in 0..CHILDREN {
        let mut cat = Command::new("/bin/cat");
        cat.stdin(Input::bytes(input.clone()))
            .stdout(Output::capture());
        reactor.start(&mut cat).expect("it starts");
        while reactor.len() >= RUNNING_MAX {
            check(&mut reactor, &input);
        }
    }
    while !reactor.is_empty() {
        check(&mut reactor, &input);
    }
}

fn check(reactor: &mut Reactor, input: &[u8]) {
    let done = reactor.wait_any().expect("waited").expect("one is left");
    assert!(done.success(), "{:?}", done.outcome);
    assert_eq!(done.stdout, input);
}

/// Two reactors whose children take other credentials at once: each puts back what belongs to the whole process.
pub(super) fn dumpable() {
    if !is_root() {
        return skip("another user needs root");
    }
    assert_eq!(calls::dumpable(), 1);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut reactor = Reactor::new().expect("a reactor");
                for _ in 0..300 {
                    let mut nobody = Command::new("/bin/true");
                    assert!(finish(&mut reactor, nobody.uid(65534)).success());
                }
            });
        }
    });
    assert_eq!(calls::dumpable(), 1);
}
