//! What `--trace` and `--timeline` write, as a browser sees it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use super::*;

/// What a headless browser makes of a page. `None`, which is said, where there is none.
fn browsed(page: &Path) -> Option<String> {
    let Ok(browser) = execloop::look_path("chromium") else {
        eprintln!("skipped: no chromium here");
        return None;
    };
    let home = Scratch::new();
    let mut command = Command::new(browser);
    command
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!("--user-data-dir={}", home.join("data").display()))
        .arg(format!("file://{}", page.display()))
        .stdout(Output::capture())
        .process_group(0)
        .wait_delay(Duration::from_secs(5))
        .timeout(GUARD);
    let finished = command.finish().expect("it starts");
    finished.outcome.expect("it ends well");
    Some(text(&finished.stdout))
}

/// What is between these two in the text.
#[track_caller]
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let rest = text.split_once(before).map(|(_, rest)| rest);
    let part = rest.and_then(|rest| rest.split_once(after));
    part.unwrap_or_else(|| panic!("no {before:?} in a text of {} bytes", text.len()))
        .0
}

/// A list in which something fails, is tried again, and has a name that a page could stumble over.
const ODD: &[u8] =
    b"exit 3\ntrue '</script><b>\" \\ \xff\xe2\x80\xa8'\nno-such-program-anywhere\nkill -TERM $$\n";

#[test]
fn a_trace_has_an_event_for_each_try_and_a_lane_for_each_slot() {
    let scratch = Scratch::new();
    let path = scratch.join("trace");
    let name = path.display().to_string();
    let done = run(&["-j", "2", "--retries", "1", "--trace", &name], ODD);
    assert_eq!(done.code, Some(1));
    let trace = fs::read_to_string(&path).expect("it is text");
    for (part, count) in [
        (
            "\"name\":\"exit 3\",\"cat\":\"tried again\",\"ph\":\"X\"",
            1,
        ),
        ("\"name\":\"exit 3\",\"cat\":\"failed\",\"ph\":\"X\"", 1),
        ("\"cat\":\"failed\"", 3),
        ("\"cat\":\"succeeded\"", 1),
        ("\"cname\":\"terrible\"", 3),
        ("\"try\":2,\"reason\":\"exit status 3\",\"user_us\":", 1),
        ("\"name\":\"thread_name\"", 2),
        ("\"args\":{\"name\":\"slot 2\"}", 1),
    ] {
        assert_eq!(trace.matches(part).count(), count, "{part}: {trace}");
    }
    // A page has it as data, and parses it.
    let page = scratch.join("page.html");
    let script = "const events = JSON.parse(trace.textContent).traceEvents; \
        result.textContent = events.map(event => event.ph).join('')";
    let text = format!(
        "<script id=trace type=application/json>{trace}</script><p id=result></p><script>{script}</script>"
    );
    fs::write(&page, text).expect("a file");
    let Some(seen) = browsed(&page) else {
        return;
    };
    let mut kinds: Vec<char> = between(&seen, "<p id=\"result\">", "</p>")
        .chars()
        .collect();
    kinds.sort_unstable();
    assert_eq!(String::from_iter(kinds), "MMMXXXXXX");
}

/// Looks at the page as a user would, and leaves what it saw.
const PROBE: &str = r#"
const probe = document.createElement("pre");
probe.id = "probe";
search.value = "EXIT 3";
search.oninput();
const named = element("found").textContent;
search.value = "failed";
search.oninput();
const found = named + ", " + element("found").textContent;
element("next").onclick();
const box = canvas.getBoundingClientRect(), row = hovered;
draw();
const spot = { clientX: box.left + (row[START] + row[TIME] / 2 - view[0]) / (view[1] - view[0]) * box.width, clientY: box.top + AXIS + (row[LANE] + 0.5) * laneHeight };
const looked = view[1] - view[0];
canvas.onpointermove(spot);
canvas.dispatchEvent(new WheelEvent("wheel", { ...spot, deltaY: 500, cancelable: true }));
const zoomed = (view[1] - view[0]) / looked;
canvas.ondblclick();
draw();
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
let red = 0;
for (let at = 0; at < pixels.length; at += 4) red += pixels[at] > 200 && pixels[at + 1] < 90 && pixels[at + 3] > 200;
probe.textContent = [found, tip.textContent, "zoomed " + zoomed.toFixed(2),
  view.join() === "0," + end ? "whole" : "part", red > 0 ? "red" : "no red",
  element("longest").children.length + " longest", element("gaps").children.length > 0 ? "gaps" : "no gaps"].join("\n");
document.body.append(probe);
"#;

