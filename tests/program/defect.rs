//! A panic of the program: what the user gets to read. The helper child has the program's own hook and panics, as nothing in
//! the program does.

use super::*;
use common::helper_path::helper_path;

/// `EX_SOFTWARE` of sysexits(3).
const DEFECT: Option<i32> = Some(70);

/// Runs the helper, which panics there. `redirections` are the shell's.
fn panicking(place: &str, redirections: &str) -> Done {
    let helper = helper_path();
    finish(&mut shell(&format!(
        "ulimit -n 64; exec '{helper}' defect {place} {redirections}"
    )))
}

/// Checks that this is the one line, and nothing of the panic.
#[track_caller]
fn assert_line(stderr: &str) {
    let begin = format!(
        "execloop: this is a defect of execloop {} (tests/helper/defect.rs:",
        env!("CARGO_PKG_VERSION")
    );
    let end = "); please report it at https://github.com/execloop/execloop/issues\n";
    assert!(
        stderr.starts_with(&begin) && stderr.ends_with(end),
        "{stderr:?}"
    );
    assert_eq!(stderr.lines().count(), 1, "{stderr:?}");
}

#[test]
fn a_panic_anywhere_ends_the_program_with_one_line_that_says_where_to_report_it() {
    for place in ["main", "thread", "callback", "starved"] {
        let done = panicking(place, "");
        assert_eq!(
            (done.code, done.output().as_str()),
            (DEFECT, ""),
            "{place}: {done:?}"
        );
        assert_line(&done.stderr);
    }
}

#[test]
fn a_panic_has_its_exit_status_also_where_the_line_cannot_be_written() {
    for place in ["main", "thread", "callback", "starved"] {
        for lost in ["2>/dev/full", "2>&-", ">&- 2>&-"] {
            let done = panicking(place, lost);
            assert_eq!(
                (done.code, done.output().as_str(), done.stderr.as_str()),
                (DEFECT, "", ""),
                "{place} {lost}"
            );
        }
        for unwritable in [">/dev/full", ">&-"] {
            let done = panicking(place, unwritable);
            assert_eq!(done.code, DEFECT, "{place} {unwritable}");
            assert_line(&done.stderr);
        }
        // A pipe without a reader: neither SIGPIPE nor EPIPE makes another end of it.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(helper_path());
        command.args(["defect", place]).stderr(Output::file(writer));
        let finished = command.finish().expect("the helper starts");
        let status = finished.status.expect("a status");
        assert_eq!((status.code(), status.signal()), (DEFECT, None), "{place}");
    }
}
