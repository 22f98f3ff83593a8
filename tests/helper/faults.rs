//! `faults ..`: a hostile kernel around a mix of commands, made of refused system calls and of small limits.
//! Each mode checks everything itself, as counts of descriptors and children are private here; 77 is "cannot be had".

use std::ffi::OsString;
use std::fs::File;
use std::process::ExitCode;

mod identity;
mod inject;
mod limits;
mod mix;

use crate::attributes::refuse;
use crate::counts::{assert_fds, assert_no_children, open_fds};
use inject::{Injector, Rule};
use mix::{Fault, Mix};

/// The exit status of a mode that this machine does not allow.
const SKIPPED: u8 = 77;

/// `faults inject CALL ERRNO FIRST STEP COMMANDS waiting|embedded|children`, `faults build CALL ERRNO`, `faults mix
/// COMMANDS waiting|embedded|elsewhere` `faults limit NAME COMMANDS`; and
/// what children inherit: `faults setuid PROGRAM`, `faults unchanged`, `faults inherited`.
pub(crate) fn run(arguments: &[OsString]) -> ExitCode {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match words[..] {
        ["inject", call, errno, first, step, commands, how] => {
            let rule = Rule::every(number(first), number(step));
            let commands = number(commands) as usize;
            match how {
                "waiting" => inject(call, errno, rule, commands, false),
                "embedded" => inject(call, errno, rule, commands, true),
                "children" => inject(call, errno, rule.in_children(), commands, false),
                _ => panic!("faults inject: unknown {how:?}"),
            }
        }
        ["build", call, errno] => build(call, errno),
        ["mix", commands, how] => {
            let commands = number(commands) as usize;
            match how {
                "waiting" => mix(Mix::new(commands, Fault::None)),
                "embedded" => mix(Mix::new(commands, Fault::None).embedded()),
                "elsewhere" => mix(Mix::new(commands, Fault::Elsewhere)),
                _ => panic!("faults mix: unknown {how:?}"),
            }
        }
        ["limit", name, commands] => limits::run(name, number(commands) as usize),
        ["be-root", how] => identity::be_root(how),
        ["setuid", program] => identity::setuid(program),
        ["unchanged"] => identity::unchanged(),
        ["inherited"] => identity::inherited(),
        ["print-state"] => identity::print_state(),
        _ => panic!("faults: unknown mode {words:?}"),
    }
}

fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is no number"))
}

fn errno(name: &str) -> i32 {
    match name {
        "EINTR" => libc::EINTR,
        "EAGAIN" => libc::EAGAIN,
        "EMFILE" => libc::EMFILE,
        "ENOMEM" => libc::ENOMEM,
        "EINVAL" => libc::EINVAL,
        "EPERM" => libc::EPERM,
        "ENOSYS" => libc::ENOSYS,
        "EIO" => libc::EIO,
        "ENOSPC" => libc::ENOSPC,
        _ => panic!("unknown error {name:?}"),
    }
}

/// So many open descriptors that new ones are not low: only then are they moved for a child, by dup3.
fn crowd() -> Vec<File> {
    let open = || File::open("/dev/null").expect("/dev/null");
    std::iter::repeat_with(open).take(100).collect()
}

/// The mix, while the calls that the rule names fail. At the end the reactor is dropped with children running, which
/// happens under fire, too; then the counts are taken in peace.
fn inject(call: &str, name: &str, rule: Rule, commands: usize, embedded: bool) -> ExitCode {
    let errno = errno(name);
    let _crowd = crowd();
    let Some(injector) = Injector::install(call, errno) else {
        eprintln!("seccomp has no notifications here");
        return ExitCode::from(SKIPPED);
    };
    if call == "write" {
        // Where pwritev2 works, nothing is written to a pipe otherwise.
        refuse(&["pwritev2=EOPNOTSUPP"]);
    }
    let fault = if rule.is_in_children() {
        Fault::InChildren
    } else {
        Fault::Of {
            call: call.to_owned(),
            errno,
        }
    };
    let mut mix = Mix::new(commands, fault);
    if embedded {
        mix = mix.embedded();
    }
    injector.begin(rule);
    mix.run();
    mix.drop_while_children_run();
    let injected = injector.end();
    mix.finish();
    assert_no_children();
    mix.assert_fds();
    assert!(
        injected > 0,
        "{call} was never called so often: nothing was tested"
    );
    println!("{injected} injected; {}", mix.summary());
    ExitCode::SUCCESS
}

/// The mix without a fault of ours: there are none, or somebody outside of this process makes them.
fn mix(mut mix: Mix) -> ExitCode {
    mix.run();
    mix.drop_while_children_run();
    mix.finish();
    assert_no_children();
    mix.assert_fds();
    println!("{}", mix.summary());
    ExitCode::SUCCESS
}

/// Makes a reactor while its first call fails, then its second, and so on until all succeed.
fn build(call: &str, name: &str) -> ExitCode {
    let errno = errno(name);
    let Some(injector) = Injector::install(call, errno) else {
        eprintln!("seccomp has no notifications here");
        return ExitCode::from(SKIPPED);
    };
    let mut failures = 0;
    for first in 1.. {
        let before = open_fds();
        injector.begin(Rule::every(first, 0));
        let reactor = execloop::Reactor::new();
        let injected = injector.end();
        match reactor {
            Err(_) => {
                assert_eq!(injected, 1, "it failed by itself");
                failures += 1;
            }
            Ok(reactor) => drop(reactor),
        }
        assert_fds(&before);
        if injected == 0 {
            assert!(first > 1, "{call} is not called");
            println!("{} calls, {failures} of them matter", first - 1);
            return ExitCode::SUCCESS;
        }
    }
    unreachable!("the loop ends when no call is left to fail")
}
