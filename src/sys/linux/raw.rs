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
        -(last_errno() as isize)
    } else {
        result as isize
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn last_errno() -> i32 {
    let error = std::io::Error::last_os_error();
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Whether `clone3` can be called here with a stack of the child's own.
pub(super) const HAS_CLONE3: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// `struct clone_args` of linux/sched.h in its third size, that of Linux 5.7: numbers of 64 bits on every architecture.
#[repr(C)]
#[derive(Debug, Default)]
pub(super) struct CloneArguments {
    pub(super) flags: u64,
    pub(super) pidfd: u64,
    pub(super) child_tid: u64,
    pub(super) parent_tid: u64,
    pub(super) exit_signal: u64,
    pub(super) stack: u64,
    pub(super) stack_size: u64,
    pub(super) tls: u64,
    pub(super) set_tid: u64,
    pub(super) set_tid_size: u64,
    pub(super) cgroup: u64,
}

/// A child's first function. It never returns.
pub(super) type Entry = extern "C" fn(*const libc::c_void) -> !;

/// Calls clone3(2); the child runs `entry(argument)` on the stack that `arguments` names.
///
/// # Safety
/// `arguments` names a stack of enough room; `entry` is sound in a child that shares memory; `argument` outlives the
/// child's use of it.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) unsafe fn clone3(
    arguments: &CloneArguments,
    entry: Entry,
    argument: *const libc::c_void,
) -> isize {
    let address = std::ptr::from_ref(arguments).expose_provenance();
    let arguments = [address, size_of::<CloneArguments>(), 0, 0, 0];
    // SAFETY: the structure is whole and lives across the call; the caller vouches for the rest.
    unsafe { divide(libc::SYS_clone3, arguments, entry, argument) }
}

/// There is no `clone3` by hand for this architecture: the caller falls back to `clone`.
///
/// # Safety
/// None needed; the signature is that of the other.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) unsafe fn clone3(
    _arguments: &CloneArguments,
    _entry: Entry,
    _argument: *const libc::c_void,
) -> isize {
    -(libc::ENOSYS as isize)
}

/// Calls clone(2); the child runs `entry(argument)` on the stack that ends at `stack_end`. With `CLONE_PIDFD`, the pidfd
/// is stored where the parent's tid would go. By hand, as musl's function refuses `CLONE_CHILD_CLEARTID` (since 1.2.5).
///
/// # Safety
/// As for `clone3`; `stack_end` is a multiple of 16.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) unsafe fn clone(
    flags: libc::c_int,
    stack_end: usize,
    pidfd: &mut libc::c_int,
    child_tid: *mut u32,
    entry: Entry,
    argument: *const libc::c_void,
) -> isize {
    let pidfd = std::ptr::from_mut(pidfd).expose_provenance();
    let child_tid = child_tid.expose_provenance();
    let (fourth, fifth) = if cfg!(target_arch = "x86_64") {
        (child_tid, 0)
    } else {
        (0, child_tid)
    };
    let arguments = [flags as usize, stack_end, pidfd, fourth, fifth];
    // SAFETY: both addresses lead to whole numbers; the caller vouches for the rest.
    unsafe { divide(libc::SYS_clone, arguments, entry, argument) }
}

/// The same through libc. musl's (since 1.2.5) refuses `CLONE_CHILD_CLEARTID`, so there a child cannot have id maps.
///
/// # Safety
/// As for `clone3`; `stack_end` is a multiple of 16.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) unsafe fn clone(
    flags: libc::c_int,
    stack_end: usize,
    pidfd: &mut libc::c_int,
    child_tid: *mut u32,
    entry: Entry,
    argument: *const libc::c_void,
) -> isize {
    // SAFETY: the two types differ in what they return, and it returns nothing.
    let entry = unsafe {
        std::mem::transmute::<Entry, extern "C" fn(*mut libc::c_void) -> libc::c_int>(entry)
    };
    let no_tls = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: both addresses lead to whole numbers; the caller vouches for the rest.
    let pid = unsafe {
        libc::clone(
            entry,
            std::ptr::with_exposed_provenance_mut(stack_end),
            flags,
            argument.cast_mut(),
            std::ptr::from_mut(pidfd),
            no_tls,
            child_tid,
        )
    };
    if pid == -1 {
        -(last_errno() as isize)
    } else {
        pid as isize
    }
}

/// Makes a system call that returns two times: here, and in a child on a stack of its own, which runs `entry(argument)`.
///
/// # Safety
/// The call is one that makes a process with an empty stack, aligned to 16; and as for `clone3`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe fn divide(
    number: libc::c_long,
    arguments: [usize; 5],
    entry: Entry,
    argument: *const libc::c_void,
) -> isize {
    let result: isize;
    let [a, b, c, d, e] = arguments;
    // SAFETY: in the parent this is a plain system call. The child starts behind it with all registers of the parent
    // but rax and rsp; its stack is empty and aligned to 16, so `call` enters `entry` as the ABI wants it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r12",
            "ud2",
            "2:",
            // By name: where rbp is no frame pointer, the compiler may choose it for any register.
            in("r12") entry,
            in("r13") argument,
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            // Not `lateout`: the child still needs its inputs after these are lost.
            out("rcx") _,
            out("r11") _,
        );
    }
    // SAFETY: in the parent this is a plain system call. The child starts behind it with all registers of the parent
    // but x0 and sp; its stack is empty and aligned to 16. x29 = 0 ends a backtrace.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        std::arch::asm!(
            "svc 0",
            "cbnz x0, 2f",
            "mov x29, xzr",
            "mov x0, x10",
            "blr x9",
            "brk 1",
            "2:",
            in("x9") entry,
            in("x10") argument,
            in("x8") number,
            inlateout("x0") a as isize => result,
            in("x1") b,
            in("x2") c,
            in("x3") d,
            in("x4") e,
        );
    }
    result
}
