//! The kinds of commands of the mix: each sets a command up, and says what is true of it in the end.
//! Unaware of when it is started, and of what fails.

use std::io::{self, Cursor, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use execloop::{Cancel, Cause, Command, Context, Input, Output, Signal};

use super::{Collected, Planned, Random, Then, Want, lock};

const KILLED: &[i32] = &[libc::SIGKILL];
const DELAY: Duration = Duration::from_millis(10);

/// What a kind may draw from.
struct Chance<'a> {
    number: usize,
    random: &'a mut Random,
    orphans: &'a io::PipeReader,
}

impl Chance<'_> {
    fn line(&self) -> Vec<u8> {
        format!("{}\n", self.number).into_bytes()
    }
}

/// Every kind, in turn.
const KINDS: [fn(&mut Planned, &mut Chance) -> Command; 18] = [
    echo,
    copied_bytes,
    merged,
    both,
    missing,
    cancelled_by_context,
    ended_by_deadline,
    stubborn,
    silent,
    cut_from_an_orphan,
    lines,
    copied_by_reader_and_writer,
    talks,
    ladder_to_the_group,
    killed_session,
    interrupted,
    bulk,
    deaf,
];

/// The command of this number: what it is, and how it ends.
pub(super) fn plan(number: usize, random: &mut Random, orphans: &io::PipeReader) -> Planned {
    let mut plan = Planned {
        command: Command::new("/"),
        want: Want::Success,
        stdout: Vec::new(),
        stderr: Vec::new(),
        collected: None,
        ends_after: None,
        then: Then::Nothing,
    };
    let mut chance = Chance {
        number,
        random,
        orphans,
    };
    plan.command = KINDS[number % KINDS.len()](&mut plan, &mut chance);
    plan
}

fn echo(plan: &mut Planned, chance: &mut Chance) -> Command {
    plan.stdout = chance.line();
    plan.then = if chance.random.below(2) == 0 {
        Then::Send
    } else {
        Then::Nothing
    };
    let mut echo = Command::new("/bin/echo");
    echo.arg(chance.number.to_string())
        .stdout(Output::capture());
    echo
}

fn copied_bytes(plan: &mut Planned, chance: &mut Chance) -> Command {
    let bytes = chance.random.bytes(200_000);
    plan.stdout = bytes.clone();
    let mut cat = Command::new("/bin/cat");
    cat.stdin(Input::bytes(bytes)).stdout(Output::capture());
    cat
}

fn merged(plan: &mut Planned, _: &mut Chance) -> Command {
    plan.stdout = b"1\n2\n3\n4\n".to_vec();
    let mut merged = shell("echo 1; echo 2 >&2; echo 3; echo 4 >&2");
    merged.stdout(Output::capture()).stderr_to_stdout(true);
    merged
}

fn both(plan: &mut Planned, _: &mut Chance) -> Command {
    plan.want = Want::Code(3);
    plan.stdout = b"out\n".to_vec();
    plan.stderr = b"err\n".to_vec();
    let mut both = shell("echo out; echo err >&2; exit 3");
    both.stdout(Output::capture()).stderr(Output::capture());
    both
}

fn missing(plan: &mut Planned, _: &mut Chance) -> Command {
    plan.want = Want::Missing;
    Command::new("/nonexistent/program")
}

fn cancelled_by_context(plan: &mut Planned, _: &mut Chance) -> Command {
    plan.want = Want::Killed(KILLED, Cause::Cancelled);
    let context = Context::new();
    plan.then = Then::CancelContext(context.clone());
    let mut command = sleep();
    command
        .context(&context.child())
        .stdout(Output::capture())
        .wait_delay(DELAY);
    command
}

fn ended_by_deadline(plan: &mut Planned, chance: &mut Chance) -> Command {
    plan.want = Want::Killed(KILLED, Cause::DeadlineExceeded);
    plan.ends_after = Some(Duration::from_millis(chance.random.below(40)));
    let mut command = sleep();
    command.stdin(Input::pipe()).wait_delay(DELAY);
    command
}

fn stubborn(plan: &mut Planned, chance: &mut Chance) -> Command {
    // It ignores the request, if it came to that before the request did.
    plan.want = Want::Killed(&[libc::SIGTERM, libc::SIGKILL], Cause::Timeout);
    plan.stdout = b"ready\n".to_vec();
    let mut stubborn = shell("trap '' TERM; echo ready; exec sleep 1000");
    stubborn.stdout(Output::capture()).interrupt(Signal::TERM);
    stubborn
        .timeout(Duration::from_millis(chance.random.below(20)))
        .wait_delay(DELAY);
    stubborn
}

