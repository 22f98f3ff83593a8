//! The number of system calls that a command costs: stable where time is not. Counted by strace.
//! Unaware of what the calls are for; the helper runs the commands.
#![cfg(all(target_os = "linux", not(execloop_kqueue_shim)))]

#[path = "common"]
mod common {
    pub mod helper_path;
    pub mod scratch;
    pub mod text;
    mod watchdog;
}

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use common::helper_path::helper_path;
use common::scratch::Scratch;
use common::text::text;
use execloop::{Command, Output};

/// clone3, poll, waitid, close; and one to spare.
const PLAIN_CALLS_MAX: f64 = 5.0;
/// Besides, for each stream: pipe2, read two times, close two times.
const CAPTURED_CALLS_MAX: f64 = 15.0;
/// close_range two times, rt_sigaction, dup3 three times, execve; and fcntl for each pipe.
const CHILD_CALLS_MAX: f64 = 9.0;

/// The costs of a run's begin and end are in both, and fall out of the difference.
const FEW_COMMANDS: usize = 100;
const MANY_COMMANDS: usize = 300;

#[test]
fn a_plain_command_costs_its_parent_at_most_5_calls() {
    check("plain", PLAIN_CALLS_MAX);
}

#[test]
fn a_captured_command_costs_its_parent_at_most_15_calls() {
    check("captured", CAPTURED_CALLS_MAX);
}

fn check(kind: &str, parent_calls_max: f64) {
    let (few, many) = match (trace(kind, FEW_COMMANDS), trace(kind, MANY_COMMANDS)) {
        (Ok(few), Ok(many)) => (few, many),
        (Err(why), _) | (_, Err(why)) => return eprintln!("skipped: {why}"),
    };
    let parent = per_command(&few.parent, &many.parent);
    let child = per_command(&few.child, &many.child);
    // Each command was seen, and none of its calls is missing.
    assert_eq!(parent.get("clone3"), Some(&1.0), "{parent:?}");
    assert!(parent.get("waitid") >= Some(&1.0), "{parent:?}");
    assert_eq!(child.get("execve"), Some(&1.0), "{child:?}");
    let sum = |calls: &BTreeMap<&str, f64>| calls.values().sum::<f64>();
    assert!(
        sum(&parent) <= parent_calls_max,
        "{} calls: {parent:?}",
        sum(&parent)
    );
    assert!(
        sum(&child) <= CHILD_CALLS_MAX,
        "{} calls: {child:?}",
        sum(&child)
    );
}

fn per_command<'a>(few: &Calls, many: &'a Calls) -> BTreeMap<&'a str, f64> {
    let commands = (MANY_COMMANDS - FEW_COMMANDS) as f64;
    let each = |(name, count): (&'a String, &usize)| {
        let growth = *count as f64 - few.get(name).copied().unwrap_or(0) as f64;
        (name.as_str(), growth / commands)
    };
    many.iter()
        .map(each)
        .filter(|(_, each)| *each != 0.0)
        .collect()
}

/// How often each call was made.
type Calls = BTreeMap<String, usize>;

#[derive(Debug, Default)]
struct Trace {
    parent: Calls,
    /// Of all children together, each until its exec.
    child: Calls,
}

/// Runs so many commands under strace. The error says why it cannot be counted here.
fn trace(kind: &str, commands: usize) -> Result<Trace, String> {
    let scratch = Scratch::new();
    let file = scratch.join("trace");
    // First on something that cannot fail: tracing may be forbidden.
    strace(&file, &["/bin/true"])?;
    strace(
        &file,
        &[helper_path(), "cost", "calls", kind, &commands.to_string()],
    )
    .unwrap_or_else(|why| panic!("{why}"));
    let lines = std::fs::read_to_string(&file).expect("a trace");
    let refused = ["clone3(", "close_range("].into_iter().find(|call| {
        lines
            .lines()
            .any(|line| line.contains(call) && is_refused(line))
    });
    match refused {
        Some(call) => Err(format!(
            "{call}2) is refused here, and its fallback costs more"
        )),
        None => Ok(count(&lines)),
    }
}

fn is_refused(line: &str) -> bool {
    line.contains(" = -1 ENOSYS") || line.contains(" = -1 EPERM")
}

fn strace(file: &Path, program: &[&str]) -> Result<(), String> {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-qq", "-s", "0", "-o"])
        .arg(file)
        .args(program);
    command.stdout(Output::capture()).stderr_to_stdout(true);
    let finished = command.finish().map_err(|error| error.to_string())?;
    match &finished.outcome {
        Ok(()) => Ok(()),
        Err(error) => Err(format!("strace: {error}: {}", text(&finished.stdout))),
    }
}

/// Sorts the calls of a trace: those of the first process, and those of its children before their exec.
fn count(lines: &str) -> Trace {
    let mut trace = Trace::default();
    let mut parent = None;
    let mut unfinished = BTreeMap::new();
    let mut executed = BTreeSet::new();
    for line in lines.lines() {
        let Some((pid, rest)) = line.split_once(' ') else {
            continue;
        };
        let rest = rest.trim_start();
        // A call that another process's line has cut in two is put together again.
        if let Some(start) = rest.strip_suffix("<unfinished ...>") {
            unfinished.insert(pid, start);
            continue;
        }
        let resumed = rest
            .strip_prefix("<... ")
            .and_then(|rest| rest.split_once(" resumed>"));
        let call = match resumed {
            Some((_, end)) => format!("{}{end}", unfinished.remove(pid).unwrap_or_default()),
            None => rest.to_owned(),
        };
        let Some((name, _)) = call.split_once('(').filter(|(name, _)| is_name(name)) else {
            continue;
        };
        let is_parent = *parent.get_or_insert(pid) == pid;
        if is_parent && !is_foreign(&call) {
            *trace.parent.entry(name.to_owned()).or_default() += 1;
        }
        if !is_parent && !executed.contains(pid) {
            *trace.child.entry(name.to_owned()).or_default() += 1;
            if name == "execve" && call.ends_with("= 0") {
                executed.insert(pid);
            }
        }
    }
    trace
}

fn is_name(name: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    !name.is_empty() && name.chars().all(is_part)
}

/// Calls that are not the library's: std's look at each descriptor before it closes it, in debug builds; the helper's
/// wait; and calls that the tracer's signals made start again.
fn is_foreign(call: &str) -> bool {
    call.contains("F_GETFD") || call.contains("WNOWAIT") || call.contains("ERESTART")
}
