//! The documents say what the crate does: their examples are compiled, their shell lines print what stands below them, and
//! their links lead somewhere.
//! Unaware of what the examples do.

#[path = "common"]
mod common {
    #[cfg(feature = "cli")]
    pub mod scratch;
    mod watchdog;
}

use std::fs;
use std::path::{Path, PathBuf};

/// Documents that are pages of the crate's documentation as well, so that their programs are tests of it.
const BOOKS: [&str; 2] = ["guide", "cookbook"];

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

/// A block between fences: what stands behind the first of them, and its lines. `follows` tells that nothing but a blank line
/// parts it from the block before.
struct Block {
    language: String,
    text: String,
    follows: bool,
}

fn all_blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    let mut follows = false;
    while let Some(line) = lines.next() {
        match line.strip_prefix("```") {
            Some(language) => {
                let block = lines.by_ref().take_while(|line| *line != "```");
                blocks.push(Block {
                    language: language.to_owned(),
                    text: block.map(|line| format!("{line}\n")).collect(),
                    follows,
                });
                follows = true;
            }
            None => follows &= line.is_empty(),
        }
    }
    blocks
}

#[test]
fn every_block_of_a_book_is_compiled_or_run() {
    let (page, manifest) = (read("src/lib.rs"), read("Cargo.toml"));
    for book in BOOKS {
        let file = format!("docs/{book}.md");
        // The tests of the documentation compile it, and run what is not `no_run`.
        let included = format!("#[doc = include_str!(\"../{file}\")]\npub mod {book} {{}}");
        assert!(page.contains(&included), "{file} is no page of the crate's");
        let mut before = String::new();
        let (mut programs, mut scripts) = (0, 0);
        for block in all_blocks(&read(&file)) {
            match block.language.as_str() {
                "rust" | "rust,no_run" => {
                    programs += 1;
                    assert!(
                        block.text.contains("fn main()"),
                        "no whole program: {}",
                        block.text
                    );
                }
                "sh" => scripts += 1,
                "text" => assert!(
                    block.follows && before == "sh",
                    "{file}: output of no command:\n{}",
                    block.text
                ),
                "toml" => {
                    let version = block
                        .text
                        .lines()
                        .find_map(|line| line.strip_prefix("execloop = "));
                    let version = version.expect("a dependency").trim_matches('"');
                    assert!(manifest.contains(&format!("\nversion = \"{version}.")));
                }
                other => panic!(
                    "{file}: nobody checks a block of {other:?}:\n{}",
                    block.text
                ),
            }
            before = block.language;
        }
        assert!(
            programs > 5 && scripts > 0,
            "{file}: {programs} programs, {scripts} scripts"
        );
    }
}

/// The words of `expected` in their order, with anything where two points are.
#[cfg(feature = "cli")]
fn is_like(expected: &str, line: &str) -> bool {
    let mut pieces = expected.split("..");
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(place) => rest = &rest[place + piece.len()..],
            None => return false,
        }
    }
    true
}

/// Runs each block `sh` of a book in a directory of its own. A block `text` below it is what it prints.
#[cfg(feature = "cli")]
fn run_shell_lines(book: &str) {
    use execloop::{Command, Output};
    use std::time::Duration;

    let program = Path::new(env!("CARGO_BIN_EXE_execloop"));
    let path = std::env::var("PATH").expect("a PATH");
    let path = format!(
        "{}:{path}",
        program.parent().expect("a directory").display()
    );
    let blocks = all_blocks(&read(format!("docs/{book}.md")));
    for (place, block) in blocks.iter().enumerate() {
        if block.language != "sh" {
            continue;
        }
        let scratch = common::scratch::Scratch::new();
        let done = Command::new("/bin/sh")
            .args(["-c", &block.text])
            .current_dir(&*scratch)
            .env("PATH", &path)
            .env_remove("MAKEFLAGS")
            .stdout(Output::capture())
            .stderr_to_stdout(true)
            .timeout(Duration::from_secs(300))
            .finish()
            .expect("a shell");
        let printed = String::from_utf8_lossy(&done.stdout);
        let said = format!("{}{:?}\n{printed}", block.text, done.outcome);
        match blocks.get(place + 1) {
            Some(next) if next.language == "text" && next.follows => {
                let (expected, printed): (Vec<_>, Vec<_>) =
                    (next.text.lines().collect(), printed.lines().collect());
                assert_eq!(expected.len(), printed.len(), "{said}");
                for (expected, printed) in expected.iter().zip(printed) {
                    assert!(
                        is_like(expected, printed),
                        "{expected:?} was told in:\n{said}"
                    );
                }
            }
            _ => assert!(done.success(), "{said}"),
        }
    }
}

#[test]
#[cfg(feature = "cli")]
fn the_guides_shell_lines_print_what_it_says() {
    run_shell_lines("guide");
}

