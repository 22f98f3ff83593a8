//! The example `mini_ninja` builds a C project and keeps ninja's rules: what is made, in which order, how many at once,
//! what a failure and a Ctrl-C mean. Where ninja is installed, both have to run the same commands.
//! Unaware of how the example is written. What a machine lacks (a C compiler, make, ninja) is said to be skipped.
#![cfg(target_os = "linux")]

#[path = "common"]
mod common {
    pub mod scratch;
    pub mod text;
    mod watchdog;
}

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use common::scratch::Scratch;
use common::text::text;
use execloop::jobserver::Jobserver;

const UNITS: usize = 40;

/// The program. `cargo test --test mini_ninja` builds no examples, so this does; where they are there, it is quick.
fn mini_ninja() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let test = std::env::current_exe().expect("this test");
        let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
        let target = profile.parent().expect("target");
        let mut build = Command::new(env!("CARGO"));
        build.args([
            "build",
            "--quiet",
            "--example",
            "mini_ninja",
            "--target-dir",
        ]);
        build.arg(target);
        build
            .arg("--manifest-path")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        if cfg!(all(feature = "cli", feature = "test-helper")) {
            build.arg("--all-features");
        }
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo").success(), "{build:?}");
        profile.join("examples/mini_ninja")
    });
    let mut command = Command::new(program);
    command
        .env_remove("MAKEFLAGS")
        .env_remove("CARGO_MAKEFLAGS");
    command
}

/// Whether a tool is there, and says so if not.
fn has(program: &str) -> bool {
    let found = Command::new(program)
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if found.is_err() {
        println!("skipped: there is no {program}");
    }
    found.is_ok()
}

fn ninja() -> Option<Command> {
    has("ninja").then(|| {
        let mut command = Command::new("ninja");
        command.env_remove("MAKEFLAGS").env_remove("NINJA_STATUS");
        command
    })
}

#[track_caller]
fn output(command: &mut Command) -> Output {
    command.output().expect("it starts")
}

/// Runs it in a directory, to the end.
#[track_caller]
fn run(mut command: Command, directory: &Path, arguments: &[&str]) -> Output {
    output(command.current_dir(directory).args(arguments))
}

/// A directory with this build.ninja, behind rules that most need.
fn project(lines: &str) -> Scratch {
    let scratch = Scratch::new();
    let rules = "rule sh\n  command = $run\nrule touch\n  command = touch $out\n";
    fs::write(scratch.join("build.ninja"), [rules, lines].concat()).expect("a file");
    scratch
}

/// What was run, without the counts before it.
fn titles(stdout: &[u8]) -> BTreeSet<String> {
    let said = text(stdout);
    let lines = said.lines().filter(|line| line.starts_with('['));
    let titles = lines.filter_map(|line| line.split_once("] "));
    titles
        .map(|(_, title)| title.trim_end().to_owned())
        .collect()
}

fn set<const N: usize>(titles: [&str; N]) -> BTreeSet<String> {
    titles.map(str::to_owned).into()
}

/// Makes all files equally old, so that what is touched afterwards is newer, whatever the clock's grain.
fn age(directory: &Path) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            age(&path);
        } else {
            let file = File::options().append(true).open(&path).expect("ours");
            let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
            file.set_modified(long_ago).expect("a time");
        }
    }
}

fn touch(path: impl AsRef<Path>) {
    File::options()
        .append(true)
        .create(true)
        .open(path)
        .and_then(|mut file| file.write_all(b"\n"))
        .expect("ours");
}

fn write_c_project(directory: &Path) {
    let mut generator = Command::new("sh");
    generator.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/c_project.sh"));
    let written = output(generator.arg(directory).arg(UNITS.to_string()));
    assert!(written.status.success(), "{}", text(&written.stderr));
}

/// What the C project's program has to print, by the same sums.
fn expected() -> String {
    fn unit(number: usize, x: usize) -> (usize, usize) {
        let own = (["one", "two", "three"][x % 3].len() + number, 1);
        if number == 0 || x > 8 {
            return own;
        }
        let rest = unit(number / 2, x + 1);
        (own.0 + rest.0, own.1 + rest.1)
    }
    let (mut value, mut depth) = (0, 0);
    for number in 0..UNITS {
        let (more, calls) = unit(number, 0);
        (value, depth) = (value + more, depth + calls);
    }
    format!("calculator 1.2.3: {value} in {depth} calls\n")
}

