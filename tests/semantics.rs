//! `docs/semantics.md` is complete, and every test that it names exists.
//! Unaware of what the tests do.

#[path = "common/watchdog.rs"]
mod watchdog;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One row of a table: its number, the tests it names, and its verdict.
struct Row {
    number: String,
    tests: Vec<String>,
    verdict: String,
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// The rows whose first cell is a number: `7`, a row of the matrix such as `B3`, or one of the proposal such as `P2`. The
/// last two cells are the tests and the verdict.
fn rows() -> Vec<Row> {
    let text = read("docs/semantics.md").expect("docs/semantics.md");
    let mut rows = Vec::new();
    for line in text.lines() {
        let Some(line) = line
            .strip_prefix("| ")
            .and_then(|rest| rest.strip_suffix(" |"))
        else {
            continue;
        };
        let cells: Vec<_> = line.split(" | ").collect();
        let number = cells[0];
        let digits = number.strip_prefix(['A', 'B', 'C', 'P']).unwrap_or(number);
        if digits.parse::<u32>().is_err() {
            continue;
        }
        assert!(cells.len() >= 4, "row {number} has {} cells", cells.len());
        rows.push(Row {
            number: number.to_owned(),
            tests: cells[cells.len() - 2]
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect(),
            verdict: cells[cells.len() - 1].to_owned(),
        });
    }
    rows
}

/// Whether `path::name` is a test: a function of that name, in that file, behind `#[test]`.
fn is_test(named: &str) -> bool {
    let Some((path, name)) = named.split_once("::") else {
        return false;
    };
    let text = read(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::trim).collect();
    let head = format!("fn {name}(");
    lines.iter().enumerate().any(|(at, line)| {
        // Between `#[test]` and the function stand other attributes and comments, but no other item and no empty line.
        let mut before = lines[..at]
            .iter()
            .rev()
            .take_while(|line| !matches!(**line, "" | "}"));
        line.starts_with(&head) && before.any(|line| *line == "#[test]")
    })
}

#[test]
fn every_statement_and_every_row_of_the_matrix_has_one_row() {
    let mut expected: Vec<String> = (1..=103).map(|number| number.to_string()).collect();
    for (part, count) in [("A", 5), ("B", 5), ("C", 7)] {
        expected.extend((1..=count).map(|number| format!("{part}{number}")));
    }
    let rows = rows();
    for number in &expected {
        let count = rows.iter().filter(|row| row.number == *number).count();
        assert_eq!(count, 1, "rows for {number}");
    }
    let unknown = |row: &&Row| !row.number.starts_with('P') && !expected.contains(&row.number);
    let unknown: Vec<_> = rows.iter().filter(unknown).map(|row| &row.number).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_row_is_the_same_or_different_or_not_applicable_and_says_why() {
    for Row {
        number,
        tests,
        verdict,
    } in rows()
    {
        let reason = |kind: &str| verdict.strip_prefix(kind).map(str::trim);
        if let Some(reason) = reason("not applicable:") {
            assert!(!reason.is_empty(), "row {number} has no reason");
        } else if let Some(reason) = reason("different:") {
            assert!(!reason.is_empty(), "row {number} has no reason");
            assert!(!tests.is_empty(), "row {number} is different, by no test");
        } else {
            let is_same =
                verdict == "same" || verdict.starts_with("same, ") || verdict.starts_with("same: ");
            assert!(
                is_same,
                "row {number} is neither same, different nor not applicable: {verdict}"
            );
            assert!(!tests.is_empty(), "row {number} is the same, by no test");
        }
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let named: BTreeSet<_> = rows().into_iter().flat_map(|row| row.tests).collect();
    assert!(named.len() > 50, "only {} tests are named", named.len());
    let missing: Vec<_> = named.iter().filter(|named| !is_test(named)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:#?}");
}

#[test]
fn a_name_without_a_test_behind_it_is_noticed() {
    assert!(is_test(
        "tests/semantics.rs::a_name_without_a_test_behind_it_is_noticed"
    ));
    assert!(
        !is_test("tests/semantics.rs::is_test"),
        "a function, but no test"
    );
    assert!(!is_test("tests/semantics.rs::no_such_function"));
    assert!(!is_test("tests/no_such_file.rs::rows"));
}
