//! The layers of `docs/design.md` against the imports in `src`: none goes up, and no two modules of a layer need each other.
//! Unaware of what the modules do.

#[path = "common/watchdog.rs"]
mod watchdog;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A handle returns what drives it: these may know each other.
const FRONT: &str = "front";

/// The layers from top to bottom: a name, and the files and folders that the table lists for it.
fn layers() -> Vec<(String, Vec<String>)> {
    let design = fs::read_to_string(root().join("docs/design.md")).expect("the design");
    let rows = design
        .lines()
        .skip_while(|line| *line != "| layer | files |")
        .skip(2)
        .take_while(|line| line.starts_with('|'));
    let layers: Vec<_> = rows
        .map(|row| {
            let mut columns = row.split('|').skip(1).map(str::trim);
            let name = columns.next().expect("a name").to_owned();
            let files = columns.next().expect("files");
            // What follows a colon explains what stands before it.
            let files = files.split(':').next().unwrap_or(files);
            let quoted = files.split('`').skip(1).step_by(2);
            (name, quoted.map(str::to_owned).collect())
        })
        .collect();
    assert!(layers.len() > 4, "the table is not found: {layers:?}");
    layers
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The library's sources, by their path below `src`.
fn sources() -> BTreeMap<String, String> {
    let mut sources = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join("src").join(&folder)).expect("a folder") {
            let path = folder.join(entry.expect("an entry").file_name());
            if root().join("src").join(&path).is_dir() {
                if path != Path::new("bin") {
                    folders.push(path);
                }
            } else {
                let text = fs::read_to_string(root().join("src").join(&path)).expect("a source");
                sources.insert(path.to_str().expect("a name").to_owned(), text);
            }
        }
    }
    sources
}

/// `engine/start.rs` belongs to `engine`.
fn module(path: &str) -> &str {
    let top = path.split('/').next().unwrap_or(path);
    top.strip_suffix(".rs").unwrap_or(top)
}

/// The row of each module.
fn rows(layers: &[(String, Vec<String>)]) -> BTreeMap<String, usize> {
    let mut rows = BTreeMap::new();
    for (row, (_, files)) in layers.iter().enumerate() {
        for file in files {
            let path = root().join("src").join(file);
            assert!(
                path.exists(),
                "docs/design.md lists {file}, which is not there"
            );
            let before = rows.insert(module(file).to_owned(), row);
            assert_eq!(before, None, "docs/design.md lists {file} twice");
        }
    }
    rows
}

/// The first names behind every `crate::`, in code of whatever configuration, comments left out.
fn imports(text: &str) -> BTreeSet<String> {
    let code: Vec<&str> = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or(line))
        .collect();
    let code = code.join("\n");
    let mut found = BTreeSet::new();
    for (at, prefix) in code.match_indices("crate::") {
        let is_whole =
            !code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_');
        let rest = &code[at + prefix.len()..];
        if is_whole {
            found.extend(first_names(rest));
        }
    }
    found
}

/// Of `a::b` it is `a`; of `{a::{b, c}, d}` they are `a` and `d`.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        let is_part = |letter: &char| letter.is_alphanumeric() || *letter == '_';
        text.trim_start().chars().take_while(is_part).collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![name(path)];
    };
    let mut names = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.push(name(&group[from..at]));
                from = at + 1;
                if letter == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Which module the names are from that `lib.rs` hands out: `pub use command::Command`.
fn exports(lib: &str) -> BTreeMap<String, String> {
    let mut exports = BTreeMap::new();
    for (at, prefix) in lib.match_indices("pub use ") {
        let rest = &lib[at + prefix.len()..];
        let statement = rest.split(';').next().unwrap_or(rest);
        let (module, names) = statement.split_once("::").expect("a path");
        for name in names.split(['{', '}', ',']) {
            exports.insert(name.trim().to_owned(), module.to_owned());
        }
    }
    exports
}

/// Which modules each module imports, and in which file.
fn arrows() -> BTreeMap<(String, String), String> {
    let sources = sources();
    let exports = exports(&sources["lib.rs"]);
    let modules: BTreeSet<&str> = sources.keys().map(|path| module(path)).collect();
    let mut arrows = BTreeMap::new();
    for (path, text) in &sources {
        for import in imports(text) {
            let target = exports.get(&import).unwrap_or(&import);
            assert!(
                modules.contains(target.as_str()),
                "{path}: crate::{import} is unknown"
            );
            if target != module(path) {
                let arrow = (module(path).to_owned(), target.clone());
                arrows.insert(arrow, path.clone());
            }
        }
    }
    arrows
}

#[test]
fn every_source_stands_in_one_layer() {
    let rows = rows(&layers());
    let sources = sources();
    let missing: Vec<_> = sources
        .keys()
        .filter(|path| !rows.contains_key(module(path)))
        .collect();
    assert!(
        missing.is_empty(),
        "not in the table of docs/design.md: {missing:?}"
    );
}

#[test]
fn no_import_goes_up() {
    let layers = layers();
    let rows = rows(&layers);
    let arrows = arrows();
    assert!(arrows.len() > 50, "the imports are not found: {arrows:?}");
    let up: Vec<String> = arrows
        .iter()
        .filter(|((from, to), _)| rows.get(to) < rows.get(from))
        .map(|((_, to), path)| format!("{path} imports {to}"))
        .collect();
    assert!(up.is_empty(), "{up:#?}");
}

#[test]
fn no_two_modules_of_a_layer_need_each_other() {
    let layers = layers();
    let rows = rows(&layers);
    let arrows = arrows();
    for (row, (name, _)) in layers.iter().enumerate() {
        if name.starts_with(FRONT) {
            continue;
        }
        let mut left: BTreeSet<&String> = rows
            .iter()
            .filter(|(_, at)| **at == row)
            .map(|(module, _)| module)
            .collect();
        // Takes out again and again what imports nothing that is left.
        loop {
            let needs = |from: &String| {
                arrows
                    .keys()
                    .any(|(one, to)| one == from && left.contains(to))
            };
            let Some(free) = left.iter().find(|module| !needs(module)).copied() else {
                break;
            };
            left.remove(free);
        }
        assert!(left.is_empty(), "in a circle: {left:?}");
    }
}

#[test]
fn imports_are_found_in_groups_and_in_the_middle_of_code() {
    let text =
        "use crate::{a::{b, c}, d};\nlet x = crate::e::f(); // crate::g\nuse other_crate::h;";
    let found: Vec<String> = imports(text).into_iter().collect();
    assert_eq!(found, ["a", "d", "e"]);
}