#[test]
fn a_c_project_is_built_and_its_program_runs_and_then_there_is_no_work_to_do() {
    if !has("cc") {
        return;
    }
    let scratch = Scratch::new();
    write_c_project(&scratch);
    let built = run(mini_ninja(), &scratch, &[]);
    assert!(built.status.success(), "{}", text(&built.stdout));
    let libraries = UNITS / 10;
    // Each unit, main, the header, the libraries, the program.
    assert_eq!(titles(&built.stdout).len(), UNITS + 3 + libraries);
    let last = format!("[{0}/{0}] LINK calculator", UNITS + 3 + libraries);
    assert_eq!(text(&built.stdout).lines().last(), Some(last.as_str()));
    let checked = run(mini_ninja(), &scratch, &["check"]);
    assert_eq!(text(&checked.stdout), expected() + "[1/1] CHECK\n");
    let again = run(mini_ninja(), &scratch, &[]);
    assert_eq!(text(&again.stdout), "mini_ninja: no work to do.\n");
    assert!(again.status.success());
}

#[test]
fn what_is_out_of_date_is_made_again_and_nothing_else_as_ninja_does() {
    if !has("cc") {
        return;
    }
    type Change = fn(&Path);
    let changes: [(Change, BTreeSet<String>); 5] = [
        (
            // By itself, and by the two units that call it.
            |project| touch(project.join("include/unit3.h")),
            set([
                "CC build/obj/unit3.o",
                "CC build/obj/unit6.o",
                "CC build/obj/unit7.o",
                "AR build/lib/lib0.a",
                "LINK calculator",
            ]),
        ),
        (
            |project| touch(project.join("src/unit25.c")),
            set([
                "CC build/obj/unit25.o",
                "AR build/lib/lib2.a",
                "LINK calculator",
            ]),
        ),
        (
            // Only its order counts for main.o, but the compiler has found it.
            |project| touch(project.join("version.txt")),
            set([
                "VERSION build/gen/version.h",
                "CC build/obj/main.o",
                "LINK calculator",
            ]),
        ),
        (
            |project| fs::remove_file(project.join("build/lib/lib1.a")).expect("it was made"),
            set(["AR build/lib/lib1.a", "LINK calculator"]),
        ),
        (|_| {}, set([])),
    ];
    for mut tool in [Some(mini_ninja()), ninja()].into_iter().flatten() {
        let scratch = Scratch::new();
        write_c_project(&scratch);
        tool.current_dir(&*scratch);
        assert!(output(&mut tool).status.success());
        for (change, expected) in &changes {
            age(&scratch);
            change(&scratch);
            let made = output(&mut tool);
            assert!(made.status.success(), "{tool:?}: {}", text(&made.stdout));
            assert_eq!(titles(&made.stdout), *expected, "{tool:?}");
        }
    }
}

#[test]
fn a_header_that_is_gone_is_a_reason_to_compile_and_no_error() {
    let scratch = project(
        "rule found\n  command = echo $out: $in one.h \\\\ > $out.d; touch $out\n  depfile = $out.d\n\
         build one.o: found one.c\n",
    );
    touch(scratch.join("one.c"));
    touch(scratch.join("one.h"));
    assert!(run(mini_ninja(), &scratch, &[]).status.success());
    let again = run(mini_ninja(), &scratch, &[]);
    assert_eq!(text(&again.stdout), "mini_ninja: no work to do.\n");
    fs::remove_file(scratch.join("one.h")).expect("it is there");
    assert_eq!(titles(&run(mini_ninja(), &scratch, &[]).stdout).len(), 1);
}

#[test]
fn the_files_syntax_is_ninjas() {
    let scratch = project(
        "# a comment\n\
         where = made$:here\n\
         include more.ninja\n\
         build ${where}/a b | c: say one two | three || four\n  \
           word = own\n\
         build four: touch\n\
         build all: phony b four\n\
         build other: touch\n\
         default all\n",
    );
    // The price of one `$` is two; a line goes on behind one, without what indents it.
    let rule = "rule say\n  command = for f in $out; do echo '$word $$ $\n      ${in}${more.x}-' > $$f; done\n\
                word = $where all\n";
    fs::write(scratch.join("more.ninja"), rule).expect("a file");
    for input in ["one", "two", "three"] {
        touch(scratch.join(input));
    }
    let made = run(mini_ninja(), &scratch, &[]);
    assert!(
        made.status.success(),
        "{}{}",
        text(&made.stdout),
        text(&made.stderr)
    );
    let said = fs::read_to_string(scratch.join("b")).expect("it was made");
    assert_eq!(said, "own $ one two-\n");
    assert!(scratch.join("made:here/a").exists() && scratch.join("four").exists());
    assert!(!scratch.join("other").exists(), "it is not of the default");
    assert!(run(mini_ninja(), &scratch, &["other"]).status.success());
    assert!(scratch.join("other").exists());
}

