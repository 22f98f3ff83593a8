//! The programs that are run: a few system calls each, without a C library, so that what is measured is the start and
//! not a dynamic linker. Assembled here, as a compiler for them may be missing.
//! Unaware of who starts them.
#![allow(dead_code, reason = "each program uses the part that it needs")]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What `say` writes to stdout, and how much of it to stderr.
pub(crate) const SAID_BYTES: usize = 100;
pub(crate) const SAID_ERR_BYTES: usize = 20;

/// One write of `blast`.
const BLAST_CHUNK_BYTES: usize = 64 * 1024;

/// The programs in a directory of their own, removed at the end.
#[derive(Debug)]
pub(crate) struct Children {
    directory: PathBuf,
    /// Exits.
    pub(crate) nop: PathBuf,
    /// Writes 100 bytes to stdout and 20 to stderr, and exits.
    pub(crate) say: PathBuf,
    /// Sleeps until it is killed, or its parent dies.
    pub(crate) pause: PathBuf,
}

impl Children {
    /// Beside the running program, where programs may be executed.
    ///
    /// # Errors
    /// When they cannot be written, or this is not Linux on a machine that the assembler here knows.
    pub(crate) fn new() -> io::Result<Children> {
        let own = std::env::current_exe()?;
        let directory = own.with_extension(format!("{}.children", std::process::id()));
        fs::create_dir_all(&directory)?;
        let children = Children {
            nop: directory.join("nop"),
            say: directory.join("say"),
            pause: directory.join("pause"),
            directory,
        };
        children.write(&children.nop, &[EXIT], 1)?;
        let say = |fd, length| Step::Call(WRITE, [fd, DATA, length, 0]);
        let (out, err) = (say(1, SAID_BYTES as u32), say(2, SAID_ERR_BYTES as u32));
        children.write(&children.say, &[out, err, EXIT], SAID_BYTES)?;
        children.write(
            &children.pause,
            &[DIE_WITH_PARENT, Step::Call(PPOLL, [0; 4]), EXIT],
            1,
        )?;
        Ok(children)
    }

    /// A program that writes so many bytes to stdout, rounded up to whole chunks.
    ///
    /// # Errors
    /// As [`new`](Children::new).
    pub(crate) fn blast(&self, bytes: usize) -> io::Result<PathBuf> {
        let path = self.directory.join(format!("blast-{bytes}"));
        let chunks = bytes.div_ceil(BLAST_CHUNK_BYTES) as u32;
        let write = Step::Call(WRITE, [1, DATA, BLAST_CHUNK_BYTES as u32, 0]);
        let steps = [Step::Repeat(chunks), write, Step::Again, EXIT];
        self.write(&path, &steps, BLAST_CHUNK_BYTES)?;
        Ok(path)
    }

