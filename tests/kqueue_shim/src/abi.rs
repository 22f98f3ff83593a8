//! `struct kevent` and its constants, with the layout and the values of FreeBSD 12 and later (sys/event.h).
//! Unaware of what they do.

use std::ffi::c_void;

/// One change, or one event.
#[allow(non_camel_case_types, reason = "its name in C, and in the libc crate")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct kevent {
    pub ident: usize,
    pub filter: i16,
    pub flags: u16,
    pub fflags: u32,
    pub data: i64,
    pub udata: *mut c_void,
    pub ext: [u64; 4],
}

pub const EVFILT_READ: i16 = -1;
pub const EVFILT_WRITE: i16 = -2;
pub const EVFILT_PROC: i16 = -5;
pub const EVFILT_TIMER: i16 = -7;
pub const EVFILT_USER: i16 = -11;

pub const EV_ADD: u16 = 0x0001;
pub const EV_DELETE: u16 = 0x0002;
pub const EV_ENABLE: u16 = 0x0004;
pub const EV_DISABLE: u16 = 0x0008;
pub const EV_ONESHOT: u16 = 0x0010;
pub const EV_CLEAR: u16 = 0x0020;
pub const EV_RECEIPT: u16 = 0x0040;
pub const EV_DISPATCH: u16 = 0x0080;
pub const EV_FORCEONESHOT: u16 = 0x0100;
pub const EV_KEEPUDATA: u16 = 0x0200;
/// Of the kernel's own use: taken out of every change.
pub const EV_SYSFLAGS: u16 = 0xF000;
pub const EV_ERROR: u16 = 0x4000;
pub const EV_EOF: u16 = 0x8000;

pub const NOTE_EXIT: u32 = 0x8000_0000;
pub const NOTE_FORK: u32 = 0x4000_0000;
pub const NOTE_EXEC: u32 = 0x2000_0000;
pub const NOTE_TRACK: u32 = 0x0000_0001;

pub const NOTE_SECONDS: u32 = 0x0000_0001;
pub const NOTE_MSECONDS: u32 = 0x0000_0002;
pub const NOTE_USECONDS: u32 = 0x0000_0004;
pub const NOTE_NSECONDS: u32 = 0x0000_0008;
pub const NOTE_ABSTIME: u32 = 0x0000_0010;

pub const NOTE_FFNOP: u32 = 0x0000_0000;
pub const NOTE_FFAND: u32 = 0x4000_0000;
pub const NOTE_FFOR: u32 = 0x8000_0000;
pub const NOTE_FFCOPY: u32 = 0xc000_0000;
pub const NOTE_FFCTRLMASK: u32 = 0xc000_0000;
pub const NOTE_FFLAGSMASK: u32 = 0x00ff_ffff;
pub const NOTE_TRIGGER: u32 = 0x0100_0000;

impl kevent {
    /// `EV_SET`.
    pub const fn new(
        ident: usize,
        filter: i16,
        flags: u16,
        fflags: u32,
        data: i64,
        udata: *mut c_void,
    ) -> kevent {
        kevent {
            ident,
            filter,
            flags,
            fflags,
            data,
            udata,
            ext: [0; 4],
        }
    }
}