#[test]
fn what_cannot_be_made_is_told_before_anything_runs() {
    let scratch = project("build a: touch\nbuild b: touch missing\n");
    for (arguments, expected) in [
        (&["a", "b"][..], "missing is missing"),
        (&["unknown"], "unknown is missing"),
        (&["-f", "nowhere.ninja"], "nowhere.ninja: "),
        (&["-j", "many"], "InvalidDigit"),
    ] {
        let refused = run(mini_ninja(), &scratch, arguments);
        assert_eq!(refused.status.code(), Some(1));
        assert!(
            text(&refused.stderr).contains(expected),
            "{}",
            text(&refused.stderr)
        );
        assert!(!scratch.join("a").exists());
    }
    let scratch = project("build a: nothing b\n");
    let refused = run(mini_ninja(), &scratch, &[]);
    assert!(
        text(&refused.stderr).contains("no such rule"),
        "{}",
        text(&refused.stderr)
    );
    let scratch = project("build a: touch b\nbuild b: touch a\n");
    assert_eq!(run(mini_ninja(), &scratch, &[]).status.code(), Some(1));
}

#[test]
fn a_failure_is_told_with_its_command_and_its_output_and_leaves_no_half_made_file() {
    let scratch = project(
        "build half: sh\n  run = echo some > half; echo out; echo err >&2; exit 3\n\
         build after: touch half\n",
    );
    let failed = run(mini_ninja(), &scratch, &[]);
    assert_eq!(failed.status.code(), Some(1));
    let command = "echo some > half; echo out; echo err >&2; exit 3";
    let expected = format!(
        "[1/2] {command}\nFAILED: half: exit status 3\n{command}\nout\nerr\n\
         mini_ninja: subcommand failed.\n"
    );
    assert_eq!(text(&failed.stdout), expected);
    assert!(!scratch.join("half").exists() && !scratch.join("after").exists());
}

/// Edges `e0`, `e1` .. that say when they run, and whose numbers are in `failing` then fail.
fn edges(count: usize, failing: &[usize]) -> String {
    let edge = |number| {
        let end = if failing.contains(&number) {
            "false"
        } else {
            "true"
        };
        format!("build e{number}: sh\n  run = echo e{number} >> ran; {end}\n")
    };
    (0..count).map(edge).collect()
}

#[test]
fn as_many_failures_as_k_says_end_the_build_as_with_ninja() {
    for (arguments, expected) in [
        (&["-j1"][..], 2),
        (&["-j1", "-k1"], 2),
        (&["-j", "1", "-k", "2"], 4),
        (&["-j1", "-k3"], 6),
        (&["-j1", "-k0"], 6),
    ] {
        for mut tool in [Some(mini_ninja()), ninja()].into_iter().flatten() {
            let scratch = project(&edges(6, &[1, 3]));
            let ended = output(tool.current_dir(&*scratch).args(arguments));
            assert_eq!(ended.status.code(), Some(1), "{tool:?}");
            let ran = fs::read_to_string(scratch.join("ran")).expect("some ran");
            let expected: Vec<_> = (0..expected).map(|number| format!("e{number}")).collect();
            assert_eq!(ran.lines().collect::<Vec<_>>(), expected, "{tool:?}");
        }
    }
}

/// Starts it, and hands out its stdout.
fn start(command: &mut Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let stdout = child.stdout.take().expect("a pipe");
    (child, BufReader::new(stdout))
}

fn mkfifo(path: impl AsRef<OsStr>) {
    assert!(output(Command::new("mkfifo").arg(path)).status.success());
}