#[test]
fn a_timeline_of_ten_thousand_commands_is_drawn_searched_and_zoomed() {
    let scratch = Scratch::new();
    let path = scratch.join("timeline.html");
    let name = path.display().to_string();
    let list = "true\n".repeat(9_998) + "exit 3\n/bin/false\n";
    let done = run(&["-j", "16", "--shell", "--timeline", &name], list);
    assert_eq!(done.summary(), "10000 commands: 9998 succeeded, 2 failed");
    let mut page = fs::read_to_string(&path).expect("it is text");
    assert_eq!(page.matches("\n[").count(), 10_000);
    page.push_str(&format!("<script>{PROBE}</script>"));
    fs::write(&path, page).expect("a file");
    let Some(seen) = browsed(&path) else {
        return;
    };
    let summary = between(&seen, "<p id=\"summary\">", "</p>");
    let begin = "10000 commands in 16 lanes, ";
    assert!(summary.starts_with(begin), "{summary}");
    assert!(
        summary.contains(": 9998 succeeded, 2 failed; lanes busy "),
        "{summary}"
    );
    let probe = between(&seen, "<pre id=\"probe\">", "</pre>");
    let lines: Vec<&str> = probe.lines().collect();
    assert_eq!(lines[0], "1 of 10000, 2 of 10000", "{probe}");
    assert!(["exit 3", "/bin/false"].contains(&lines[1]), "{probe}");
    assert!(lines[2].starts_with("failed: exit status "), "{probe}");
    assert!(
        lines[3].starts_with("command ") && lines[4].contains(", CPU "),
        "{probe}"
    );
    // By e at a turn of 500.
    assert_eq!(
        lines[5..],
        ["zoomed 2.72", "whole", "red", "12 longest", "gaps"]
    );
}

#[test]
fn a_timeline_shows_names_as_text_and_an_empty_one_is_a_page() {
    let scratch = Scratch::new();
    let odd = scratch
        .join("x")
        .with_file_name(OsStr::from_bytes(b"odd \xff.html"));
    let mut command = program(&["-j", "1", "--retries", "1", "--timeline"]);
    let done = finish(command.arg(&odd).stdin(Input::bytes(ODD)));
    assert_eq!(done.code, Some(1));
    let path = scratch.join("odd.html");
    fs::rename(odd, &path).expect("it is there");
    let page = fs::read_to_string(&path).expect("it is text");
    // All of its own, and nothing that ends it early.
    assert_eq!(
        (
            page.matches("</script>").count(),
            page.matches("://").count()
        ),
        (1, 0)
    );
    let empty = scratch.join("empty.html");
    let done = run(&["--timeline", &empty.display().to_string()], "");
    assert_eq!(done.code, Some(0));
    let (Some(odd), Some(empty)) = (browsed(&path), browsed(&empty)) else {
        return;
    };
    let summary = between(&odd, "<p id=\"summary\">", "</p>");
    let counts = ": 1 succeeded, 3 failed, 2 tried again; lanes busy ";
    assert!(
        summary.starts_with("6 commands in 1 lanes, ") && summary.contains(counts),
        "{summary}"
    );
    assert!(
        odd.contains("true '&lt;/script&gt;&lt;b&gt;\" \\ \\xff\\u{2028}'"),
        "{odd}"
    );
    let summary = between(&empty, "<p id=\"summary\">", "</p>");
    assert!(summary.starts_with("0 commands in 0 lanes, "), "{summary}");
}

#[test]
fn a_picture_that_cannot_be_written_is_told_before_or_behind_the_run() {
    for flag in ["--trace", "--timeline"] {
        let done = run(&[flag, "/no/such/directory/file"], "echo no\n");
        let expected = "execloop: /no/such/directory/file: No such file or directory\n";
        assert_eq!((done.code, done.output().as_str()), (Some(2), ""));
        assert_eq!(done.stderr, expected);
        let done = run(&[flag, "/dev/full"], "echo yes\n");
        assert_eq!(
            (done.code, done.output().as_str()),
            (Some(1), "yes\n"),
            "{done:?}"
        );
        let expected = "execloop: /dev/full: No space left on device\n\
            1 command: 1 succeeded, 0 failed\n";
        assert_eq!(done.told(), expected);
        assert_eq!(run(&[flag], "").code, Some(2));
    }
}

#[test]
fn a_picture_of_an_interrupted_run_is_whole() {
    let scratch = Scratch::new();
    for (flag, end) in [("--trace", "\n]}\n"), ("--timeline", "</html>\n")] {
        let path = scratch.join("picture");
        let mut live = Live::start(&["-s", flag, &path.display().to_string()]);
        live.list("echo ready; sleep 1000\n");
        assert_eq!(live.output_line(), "1: ready");
        live.signal(Signal::TERM);
        assert_eq!(live.finish().signal, Some(Signal::TERM.number()));
        let picture = fs::read_to_string(&path).expect("it is text");
        assert!(picture.ends_with(end), "{picture}");
        let cancelled = if flag == "--trace" {
            "\"cat\":\"cancelled\""
        } else {
            ",2,1,1,"
        };
        assert!(picture.contains(cancelled), "{picture}");
    }
}