// One is about a signal at the parent's death, which is Linux's.
#[test]
#[cfg(all(feature = "cli", target_os = "linux", not(execloop_kqueue_shim)))]
fn the_cookbooks_shell_lines_print_what_it_says() {
    run_shell_lines("cookbook");
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

/// The links of a document, by their targets: those in the text, and those that are defined on a line of their own.
fn links(text: &str) -> Vec<&str> {
    let in_text = text.split("](").skip(1);
    let in_text = in_text.map(|rest| rest.split(')').next().unwrap_or_default());
    in_text
        .chain(definitions(text).map(|(_, target)| target))
        .collect()
}

/// The lines `[name]: target`.
fn definitions(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.lines()
        .filter_map(|line| line.strip_prefix('[')?.split_once("]: "))
}

/// What a heading is called in a link, as GitHub and rustdoc have it.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let heading = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = heading
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn every_link_to_a_file_leads_to_one() {
    let documents = documents();
    assert!(documents.len() > 5, "{documents:?}");
    let (mut files, mut headings) = (0, 0);
    for document in documents {
        let text = read(&document);
        for target in links(&text) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            if file.contains("://") {
                continue;
            }
            let place = match file {
                "" => document.clone(),
                _ => document.parent().expect("a directory").join(file),
            };
            files += 1;
            assert!(place.exists(), "{}: a link to {target}", document.display());
            if !anchor.is_empty() {
                headings += 1;
                let anchors = anchors(&read(&place));
                let is_there = anchors.iter().any(|one| one == anchor);
                assert!(
                    is_there,
                    "{}: a link to {target}: {anchors:?}",
                    document.display()
                );
            }
        }
    }
    assert!(files > 10, "only {files} links were found");
    assert!(headings > 3, "only {headings} links to headings were found");
}

// A relative link leads nowhere there.
#[test]
fn every_link_of_a_book_is_defined_anew_for_the_crates_page() {
    let page = read("src/lib.rs");
    for book in BOOKS {
        let text = read(format!("docs/{book}.md"));
        let elsewhere = text.matches("](").count() - text.matches("](#").count();
        assert_eq!(
            elsewhere, 0,
            "docs/{book}.md: links have their targets at its end"
        );
        let module = page
            .split(&format!("pub mod {book} {{}}"))
            .next()
            .expect("a part");
        let module = module.rsplit("\n\n").next().unwrap_or_default();
        for (name, target) in definitions(&text) {
            if !target.contains("://") {
                let anew = format!("/// [{name}]: ");
                assert!(
                    module.contains(&anew),
                    "{book}: src/lib.rs does not define [{name}]"
                );
            }
        }
    }
}

/// The text of the library's files.
fn sources() -> String {
    let mut text = String::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() && !path.ends_with("bin") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &read(path);
            }
        }
    }
    text
}

#[test]
fn each_type_of_the_crates_page_opens_with_an_example() {
    // Names, and what another type's example tells of.
    const WITHOUT: [&str; 8] = [
        "CallbackPanicked",
        "Capability",
        "Holder",
        "NotRunning",
        "Orphan",
        "Resource",
        "SignalParseError",
        "Stream",
    ];
    let sources = sources();
    let lines: Vec<_> = sources.lines().collect();
    let mut count = 0;
    for (place, line) in lines.iter().enumerate() {
        let declared = ["pub struct ", "pub enum ", "pub trait "];
        let Some(rest) = declared.iter().find_map(|kind| line.strip_prefix(kind)) else {
            continue;
        };
        let end = rest
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(rest.len());
        let name = &rest[..end];
        if WITHOUT.contains(&name) {
            continue;
        }
        let above = lines[..place].iter().rev();
        let documented = above.skip_while(|line| !line.starts_with("///"));
        let mut comment: Vec<_> = documented
            .take_while(|line| line.starts_with("///"))
            .collect();
        comment.reverse();
        let second = comment.split(|line| **line == "///").nth(1);
        let opens = second
            .and_then(|lines| lines.first())
            .is_some_and(|line| line.starts_with("/// ```"));
        assert!(opens, "{name} does not open with an example");
        count += 1;
    }
    assert!(count > 20, "{count} types");
}

// https://docs.rs/execloop/latest/execloop/struct.Reactor.html#method.start
#[test]
fn every_link_to_the_crates_page_names_something_public() {
    let page = "https://docs.rs/execloop/latest/execloop/";
    let sources = sources();
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        for target in links(&text) {
            let Some(item) = target.strip_prefix(page) else {
                continue;
            };
            count += 1;
            let (file, anchor) = item.split_once('#').unwrap_or((item, ""));
            let file = file.rsplit('/').next().unwrap_or_default();
            let is_named = |item: &str| {
                let mut parts = item.split('.');
                let (kind, name) = (
                    parts.next().unwrap_or_default(),
                    parts.next().unwrap_or_default(),
                );
                let kind = match kind {
                    "method" | "tymethod" => "fn",
                    kind => kind,
                };
                let declared = format!("{kind} {name}");
                sources.match_indices(&declared).any(|(place, _)| {
                    let next = sources[place + declared.len()..].chars().next();
                    next.is_some_and(|next| !next.is_alphanumeric() && next != '_')
                })
            };
            let is_there = (file.is_empty() || file == "index.html" || is_named(file))
                && (anchor.is_empty() || is_named(anchor));
            assert!(is_there, "{}: a link to {target}", document.display());
        }
    }
    assert!(count > 1, "only {count} links were found");
}
