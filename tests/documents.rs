//! The documents say what the crate does: their examples are code that is compiled, and their links lead somewhere.
//! Unaware of what the examples do.

#[path = "common/watchdog.rs"]
mod watchdog;

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The lines between ```` ```LANGUAGE ```` and ```` ``` ````, block by block.
fn blocks(text: &str, language: &str) -> Vec<Vec<String>> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if line == format!("```{language}") {
            let block = lines.by_ref().take_while(|line| *line != "```");
            blocks.push(block.map(str::to_owned).collect());
        }
    }
    blocks
}

/// The lines without the indentation of the first.
fn dedented<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let lines: Vec<_> = lines.into_iter().collect();
    let first = lines.first().copied().unwrap_or_default();
    let indentation = &first[..first.len() - first.trim_start().len()];
    let strip = |line: &&str| line.strip_prefix(indentation).unwrap_or(line).to_owned();
    lines.iter().map(strip).collect()
}

#[test]
fn the_readmes_example_is_the_first_of_the_crates_page() {
    let page: String = read("src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    let on_page = blocks(&page, "").first().cloned().expect("an example");
    // What rustdoc hides is for the compiler alone.
    let visible: Vec<_> = on_page
        .into_iter()
        .filter(|line| !line.starts_with("# "))
        .collect();
    assert_eq!(blocks(&read("README.md"), "rust"), [visible]);
}

#[test]
fn the_guides_examples_are_compiled() {
    let compiled = read("docs/examples/translated.rs");
    let compiled: Vec<_> = compiled.lines().collect();
    for guide in ["docs/from-go.md", "docs/from-std.md"] {
        let blocks = blocks(&read(guide), "rust");
        assert!(!blocks.is_empty(), "{guide} has no example");
        for block in blocks {
            let is_here = |lines: &[&str]| dedented(lines.iter().copied()) == block;
            assert!(
                compiled.windows(block.len()).any(is_here),
                "{guide} has an example that docs/examples/translated.rs has not:\n{}",
                block.join("\n")
            );
        }
    }
}

#[test]
fn the_examples_of_embedding_are_parts_of_programs() {
    let programs: Vec<_> = fs::read_dir(root().join("docs/examples"))
        .expect("the examples")
        .map(|entry| read(entry.expect("an entry").path()))
        .collect();
    let blocks = blocks(&read("docs/embedding.md"), "rust");
    assert!(blocks.len() > 5, "{} examples", blocks.len());
    for block in blocks {
        let is_part = |program: &String| {
            let lines: Vec<_> = program.lines().collect();
            let mut parts = lines.windows(block.len());
            parts.any(|lines| dedented(lines.iter().copied()) == block)
        };
        assert!(
            programs.iter().any(is_part),
            "docs/embedding.md has an example that no program has:\n{}",
            block.join("\n")
        );
    }
}

#[test]
fn every_example_file_is_declared_and_named_in_the_readme() {
    let (manifest, readme) = (read("Cargo.toml"), read("README.md"));
    for entry in fs::read_dir(root().join("docs/examples")).expect("the examples") {
        let name = entry.expect("an entry").file_name();
        let path = format!("docs/examples/{}", name.display());
        assert!(
            manifest.contains(&format!("path = \"{path}\"")),
            "{path} is not in Cargo.toml"
        );
        assert!(
            readme.contains(&path) || path.ends_with("/translated.rs"),
            "{path} is not in README.md"
        );
    }
}

/// The table `[[bin]]` of this name, up to the next table.
fn bin(name: &str) -> String {
    let manifest = read("Cargo.toml");
    let mut tables = manifest.split("\n[[bin]]\n").skip(1);
    let table = tables.find(|table| table.starts_with(&format!("name = {name:?}\n")));
    let table = table.expect("a binary of that name");
    table.split("\n[").next().unwrap_or_default().to_owned()
}

// `cargo install --features cli` installs every binary whose features are there.
#[test]
fn the_program_is_installed_alone() {
    assert!(bin("execloop").contains(r#"required-features = ["cli"]"#));
    assert!(bin("execloop-test-helper").contains(r#"required-features = ["test-helper"]"#));
    let manifest = read("Cargo.toml");
    let features = manifest.split("\n[features]\n").nth(1).expect("features");
    let features = features.split("\n[").next().unwrap_or_default();
    assert!(!features.contains(r#""test-helper""#), "no feature has it");
}

// crates.io takes relative links for files of the repository, if it knows the host.
#[test]
fn the_readmes_links_resolve_on_the_crates_page() {
    let manifest = read("Cargo.toml");
    assert!(manifest.contains("\nrepository = \"https://github.com/"));
}

fn documents() -> Vec<PathBuf> {
    let in_directory = |directory: &str| {
        let entries = fs::read_dir(root().join(directory)).expect(directory);
        let paths: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        paths
    };
    let mut paths = in_directory(".");
    paths.extend(in_directory("docs"));
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    let documents = documents();
    assert!(documents.len() > 5, "{documents:?}");
    let mut links = 0;
    for document in documents {
        let text = read(&document);
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            links += 1;
            let place = document.parent().expect("a directory").join(file);
            assert!(place.exists(), "{}: a link to {target}", document.display());
        }
    }
    assert!(links > 10, "only {links} links were found");
}
