//! System calls by hand, for the child of a start: it shares the parent's memory, so `errno` is not its own.
//! The only assembly of the crate. Unaware of what the calls are for.
#![allow(unsafe_code, reason = "system calls without libc")]

/// Makes a system call. The result is the kernel's: a negated error number on failure.
///
/// # Safety
/// As the system call; pointers must be valid for it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn syscall(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let result: isize;
    let [a, b, c, d, e] = arguments;
    // SAFETY: the x86_64 convention: rcx and r11 are lost, the rest is kept. The caller vouches for the arguments.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b, in("rdx") c,
            in("r10") d, in("r8") e, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    result
}

/// Makes a system call. The result is the kernel's: a negated error number on failure.
///
/// # Safety
/// As the system call; pointers must be valid for it.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub(super) unsafe fn syscall(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let result: isize;
    let [a, b, c, d, e] = arguments;
    // SAFETY: the aarch64 convention: only x0 changes. The caller vouches for the arguments.
    unsafe {
        std::arch::asm!("svc 0", in("x8") number, inlateout("x0") a as isize => result, in("x1") b, in("x2") c,
            in("x3") d, in("x4") e, options(nostack));
    }
    result
}

/// Makes a system call through libc, which writes the `errno` that the waiting parent shares: harmless, as the
/// parent reads none across a clone.
///
/// # Safety
/// As the system call; pointers must be valid for it.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
pub(super) unsafe fn syscall(number: libc::c_long, arguments: [usize; 5]) -> isize {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the caller vouches for the arguments.
    let result = unsafe { libc::syscall(number, a, b, c, d, e) };
    if result == -1 {
        -(std::io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO) as isize)
    } else {
        result as isize
    }
}

/// Whether `clone3` can be called here with a stack of the child's own.
pub(super) const HAS_CLONE3: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Calls clone3(2); the child runs `entry(argument)` on the stack that `arguments` names.
///
/// # Safety
/// `arguments` leads to `size` bytes of valid `clone_args` with a stack of enough room; `entry` never returns and is
/// sound in a child that shares memory; `argument` outlives the child's use of it.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn clone3(
    arguments: *const libc::clone_args,
    size: usize,
    entry: extern "C" fn(*const libc::c_void) -> !,
    argument: *const libc::c_void,
) -> isize {
    let result: isize;
    // SAFETY: in the parent this is a plain system call. The child starts behind it with all registers of the parent
    // but rax and rsp; its stack is empty and aligned to 16, so `call` enters `entry` as the ABI wants it.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, {argument}",
            "call {entry}",
            "ud2",
            "2:",
            entry = in(reg) entry,
            argument = in(reg) argument,
            inlateout("rax") libc::SYS_clone3 as isize => result,
            in("rdi") arguments,
            in("rsi") size,
            // Not `lateout`: the child still needs its inputs after these are lost.
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

/// Calls clone3(2); the child runs `entry(argument)` on the stack that `arguments` names.
///
/// # Safety
/// `arguments` leads to `size` bytes of valid `clone_args` with a stack of enough room; `entry` never returns and is
/// sound in a child that shares memory; `argument` outlives the child's use of it.
#[cfg(target_arch = "aarch64")]
pub(super) unsafe fn clone3(
    arguments: *const libc::clone_args,
    size: usize,
    entry: extern "C" fn(*const libc::c_void) -> !,
    argument: *const libc::c_void,
) -> isize {
    let result: isize;
    // SAFETY: in the parent this is a plain system call. The child starts behind it with all registers of the parent
    // but x0 and sp; its stack is empty and aligned to 16. x29 = 0 ends a backtrace.
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, {argument}",
            "blr {entry}",
            "brk 1",
            "2:",
            entry = in(reg) entry,
            argument = in(reg) argument,
            in("x8") libc::SYS_clone3,
            inlateout("x0") arguments as isize => result,
            in("x1") size,
        );
    }
    result
}

/// There is no `clone3` by hand for this architecture: the caller falls back to clone(2).
///
/// # Safety
/// None needed; the signature is that of the others.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) unsafe fn clone3(
    _arguments: *const libc::clone_args,
    _size: usize,
    _entry: extern "C" fn(*const libc::c_void) -> !,
    _argument: *const libc::c_void,
) -> isize {
    -(libc::ENOSYS as isize)
}