fn silent(plan: &mut Planned, chance: &mut Chance) -> Command {
    plan.want = Want::Killed(KILLED, Cause::IdleTimeout);
    plan.stdout = chance.line();
    let mut silent = shell(&format!("echo {}; exec sleep 1000", chance.number));
    silent
        .stdout(Output::capture())
        .idle_timeout(DELAY)
        .wait_delay(DELAY);
    silent
}

fn cut_from_an_orphan(plan: &mut Planned, chance: &mut Chance) -> Command {
    plan.want = Want::Cut;
    plan.stdout = b"parent\n".to_vec();
    let mut parent = shell("cat <&3 & echo parent");
    let hold = chance.orphans.try_clone().expect("a copy of the pipe");
    parent
        .extra_fd(3, OwnedFd::from(hold))
        .stdout(Output::capture())
        .wait_delay(DELAY);
    parent
}

fn lines(plan: &mut Planned, _: &mut Chance) -> Command {
    plan.stdout = b"a|b||c|".to_vec();
    let (collected, into) = collected();
    plan.collected = Some(collected);
    let mut lines = Command::new("/usr/bin/printf");
    lines.arg("a\\nb\\n\\nc").stdout(Output::lines(move |line| {
        lock(&into).extend([line, b"|"].concat());
    }));
    lines
}

fn copied_by_reader_and_writer(plan: &mut Planned, chance: &mut Chance) -> Command {
    let bytes = chance.random.bytes(300_000);
    plan.stdout = bytes.clone();
    let (collected, into) = collected();
    plan.collected = Some(collected);
    let mut copy = Command::new("/bin/cat");
    copy.stdin(Input::reader(Cursor::new(bytes)))
        .stdout(Output::writer(Into(into)));
    copy
}

fn talks(plan: &mut Planned, chance: &mut Chance) -> Command {
    plan.then = Then::Talk(chance.random.bytes(10_000));
    let mut cat = Command::new("/bin/cat");
    cat.stdin(Input::pipe()).stdout(Output::pipe());
    cat
}

fn ladder_to_the_group(plan: &mut Planned, chance: &mut Chance) -> Command {
    plan.want = Want::Killed(
        &[libc::SIGINT, libc::SIGTERM, libc::SIGKILL],
        Cause::Timeout,
    );
    let ladder = Cancel::signal(Signal::INT).then(Duration::from_millis(1), Signal::TERM);
    let mut command = sleep();
    command
        .process_group(0)
        .on_cancel(ladder.to_group())
        .wait_delay(DELAY);
    command.timeout(Duration::from_millis(chance.random.below(10)));
    command
}

fn killed_session(plan: &mut Planned, _: &mut Chance) -> Command {
    plan.want = Want::Killed(KILLED, Cause::Cancelled);
    plan.then = Then::Kill;
    let mut command = sleep();
    command
        .session(true)
        .stdout(Output::capture())
        .stderr(Output::capture());
    command
}

fn interrupted(plan: &mut Planned, _: &mut Chance) -> Command {
    plan.want = Want::Killed(&[libc::SIGINT, libc::SIGKILL], Cause::Cancelled);
    plan.then = Then::Cancel;
    let mut command = sleep();
    command
        .interrupt(Signal::INT)
        .wait_delay(DELAY)
        .stdout(Output::capture_ends(10));
    command
}

fn bulk(plan: &mut Planned, _: &mut Chance) -> Command {
    plan.stdout = vec![0; 500_000];
    let mut zeros = Command::new("/usr/bin/head");
    zeros
        .args(["-c", "500000", "/dev/zero"])
        .stdout(Output::capture());
    zeros
}

fn deaf(_: &mut Planned, chance: &mut Chance) -> Command {
    // It reads nothing of what it is given, which is nobody's fault.
    let mut deaf = Command::new("/bin/true");
    deaf.stdin(Input::bytes(chance.random.bytes(100_000)));
    deaf
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

pub(super) fn sleep() -> Command {
    let mut command = Command::new("/bin/sleep");
    command.arg("1000");
    command
}

/// One that runs until it is killed; some with pipes of each kind, some in groups of their own.
pub(super) fn sleeper(number: usize) -> Command {
    let mut command = match number % 3 {
        0 => sleep(),
        1 => shell("trap '' TERM INT HUP; exec sleep 1000"),
        _ => Command::new("/bin/cat"),
    };
    command.stdin(Input::pipe()).stdout(Output::capture());
    if number.is_multiple_of(2) {
        command.process_group(0).stderr(Output::pipe());
    }
    command
}

fn collected() -> (Collected, Collected) {
    let collected = Collected::default();
    (Arc::clone(&collected), collected)
}

struct Into(Collected);

impl Write for Into {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