#[test]
fn nothing_starts_after_a_failure_that_others_outlive() {
    for mut tool in [Some(mini_ninja()), ninja()].into_iter().flatten() {
        let scratch = project(&format!(
            "build slow: sh\n  run = read word < gate; echo slow >> ran\n\
             build bad: sh\n  run = false\n{}build last: touch slow\n",
            edges(5, &[])
        ));
        mkfifo(scratch.join("gate"));
        let (mut child, mut stdout) = start(tool.current_dir(&*scratch).arg("-j2"));
        let mut line = String::new();
        while !line.starts_with("FAILED: ") {
            line.clear();
            assert_ne!(
                stdout.read_line(&mut line).expect("its output"),
                0,
                "no failure"
            );
        }
        // The failure is told: from here on there is a place, and nobody for it.
        fs::write(scratch.join("gate"), "go\n").expect("somebody reads");
        assert_eq!(child.wait().expect("it ends").code(), Some(1));
        let ran = fs::read_to_string(scratch.join("ran")).expect("it ran");
        assert_eq!(ran, "slow\n", "{tool:?}");
        assert!(!scratch.join("last").exists());
    }
}

#[test]
fn what_was_not_begun_keeps_what_was_made_before() {
    for mut tool in [Some(mini_ninja()), ninja()].into_iter().flatten() {
        let scratch = project("build bad: sh\n  run = false\nbuild old: touch in\n");
        touch(scratch.join("old"));
        age(&scratch);
        touch(scratch.join("in"));
        let failed = output(tool.current_dir(&*scratch).arg("-j1"));
        assert_eq!(titles(&failed.stdout), set(["false"]), "{tool:?}");
        assert!(scratch.join("old").exists(), "{tool:?}");
    }
}

/// `count` edges that say when they begin and end. With `together`, so many of the first wait for one another.
fn timed(count: usize, together: usize, also: &str) -> Scratch {
    let mut lines = String::new();
    for number in 0..count {
        // The first hears of each of the others, and only then lets them go.
        let meet = match number {
            0 => ["here", "go"]
                .map(|word| {
                    let open = |other| format!(": > {word}{other}; ");
                    (1..together).map(open).collect::<String>()
                })
                .concat(),
            _ if number < together => format!(": < here{number}; : < go{number}; "),
            _ => String::new(),
        };
        let run = format!("echo + >> ran; {meet}echo - >> ran");
        lines += &format!("build e{number}: sh\n  run = {run}\n{also}");
    }
    let scratch = project(&format!("pool few\n  depth = 2\n{lines}"));
    for other in 1..together {
        mkfifo(scratch.join(format!("here{other}")));
        mkfifo(scratch.join(format!("go{other}")));
    }
    scratch
}

/// How many ran at once, at most, of so many.
#[track_caller]
fn most_at_once(scratch: &Scratch, count: usize) -> usize {
    let ran = fs::read_to_string(scratch.join("ran")).expect("some ran");
    assert_eq!(ran.lines().count(), 2 * count);
    let (mut now, mut most) = (0, 0);
    for line in ran.lines() {
        now = if line == "+" { now + 1 } else { now - 1 };
        most = most.max(now);
    }
    most
}

#[test]
fn as_many_run_at_once_as_j_says_and_no_more() {
    let scratch = timed(12, 3, "");
    assert!(run(mini_ninja(), &scratch, &["-j3"]).status.success());
    assert_eq!(most_at_once(&scratch, 12), 3);
}

#[test]
fn a_pool_is_as_deep_as_it_says() {
    let scratch = timed(8, 2, "  pool = few\n");
    assert!(run(mini_ninja(), &scratch, &["-j8"]).status.success());
    assert_eq!(most_at_once(&scratch, 8), 2);
}

#[test]
fn beyond_a_load_that_is_always_reached_one_runs_at_a_time() {
    let scratch = timed(4, 1, "");
    assert!(
        run(mini_ninja(), &scratch, &["-j4", "-l0"])
            .status
            .success()
    );
    assert_eq!(most_at_once(&scratch, 4), 1);
}

#[test]
fn the_console_is_one_commands_at_a_time_and_the_others_have_no_stdin() {
    let scratch = project(
        "build a: sh\n  run = echo + >> ran; read word; echo console $$word; echo - >> ran\n  pool = console\n\
         build b: sh\n  run = echo + >> ran; read word; echo console $$word; echo - >> ran\n  pool = console\n\
         build c: sh\n  run = read word || echo no stdin\n",
    );
    let mut command = mini_ninja();
    command
        .current_dir(&*scratch)
        .arg("-j8")
        .stdin(Stdio::piped());
    let (mut child, mut stdout) = start(&mut command);
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"one\ntwo\n").expect("it reads");
    let mut said = String::new();
    stdout.read_to_string(&mut said).expect("its output");
    assert!(child.wait().expect("it ends").success(), "{said}");
    let lines: BTreeSet<_> = said.lines().collect();
    for line in ["console one", "console two", "no stdin"] {
        assert!(lines.contains(line), "{said}");
    }
    assert_eq!(most_at_once(&scratch, 2), 1);
}

