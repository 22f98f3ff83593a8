//! `execloop bench`: what it prints, draws and refuses. What it measures is not looked at.

use super::*;

/// Those that are built in, in the order of the program.
const ENGINES: &[&str] = if cfg!(feature = "bench-peers") {
    &["execloop", "threads", "tokio", "async-process"]
} else {
    &["execloop", "threads"]
};

fn bench(arguments: &[&str]) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_execloop"));
    command.args(["bench", "--children", "8", "--at-once", "3"]);
    finish(command.args(arguments).stdin(Input::null()))
}

/// The number behind this name.
#[track_caller]
fn number(line: &str, name: &str) -> f64 {
    let (_, rest) = line.split_once(&format!("\"{name}\":")).expect("the name");
    let end = rest.find([',', '}']).expect("an end");
    rest[..end].parse().expect("a number")
}

#[test]
fn each_workload_gives_an_object_for_each_engine() {
    for workload in ["exit", "echo", "cat", "sleep", "spin"] {
        let done = bench(&["--workload", workload, "--json"]);
        assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{done:?}");
        let output = done.output();
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines.len(), ENGINES.len(), "{output}");
        for (line, engine) in lines.iter().zip(ENGINES) {
            let begin = format!(
                "{{\"engine\":\"{engine}\",\"workload\":\"{workload}\",\"children\":8,\"at_once\":3,"
            );
            assert!(line.starts_with(&begin) && line.ends_with('}'), "{line}");
            assert!(number(line, "per_second") > 0.0, "{line}");
            assert!(number(line, "cpu_us_per_command") > 0.0, "{line}");
            assert!(number(line, "p50_us") <= number(line, "p99_us"), "{line}");
            assert!(
                number(line, "rss_bytes") > 0.0 && number(line, "descriptors") > 2.0,
                "{line}"
            );
        }
        // Three at once, each for 50 ms.
        let most = match workload {
            "sleep" => 3.0 / 0.05,
            _ => f64::INFINITY,
        };
        assert!(
            lines.iter().all(|line| number(line, "per_second") < most),
            "{output}"
        );
    }
}

#[test]
fn a_table_has_a_row_for_each_engine_in_the_order_asked_for() {
    let reversed: Vec<&str> = ENGINES.iter().rev().copied().collect();
    let done = bench(&["--engines", &reversed.join(",")]);
    let output = done.output();
    let begins: Vec<&str> = output
        .lines()
        .map(|line| line.split(' ').next().unwrap_or(""))
        .collect();
    let expected = [
        &["8", "", "engine"],
        reversed.as_slice(),
        &["", "reported:"],
    ]
    .concat();
    assert_eq!(begins, expected, "{output}");
    assert!(
        output.lines().all(|line| line.chars().count() <= 85),
        "{output}"
    );
}

#[test]
fn a_plot_is_an_svg_with_a_bar_for_each_figure_of_each_engine() {
    let scratch = Scratch::new();
    let path = scratch.join("plot.svg");
    let done = bench(&["--plot", &path.display().to_string()]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let svg = fs::read_to_string(path).expect("text");
    assert!(
        svg.starts_with("<svg ") && svg.ends_with("</svg>\n"),
        "{svg}"
    );
    assert_eq!(svg.matches("\" fill=\"#3d8bd4\"/>").count(), 4, "{svg}");
    for engine in ENGINES {
        let named = svg.matches(&format!(">{engine}: ")).count();
        assert_eq!(named, 4, "{engine}: {svg}");
    }
    // The last one's text is within the picture.
    let numbers = |before: &str| -> Vec<usize> {
        let parts = svg.split(before).skip(1);
        parts
            .map(|part| part[..part.find('"').expect("an end")].parse().expect("it"))
            .collect()
    };
    let (_, rest) = svg.split_once("viewBox=\"0 0 1000 ").expect("a size");
    let height: usize = rest[..rest.find('"').expect("an end")].parse().expect("it");
    assert!(numbers("\" y=\"").into_iter().all(|y| y < height), "{svg}");
}

#[test]
fn what_cannot_be_done_is_told() {
    for (arguments, code, told) in [
        (
            &["--plot", "/no/such/file"][..],
            2,
            "execloop: /no/such/file: No such file or directory\n",
        ),
        (
            &["--plot", "/dev/full"],
            1,
            "execloop: /dev/full: No space left on device\n",
        ),
    ] {
        let done = bench(arguments);
        assert_eq!(
            (done.code, done.stderr.as_str(), done.output().as_str()),
            (Some(code), told, "")
        );
    }
    for arguments in [
        &["--workload", "nothing"][..],
        &["--engines", "go"],
        &["--at-once", "0"],
    ] {
        assert_eq!(bench(arguments).code, Some(2), "{arguments:?}");
    }
    let done = bench(&["--at-once", "some"]);
    assert!(
        done.stderr.contains("expected a number, such as 4"),
        "{done:?}"
    );
    let program = env!("CARGO_BIN_EXE_execloop");
    let full = format!("exec '{program}' bench --children 2 >/dev/full");
    let done = finish(&mut shell(&full));
    assert_eq!(done.stderr, "execloop: stdout: No space left on device\n");
    let few = format!(
        "ulimit -n 20; exec '{program}' bench --engines threads --children 99 --at-once 99"
    );
    let done = finish(&mut shell(&few));
    assert_eq!((done.code, done.output().as_str()), (Some(1), ""));
    assert_eq!(done.stderr, "execloop: threads: Too many open files\n");
}

#[test]
fn where_one_engine_fails_the_figures_of_the_others_are_printed() {
    let program = env!("CARGO_BIN_EXE_execloop");
    let few = format!(
        "ulimit -n 50; exec '{program}' bench --json --engines threads,execloop --children 99 --at-once 99"
    );
    let done = finish(&mut shell(&few));
    assert_eq!(done.code, Some(1), "{done:?}");
    assert_eq!(done.stderr, "execloop: threads: Too many open files\n");
    let output = done.output();
    assert!(output.starts_with("{\"engine\":\"execloop\"") && output.lines().count() == 1);
}
