//! A command that has the terminal, between a shell with job control and the keyboard.
//! Unaware of the terminal that this process may have. Who is in the foreground when: `tests/attributes.rs`, `terminals`.
#![cfg(target_os = "linux")]

#[path = "common"]
mod common {
    pub mod at_terminal;
    pub mod helper_path;
    pub mod ignored;
    pub mod shell;
    mod watchdog;
}

use std::io::{Read, Write};
use std::time::Duration;

use common::at_terminal::at_terminal;
use common::helper_path::helper_path;
use common::ignored::is_ignored;
use common::shell::shell;
use execloop::{CommandId, Output, Reactor, Signal};

/// Ends a shell that shows nothing more, so that a test says what it has waited for.
const GUARD: Duration = Duration::from_secs(60);

/// A shell with job control that leads a session on a terminal, at which somebody sits.
struct Shell {
    reactor: Reactor,
    id: CommandId,
    screen: String,
}

impl Shell {
    fn start(script: &str, variables: &[(&str, &str)]) -> Shell {
        let mut command = shell(&format!("set -m; {script}"));
        command
            .env("HELPER", helper_path())
            .envs(variables.iter().copied())
            .timeout(GUARD)
            .wait_delay(GUARD);
        let mut reactor = Reactor::new().expect("a reactor");
        let id = reactor.start(at_terminal(&mut command)).expect("it starts");
        Shell {
            reactor,
            id,
            screen: String::new(),
        }
    }

    fn types(&mut self, keys: &str) {
        let mut keyboard = self.reactor.stdin(self.id).expect("its keyboard");
        keyboard.write_all(keys.as_bytes()).expect("it is there");
    }

    /// Waits until this stands there, behind what was waited for before.
    #[track_caller]
    fn shows(&mut self, text: &str) -> String {
        loop {
            if let Some(at) = self.screen.find(text) {
                let rest = self.screen.split_off(at + text.len());
                return std::mem::replace(&mut self.screen, rest);
            }
            let mut bytes = [0; 4096];
            let mut screen = self.reactor.stdout(self.id).expect("its screen");
            let count = screen.read(&mut bytes).expect("a read");
            if count == 0 {
                let ended = self.reactor.wait(self.id).expect("waited");
                panic!("no {text:?} in {:?}: {ended:?}", self.screen);
            }
            self.screen += &String::from_utf8_lossy(&bytes[..count]);
        }
    }

    #[track_caller]
    fn ends(mut self) {
        let done = self.reactor.wait(self.id).expect("waited");
        let done = done.expect("finished");
        assert!(done.success(), "{:?}", done.outcome);
    }
}

/// Who is in the foreground: the group of the shell that says so.
const SAYS_WHO: &str =
    "read -r _ _ _ _ group _ _ front _ < /proc/$$/stat; test $group = $front && echo in front;";

#[test]
fn ctrl_z_stops_the_command_and_its_program_and_fg_lets_both_go_on() {
    // A builtin waits: who is stopped between a vfork(2) of its own and the exec is stopped for nobody else.
    let line = format!("{SAYS_WHO} echo ready; read -r answer; {SAYS_WHO} echo \"got $answer\"");
    let script = "\"$HELPER\" attributes console-line \"$LINE\"; echo stopped; \
        read -r answer; fg; echo \"status $?\"";
    let mut shell = Shell::start(script, &[("LINE", &line)]);
    assert!(shell.shows("ready").contains("in front"));
    shell.types("\x1a");
    shell.shows("stopped");
    shell.types("back\nword\n");
    assert!(shell.shows("got word").contains("in front"));
    shell.shows("status 0");
    shell.ends();
}

#[test]
fn a_command_that_stops_itself_stops_its_program_and_fg_lets_both_go_on() {
    let line = format!("kill -STOP $$; {SAYS_WHO} read -r answer; echo \"got $answer\"");
    let script = "\"$HELPER\" attributes console-line \"$LINE\"; echo stopped; \
        read -r answer; fg; echo \"status $?\"";
    let mut shell = Shell::start(script, &[("LINE", &line)]);
    shell.shows("stopped");
    shell.types("back\nword\n");
    assert!(shell.shows("got word").contains("in front"));
    shell.shows("status 0");
    shell.ends();
}

#[test]
fn ctrl_c_reaches_the_command_and_not_its_program() {
    if is_ignored(Signal::INT) {
        return;
    }
    let script = "\"$HELPER\" attributes console-line \"$LINE\"; echo \"status $?\"";
    let line = "trap 'echo caught; exit 7' INT; echo ready; while :; do read -r answer; done";
    let mut shell = Shell::start(script, &[("LINE", line)]);
    shell.shows("ready");
    // The line is for a shell that was about to read, and would heed its trap afterwards.
    shell.types("\x03\n");
    shell.shows("caught");
    shell.shows("exit status 7");
    shell.shows("status 1");
    shell.ends();
}

#[test]
fn a_program_in_the_background_stops_with_its_command_that_reads_and_gives_it_the_terminal_later() {
    // The one who waits is the command that the terminal stops; its program is stopped by it.
    let script = "\"$HELPER\" attributes console-line \"$LINE\" & \
        until grep -q '^State:.T' /proc/$!/status; do sleep 0.02; done; echo stopped; fg; echo \"status $?\"";
    let line = format!("read -r answer; {SAYS_WHO} echo \"got $answer\"");
    let mut shell = Shell::start(script, &[("LINE", &line)]);
    shell.shows("stopped");
    shell.types("word\n");
    assert!(shell.shows("got word").contains("in front"));
    shell.shows("status 0");
    shell.ends();
}

#[test]
fn ctrl_z_is_without_effect_where_no_shell_would_notice() {
    // Its program leads the session: nobody could let it go on.
    let script = "exec \"$HELPER\" attributes console-line \"$LINE\"";
    let line = "trap 'echo continued' CONT; echo ready; until test \"$answer\" = word; do read -r answer; done; echo \"got $answer\"";
    let mut shell = Shell::start(script, &[("LINE", line)]);
    shell.shows("ready");
    // The line: as above.
    shell.types("\x1a\n");
    shell.shows("continued");
    shell.types("word\n");
    shell.shows("got word");
    shell.ends();
}

#[test]
fn without_a_terminal_the_command_runs_all_the_same() {
    let mut command = shell("exec \"$HELPER\" attributes console-line 'echo ran'");
    command
        .env("HELPER", helper_path())
        .session(true)
        .stderr(Output::inherit());
    let output = command.output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output), "ran\n");
}
