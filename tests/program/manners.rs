//! Help, man pages, completions, and what is said of wrong arguments.

use super::*;

fn execloop(arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_execloop"));
    finish(command.args(arguments).stdin(Input::null()))
}

const HELPS: &[&[&str]] = &[
    &["--help"],
    &["run", "--help"],
    &["run", "-h"],
    &["completions", "--help"],
    &["man", "--help"],
    &["bench", "--help"],
];

#[test]
fn help_of_help_is_the_help_that_was_asked_for() {
    for (asked, meant) in [
        (&["help", "--help"][..], &["help"][..]),
        (&["help", "-h"], &["help"]),
        (&["help", "run", "--help"], &["run", "--help"]),
    ] {
        let [asked, meant] = [asked, meant].map(execloop);
        assert_eq!((asked.code, asked.stderr.as_str()), (Some(0), ""));
        assert_eq!(asked.output(), meant.output());
    }
    assert_eq!(execloop(&["help", "no-such"]).code, Some(2));
}

#[test]
fn help_fits_a_terminal_and_its_examples_are_of_arguments_that_exist() {
    for arguments in HELPS {
        let done = execloop(arguments);
        assert_eq!(
            (done.code, done.stderr.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
        let output = done.output();
        let long: Vec<&str> = output
            .lines()
            .filter(|line| line.chars().count() > 80)
            .collect();
        assert!(long.is_empty(), "{arguments:?}: {long:?}");
        assert!(!output.contains('\x1b'), "{arguments:?}");
    }
    let help = execloop(&["run", "--help"]).output();
    let (_, examples) = help.split_once("Examples:\n").expect("examples");
    let (examples, _) = examples.split_once("\n\n").expect("an end");
    let scratch = Scratch::new();
    for example in examples.lines() {
        // Nothing runs, but all is parsed and planned.
        let line = example
            .split("  ")
            .find(|part| part.contains("execloop run"));
        let (_, rest) = line
            .expect("a command")
            .split_once("execloop run")
            .expect("a command");
        let program = env!("CARGO_BIN_EXE_execloop");
        let rest = rest
            .replace("cwebp", "true")
            .replace("curl", "true")
            .replace("gzip", "true");
        let script = format!(
            "cd '{}'; : >commands; : >urls; '{program}' run --dry-run {rest} </dev/null",
            scratch.join(".").display()
        );
        let done = finish(&mut shell(&script));
        assert_eq!(
            (done.code, done.stderr.as_str()),
            (Some(0), ""),
            "{example}"
        );
    }
}

#[test]
fn completions_are_for_three_shells_and_know_the_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let done = execloop(&["completions", shell]);
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{shell}");
        for word in ["keep-order", "timeline", "completions"] {
            assert!(done.output().contains(word), "{shell}: {word}");
        }
        if execloop::look_path(shell).is_ok() {
            let mut command = Command::new(shell);
            let input = Input::bytes(done.stdout);
            let parsed = command.args(["-n", "/dev/stdin"]).stdin(input).finish();
            parsed
                .expect("it starts")
                .outcome
                .expect("it can be parsed");
        }
    }
    let done = execloop(&["completions", "tcsh"]);
    assert_eq!(done.code, Some(2));
    assert!(done.stderr.contains("possible values: bash"), "{done:?}");
}

#[test]
fn completions_know_the_pages_and_the_signals() {
    let bash = execloop(&["completions", "bash"]).output();
    for words in ["-h --help run bench completions man execloop\"", " TERM "] {
        assert!(bash.contains(words), "{words}");
    }
}

#[test]
fn a_man_page_has_the_places_as_rows_and_no_argument_among_the_options() {
    let page = execloop(&["man"]).output();
    let (_, options) = page.split_once(".SH OPTIONS").expect("options");
    let (options, _) = options.split_once(".SH").expect("a section behind it");
    assert!(!options.contains("COMMAND"), "{options}");
    let mut lines = page.lines();
    lines.find(|line| line.contains("the command\\*(Aqs number"));
    // A line that is blank or begins with one ends the row.
    let behind = lines.next();
    assert!(behind.is_some_and(|line| line.is_empty()), "{behind:?}");
}

#[test]
fn man_pages_have_all_flags_and_one_that_is_missing_is_told() {
    let page = execloop(&["man"]).output();
    for part in [
        ".TH execloop-run 1",
        "\\-\\-timeline",
        "\\-\\-keep\\-order",
        "Exit status:",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(
        execloop(&["man", "execloop"])
            .output()
            .contains(".TH execloop 1")
    );
    let done = execloop(&["man", "nonsense"]);
    assert_eq!((done.code, done.output().as_str()), (Some(2), ""));
    let expected = "execloop: there is no page \"nonsense\": there are execloop, run, ";
    assert!(done.stderr.starts_with(expected), "{done:?}");
}

#[test]
fn what_cannot_be_printed_is_told_and_a_closed_pipe_ends_it_quietly() {
    let program = env!("CARGO_BIN_EXE_execloop");
    for words in ["man", "completions zsh", "run --help", "--version"] {
        let done = finish(&mut shell(&format!("exec '{program}' {words} >/dev/full")));
        assert_eq!(done.code, Some(1), "{words}");
        assert_eq!(
            done.stderr, "execloop: stdout: No space left on device\n",
            "{words}"
        );
        let done = finish(&mut shell(&format!("exec '{program}' {words} >&-")));
        assert_eq!(
            done.stderr, "execloop: stdout: Bad file descriptor\n",
            "{words}"
        );
        let mut live = Live::of(Command::new(program).args(words.split(' ')));
        live.close_stdout();
        let done = live.finish_unread();
        assert!(done.stderr.is_empty(), "{words}: {done:?}");
    }
}