/// Commands that hold the fifo `leash` open until they are dead, one of them by a child of its own.
fn leashed(ignore: &str) -> Scratch {
    let hold = format!("{ignore}exec 9> leash; echo ready >&9; echo half > $out");
    let scratch = project(&format!(
        "rule hold\n  command = {hold}; read word < nobody\n\
         rule fork\n  command = {hold}; (read word < nobody) & wait\n\
         build a: hold\nbuild b: fork\nbuild c: touch a\n",
    ));
    mkfifo(scratch.join("leash"));
    mkfifo(scratch.join("nobody"));
    scratch
}

/// Interrupts it when two commands are ready; returns when nobody holds the leash any more.
#[track_caller]
fn interrupt(scratch: &Scratch, signal: &str) {
    let (mut child, mut stdout) = start(mini_ninja().current_dir(&**scratch).arg("-j4"));
    let mut leash = BufReader::new(File::open(scratch.join("leash")).expect("a fifo"));
    let mut line = String::new();
    for _ in 0..2 {
        leash.read_line(&mut line).expect("the fifo");
    }
    assert_eq!(line, "ready\nready\n");
    let pid = child.id().to_string();
    assert!(
        output(Command::new("kill").args([signal, &pid]))
            .status
            .success()
    );
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    // The end comes when all are dead: the program has left nobody behind.
    assert_eq!(leash.read_to_end(&mut Vec::new()).expect("the fifo"), 0);
    line.clear();
    stdout.read_to_string(&mut line).expect("its output");
    assert_eq!(line, "mini_ninja: interrupted by user.\n");
    for half_made in ["a", "b", "c"] {
        assert!(!scratch.join(half_made).exists(), "{half_made}");
    }
}

#[test]
fn ctrl_c_ends_what_runs_and_leaves_no_process_and_no_half_made_file() {
    interrupt(&leashed(""), "-INT");
    interrupt(&leashed(""), "-TERM");
}

#[test]
fn who_ignores_ctrl_c_is_killed_with_its_group() {
    interrupt(&leashed("trap '' INT; "), "-INT");
}

#[test]
fn what_a_command_has_left_in_the_background_ends_with_it() {
    let scratch = project(
        "build a: sh\n  run = (exec 9> leash; : > up; read word < nobody) & read word < up; true\n",
    );
    for fifo in ["leash", "nobody", "up"] {
        mkfifo(scratch.join(fifo));
    }
    let (mut child, _stdout) = start(mini_ninja().current_dir(&*scratch));
    let mut leash = File::open(scratch.join("leash")).expect("a fifo");
    assert_eq!(leash.read_to_end(&mut Vec::new()).expect("the fifo"), 0);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn under_make_it_shares_the_tokens_and_make_has_all_of_them_again() {
    if !has("make") {
        return;
    }
    let program = mini_ninja();
    let recipe = format!("all:\n\t+@{}\n", Path::new(program.get_program()).display());
    let under_make = |scratch: &Scratch| {
        fs::write(scratch.join("Makefile"), &recipe).expect("a file");
        let mut make = Command::new("make");
        make.env_remove("MAKEFLAGS").env_remove("MFLAGS");
        let made = run(make, scratch, &["-j3"]);
        // make counts its tokens at the end.
        assert!(
            !text(&made.stderr).contains("token"),
            "{}",
            text(&made.stderr)
        );
        made.status.success()
    };
    let scratch = timed(9, 3, "");
    assert!(under_make(&scratch));
    assert_eq!(most_at_once(&scratch, 9), 3);
    assert!(!under_make(&project(&edges(6, &[1]))));
}

#[test]
fn a_jobserver_of_ours_is_shared_and_has_all_tokens_again() {
    let jobserver = Jobserver::fifo(3).expect("a fifo");
    let scratch = timed(9, 3, "");
    let program = mini_ninja();
    // The second time it has all tokens again.
    for _ in 0..2 {
        let _ = fs::remove_file(scratch.join("ran"));
        let mut command = execloop::Command::new(program.get_program());
        command.current_dir(&*scratch);
        jobserver
            .pass_to(&mut command)
            .expect("a fifo needs nothing");
        command.run().expect("it succeeds");
        assert_eq!(most_at_once(&scratch, 9), 3);
    }
}