    fn write(&self, path: &Path, steps: &[Step], text_bytes: usize) -> io::Result<()> {
        if !cfg!(target_os = "linux") || MACHINE == 0 {
            return Err(io::Error::other(
                "the programs are for Linux on x86_64 and aarch64",
            ));
        }
        fs::write(path, executable(steps, text_bytes))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// What a program does.
#[derive(Clone, Copy)]
enum Step {
    /// This system call, with its first four arguments.
    Call(u32, [u32; 4]),
    /// What follows, up to `Again`, so many times.
    Repeat(u32),
    Again,
}

const EXIT: Step = Step::Call(EXIT_GROUP, [0; 4]);
/// PR_SET_PDEATHSIG with SIGKILL.
const DIE_WITH_PARENT: Step = Step::Call(PRCTL, [1, 9, 0, 0]);

/// Where the file lies in memory, and the text behind its code.
const BASE: u32 = 0x40_0000;
const DATA: u32 = BASE + 0x200;
const HEADERS_BYTES: usize = 64 + 56;

/// The file: an ELF header, one segment that is all of it, the code, the text. See elf(5).
fn executable(steps: &[Step], text_bytes: usize) -> Vec<u8> {
    let text_at = (DATA - BASE) as usize;
    let mut file = Vec::with_capacity(text_at + text_bytes);
    file.extend(b"\x7fELF\x02\x01\x01");
    file.resize(16, 0);
    let (executable, version, segments) = (2, 1, 1);
    put16(&mut file, &[executable, MACHINE]);
    put32(&mut file, &[version]);
    put64(&mut file, &[u64::from(BASE) + HEADERS_BYTES as u64, 64, 0]);
    put32(&mut file, &[0]);
    put16(&mut file, &[64, 56, segments, 0, 0, 0]);
    let (load, read_and_execute) = (1, 5);
    put32(&mut file, &[load, read_and_execute]);
    let (base, length) = (u64::from(BASE), (text_at + text_bytes) as u64);
    put64(&mut file, &[0, base, base, length, length, 0x1_0000]);
    assert_eq!(file.len(), HEADERS_BYTES);
    file.extend(assemble(steps));
    assert!(file.len() <= text_at);
    file.resize(text_at, 0);
    file.extend((1..text_bytes).map(|at| b'0' + ((at - 1) % 10) as u8));
    file.push(b'\n');
    file
}

fn put16(file: &mut Vec<u8>, numbers: &[u16]) {
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn put32(file: &mut Vec<u8>, numbers: &[u32]) {
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

fn put64(file: &mut Vec<u8>, numbers: &[u64]) {
    file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

#[cfg(target_arch = "x86_64")]
mod machine {
    pub(crate) const MACHINE: u16 = 62;
    pub(crate) const WRITE: u32 = 1;
    pub(crate) const EXIT_GROUP: u32 = 231;
    pub(crate) const PPOLL: u32 = 271;
    pub(crate) const PRCTL: u32 = 157;

    /// The count is kept in ebx, which system calls leave alone.
    pub(crate) fn assemble(steps: &[super::Step]) -> Vec<u8> {
        let mut code = Vec::new();
        let mut start = 0;
        for step in steps {
            match *step {
                super::Step::Call(number, [a, b, c, d]) => {
                    // mov edi, esi, edx, r10d, eax; syscall
                    let moves: [(&[u8], u32); 5] = [
                        (b"\xbf", a),
                        (b"\xbe", b),
                        (b"\xba", c),
                        (b"\x41\xba", d),
                        (b"\xb8", number),
                    ];
                    for (opcode, value) in moves {
                        code.extend(opcode);
                        code.extend(value.to_le_bytes());
                    }
                    code.extend(b"\x0f\x05");
                }
                super::Step::Repeat(count) => {
                    // mov ebx
                    code.push(0xbb);
                    code.extend(count.to_le_bytes());
                    start = code.len();
                }
                super::Step::Again => {
                    // dec ebx; jnz, by the distance from its end
                    code.extend(b"\xff\xcb\x0f\x85");
                    let distance = start as i32 - (code.len() as i32 + 4);
                    code.extend(distance.to_le_bytes());
                }
            }
        }
        code
    }
}

#[cfg(target_arch = "aarch64")]
mod machine {
    pub(crate) const MACHINE: u16 = 183;
    pub(crate) const WRITE: u32 = 64;
    pub(crate) const EXIT_GROUP: u32 = 94;
    pub(crate) const PPOLL: u32 = 73;
    pub(crate) const PRCTL: u32 = 167;

    /// movz and movk: 16 bits each.
    fn load(code: &mut Vec<u32>, register: u32, value: u32) {
        code.push(0xd280_0000 | (value & 0xffff) << 5 | register);
        code.push(0xf2a0_0000 | (value >> 16) << 5 | register);
    }

    /// The count is kept in x19, which system calls leave alone.
    pub(crate) fn assemble(steps: &[super::Step]) -> Vec<u8> {
        let mut code = Vec::new();
        let mut start = 0;
        for step in steps {
            match *step {
                super::Step::Call(number, arguments) => {
                    for (register, value) in (0..).zip(arguments) {
                        load(&mut code, register, value);
                    }
                    load(&mut code, 8, number);
                    // svc 0
                    code.push(0xd400_0001);
                }
                super::Step::Repeat(count) => {
                    load(&mut code, 19, count);
                    start = code.len();
                }
                super::Step::Again => {
                    // subs x19, x19, 1; b.ne, by the distance from itself in instructions
                    code.push(0xf100_0673);
                    let distance = start as i32 - code.len() as i32;
                    code.push(0x5400_0001 | (distance as u32 & 0x7_ffff) << 5);
                }
            }
        }
        code.into_iter().flat_map(u32::to_le_bytes).collect()
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod machine {
    pub(crate) const MACHINE: u16 = 0;
    pub(crate) const WRITE: u32 = 0;
    pub(crate) const EXIT_GROUP: u32 = 0;
    pub(crate) const PPOLL: u32 = 0;
    pub(crate) const PRCTL: u32 = 0;

    pub(crate) fn assemble(_steps: &[super::Step]) -> Vec<u8> {
        Vec::new()
    }
}

use machine::{EXIT_GROUP, MACHINE, PPOLL, PRCTL, WRITE, assemble};
