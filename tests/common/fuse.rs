//! A file system of one file, a program whose opening takes until somebody lets it: FUSE, whose server is a thread here.
//! Unaware of who executes the program. The protocol is that of fuse(4) and linux/fuse.h. What few tests do is in
//! `fuse_ends.rs`.
#![allow(unsafe_code, reason = "mount and unshare have no safe wrapper")]
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

/// The program says so on stdout, or in the file that its second argument names.
const SCRIPT: &[u8] = b"#!/bin/sh\necho executed $1 >\"${2:-/dev/stdout}\"\n";

const ROOT: u64 = 1;
const PROGRAM: u64 = 2;

/// Numbers of linux/fuse.h.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const INTERRUPT: u32 = 36;
const BATCH_FORGET: u32 = 42;

/// What a server does with an opening that a signal interrupts, by its number.
pub type Interrupted = fn(&File, &Mutex<Gate>, u64);

/// Does not hear of it. Such an opening cannot be killed: it ends when it is let.
pub fn deaf(_: &File, _: &Mutex<Gate>, _: u64) {}

/// Openings that wait for their answer, and whether any has to.
#[derive(Debug, Default)]
pub struct Gate {
    pub(super) held: Vec<u64>,
    is_open: bool,
}

/// The file system, mounted for this thread and its children alone.
#[derive(Debug)]
pub struct Stall {
    pub(super) device: Arc<File>,
    pub(super) gate: Arc<Mutex<Gate>>,
    arrivals: Receiver<()>,
    program: PathBuf,
    directory: CString,
}

impl Stall {
    /// Mounts it on a directory.
    ///
    /// # Errors
    /// Where that is forbidden, or there is no FUSE.
    pub fn mount(directory: &Path, interrupted: Interrupted) -> io::Result<Stall> {
        let device = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/fuse")?;
        let path = CString::new(directory.as_os_str().as_bytes())?;
        // SAFETY: unshare(2) takes a number. What it changes is this thread's.
        cvt(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let nothing = std::ptr::null();
        // SAFETY: the strings are C strings, and null where none is wanted.
        cvt(unsafe { libc::mount(nothing, c"/".as_ptr(), nothing, private, nothing.cast()) })?;
        let fd = device.as_raw_fd();
        let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
        let options = CString::new(options)?;
        let (name, kind) = (c"stall".as_ptr(), c"fuse".as_ptr());
        // SAFETY: all of them are C strings.
        cvt(unsafe { libc::mount(name, path.as_ptr(), kind, 0, options.as_ptr().cast()) })?;
        let (arrived, arrivals) = channel();
        let stall = Stall {
            device: Arc::new(device),
            gate: Arc::default(),
            arrivals,
            program: directory.join("program"),
            directory: path,
        };
        let (device, gate) = (Arc::clone(&stall.device), Arc::clone(&stall.gate));
        std::thread::spawn(move || serve(&device, &gate, &arrived, interrupted));
        Ok(stall)
    }

    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Waits until one more child is in its exec.
    pub fn await_exec(&self) {
        self.arrivals.recv().expect("the server lives");
    }

    /// Lets all openings that wait pass, and those to come.
    pub fn let_pass(&self) {
        let mut gate = self.gate.lock().expect("no panic");
        gate.is_open = true;
        for unique in gate.held.drain(..) {
            opened(&self.device, unique);
        }
    }
}

impl Drop for Stall {
    /// Nobody is left waiting: openings fail from here on.
    fn drop(&mut self) {
        let flags = libc::MNT_FORCE | libc::MNT_DETACH;
        // SAFETY: a C string and a number.
        unsafe { libc::umount2(self.directory.as_ptr(), flags) };
    }
}

fn cvt(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn serve(device: &File, gate: &Mutex<Gate>, arrived: &Sender<()>, interrupted: Interrupted) {
    let mut buffer = vec![0; 1 << 17];
    loop {
        let length = match (&*device).read(&mut buffer) {
            Ok(length) => length,
            // An opening that was given up before it was read.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The mount is gone.
            Err(_) => return,
        };
        let request = &buffer[..length];
        let (operation, unique) = (u32_at(request, 4), u64_at(request, 8));
        match operation {
            INIT => answer(device, unique, 0, &initial()),
            LOOKUP if &request[40..] == b"program\0" => {
                let entry = [words(&[PROGRAM, 0, 3600, 3600, 0]), attributes(PROGRAM)];
                answer(device, unique, 0, &entry.concat());
            }
            GETATTR => {
                let attributes = [words(&[3600, 0]), attributes(u64_at(request, 16))];
                answer(device, unique, 0, &attributes.concat());
            }
            OPEN => {
                let mut gate = gate.lock().expect("no panic");
                if gate.is_open {
                    opened(device, unique);
                } else {
                    gate.held.push(unique);
                }
                let _ = arrived.send(());
            }
            READ => {
                let from = SCRIPT.len().min(u64_at(request, 48) as usize);
                answer(device, unique, 0, &SCRIPT[from..]);
            }
            RELEASE | FLUSH => answer(device, unique, 0, &[]),
            INTERRUPT => interrupted(device, gate, u64_at(request, 40)),
            FORGET | BATCH_FORGET => {}
            LOOKUP => answer(device, unique, libc::ENOENT, &[]),
            _ => answer(device, unique, libc::ENOSYS, &[]),
        }
    }
}

fn opened(device: &File, unique: u64) {
    answer(device, unique, 0, &words(&[0, 0]));
}

/// An answer that comes too late finds nobody, which is not this server's business.
pub(super) fn answer(mut device: &File, unique: u64, error: i32, body: &[u8]) {
    let length = 16 + body.len() as u32;
    let mut message = Vec::from(length.to_ne_bytes());
    message.extend((-error).to_ne_bytes());
    message.extend(unique.to_ne_bytes());
    message.extend(body);
    let _ = device.write(&message);
}

/// `struct fuse_init_out`: version 7.31, and what is left at zero has defaults.
fn initial() -> Vec<u8> {
    let mut body = Vec::new();
    for word in [7_u32, 31, 1 << 16, 0, 0, 1 << 16, 1] {
        body.extend(word.to_ne_bytes());
    }
    body.resize(64, 0);
    body
}

/// `struct fuse_attr`.
fn attributes(node: u64) -> Vec<u8> {
    let is_root = node == ROOT;
    let size = if is_root { 0 } else { SCRIPT.len() as u64 };
    let mode = if is_root {
        libc::S_IFDIR
    } else {
        libc::S_IFREG
    } | 0o755;
    let mut body = words(&[node, size, 1, 0, 0, 0]);
    for word in [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0] {
        body.extend(word.to_ne_bytes());
    }
    body
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight"))
}
