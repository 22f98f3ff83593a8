//! The environment of a child: what the caller changed, and the list of entries that follows from it.
//! Unaware of directories and of processes.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use crate::sys::CStrings;

const PWD: &str = "PWD";

/// The process's own environment, read once and shared by all commands of a reactor that inherit it.
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    entries: Option<Vec<OsString>>,
    shared: Option<Arc<CStrings>>,
}

impl Snapshot {
    /// The environment as it is now, as entries `KEY=value`.
    pub(crate) fn take() -> Vec<OsString> {
        std::env::vars_os()
            .map(|(key, value)| join(key, &value))
            .collect()
    }

    /// The environment as it was at the first call.
    pub(crate) fn entries(&mut self) -> &[OsString] {
        self.entries.get_or_insert_with(Snapshot::take)
    }

    /// The same, prepared for exec.
    pub(crate) fn shared(&mut self) -> Arc<CStrings> {
        if let Some(shared) = &self.shared {
            return Arc::clone(shared);
        }
        let unchanged = EnvChanges::default();
        let (entries, _) = resolve(self.entries(), &unchanged, None);
        // The system's own strings end at their NUL, so there is none inside.
        let shared = CStrings::new(entries.iter().map(AsRef::as_ref));
        let shared = Arc::new(shared.unwrap_or_default());
        self.shared = Some(Arc::clone(&shared));
        shared
    }
}

/// What the caller asked for, in the order of the calls.
///
/// The default is no change: the child gets the parent's environment.
#[derive(Clone, Debug, Default)]
pub(crate) struct EnvChanges {
    base: Base,
    /// Applied to the base, first to last. Those made before a `clear` or `replace` are gone.
    changes: Vec<Change>,
    /// Some name given was empty or contained a `=`, which would set another variable than the one named.
    has_odd_name: bool,
}

/// What the changes are applied to.
#[derive(Clone, Debug, Default)]
enum Base {
    /// The parent's environment, as it is at the start of the child.
    #[default]
    Inherited,
    /// These entries alone.
    Replaced(Vec<OsString>),
}

#[derive(Clone, Debug)]
enum Change {
    /// Append this entry, `KEY=value`; an older one with its key loses.
    Set(OsString),
    /// Delete the entries that have this key so far.
    Remove(OsString),
}

impl EnvChanges {
    /// Appends `key=value`. The new entry stands last, even if the key had a place before.
    pub(crate) fn set(&mut self, key: OsString, value: OsString) {
        self.has_odd_name |= key.is_empty() || key.as_bytes().contains(&b'=');
        self.changes.push(Change::Set(join(key, &value)));
    }

    /// Deletes every entry with this key so far. A later `set` brings the key back.
    ///
    /// An entry without `=` has no key, so nothing but `clear` and `replace` removes it.
    pub(crate) fn remove(&mut self, key: OsString) {
        self.changes.push(Change::Remove(key));
    }

    /// Starts from nothing: neither the parent's environment nor an earlier change is kept.
    pub(crate) fn clear(&mut self) {
        self.replace(Vec::new());
    }

    /// Starts from these raw entries alone, as Go's `Cmd.Env = [...]` does.
    pub(crate) fn replace(&mut self, entries: Vec<OsString>) {
        self.base = Base::Replaced(entries);
        self.changes.clear();
        self.has_odd_name = false;
    }

    /// Whether `set` was given a name that no variable can have.
    pub(crate) fn has_odd_name(&self) -> bool {
        self.has_odd_name
    }

    /// Whether the parent's environment is the base: neither `clear` nor `replace` was called.
    pub(crate) fn is_inherited(&self) -> bool {
        matches!(self.base, Base::Inherited)
    }

    /// Whether nothing was called, so that one list can serve every such command.
    pub(crate) fn is_unchanged(&self) -> bool {
        self.is_inherited() && self.changes.is_empty()
    }

    /// What is set and what is removed, by key. Entries without one are not among them.
    pub(crate) fn variables(&self) -> BTreeMap<&OsStr, Option<&OsStr>> {
        let given: &[OsString] = match &self.base {
            Base::Inherited => &[],
            Base::Replaced(entries) => entries,
        };
        let changed = self.changes.iter().filter_map(|change| match change {
            Change::Set(entry) => pair(entry),
            Change::Remove(key) => Some((key.as_os_str(), None)),
        });
        given.iter().filter_map(pair).chain(changed).collect()
    }

    fn mentions(&self, key: &[u8]) -> bool {
        self.changes.iter().any(|change| match change {
            Change::Set(entry) => key_of(entry.as_bytes()) == Some(key),
            Change::Remove(removed) => removed.as_bytes() == key,
        })
    }
}

/// An entry's key and its value; `None` without a `=`.
fn pair(entry: &OsString) -> Option<(&OsStr, Option<&OsStr>)> {
    let bytes = entry.as_bytes();
    let key = key_of(bytes)?;
    let value = OsStr::from_bytes(&bytes[key.len() + 1..]);
    Some((OsStr::from_bytes(key), Some(value)))
}

/// The child's entries, and whether one was dropped because it holds a NUL (Go refuses to start then).
///
/// The parent's entries are read only while [`EnvChanges::is_inherited`]. So is `pwd`, the child's directory, which
/// becomes `PWD` unless the caller set or removed `PWD`: an environment that was given is given as a whole.
///
/// The rules are Go's. Of two entries with one key (case matters) the last wins and keeps its place. Entries
/// without `=` stay, duplicates too; empty ones go. A leading `=` belongs to the key.
pub(crate) fn resolve<'a>(
    parent: &'a [OsString],
    changes: &'a EnvChanges,
    pwd: Option<&OsStr>,
) -> (Vec<Cow<'a, OsStr>>, bool) {
    let base = match &changes.base {
        Base::Inherited => parent,
        Base::Replaced(entries) => entries,
    };
    let pwd = pwd.filter(|_| changes.is_inherited() && !changes.mentions(PWD.as_bytes()));

    // Last to first, so that the first entry seen of a key is the one that wins, and each is looked at once.
    let mut walk = Walk::with_capacity(base.len() + changes.changes.len() + 1);
    if let Some(directory) = pwd {
        walk.pwd(directory);
    }
    for change in changes.changes.iter().rev() {
        match change {
            Change::Set(entry) => walk.entry(entry),
            Change::Remove(key) => walk.remove(key),
        }
    }
    for entry in base.iter().rev() {
        walk.entry(entry);
    }
    walk.finish()
}

/// A walk over all entries from the last to the first.
#[derive(Debug)]
struct Walk<'a> {
    kept: Vec<Cow<'a, OsStr>>,
    /// Keys of which a later entry or removal has decided.
    settled: HashSet<&'a [u8]>,
    /// Those of them that a removal has decided: the entries before it are gone, whatever they hold.
    removed: HashSet<&'a [u8]>,
    has_nul: bool,
}

impl<'a> Walk<'a> {
    fn with_capacity(entries: usize) -> Self {
        Walk {
            kept: Vec::with_capacity(entries),
            settled: HashSet::with_capacity(entries),
            removed: HashSet::new(),
            has_nul: false,
        }
    }

    fn entry(&mut self, entry: &'a OsStr) {
        let bytes = entry.as_bytes();
        if bytes.contains(&0) {
            // Its key is not settled: an earlier entry with that key is kept.
            let is_gone = key_of(bytes).is_some_and(|key| self.removed.contains(key));
            self.has_nul |= !is_gone;
            return;
        }
        let keep = match key_of(bytes) {
            Some(key) => self.settled.insert(key),
            None => !bytes.is_empty(),
        };
        if keep {
            self.kept.push(Cow::Borrowed(entry));
        }
    }

    fn pwd(&mut self, directory: &OsStr) {
        if directory.as_bytes().contains(&0) {
            self.has_nul = true;
            return;
        }
        self.settled.insert(PWD.as_bytes());
        self.kept.push(Cow::Owned(join(PWD.into(), directory)));
    }

    fn remove(&mut self, key: &'a OsStr) {
        self.settled.insert(key.as_bytes());
        self.removed.insert(key.as_bytes());
    }

    fn finish(mut self) -> (Vec<Cow<'a, OsStr>>, bool) {
        self.kept.reverse();
        (self.kept, self.has_nul)
    }
}

/// The part before the `=` that ends the key; `None` without one. The key of `=a` is empty, that of `=a=b` is `=a`.
fn key_of(entry: &[u8]) -> Option<&[u8]> {
    let is_equals = |byte: &u8| *byte == b'=';
    let first = entry.iter().position(is_equals)?;
    if first > 0 {
        return Some(&entry[..first]);
    }
    let second = entry[1..].iter().position(is_equals);
    Some(&entry[..second.map_or(0, |offset| offset + 1)])
}

fn join(mut key: OsString, value: &OsStr) -> OsString {
    key.reserve_exact(1 + value.len());
    key.push("=");
    key.push(value);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(
        parent: &[OsString],
        changes: &EnvChanges,
        pwd: Option<&OsStr>,
    ) -> (Vec<OsString>, bool) {
        let (entries, has_nul) = super::resolve(parent, changes, pwd);
        (entries.into_iter().map(Cow::into_owned).collect(), has_nul)
    }

    fn list(entries: &[&str]) -> Vec<OsString> {
        entries.iter().map(OsString::from).collect()
    }

    fn replaced(entries: &[&str]) -> EnvChanges {
        let mut changes = EnvChanges::default();
        changes.replace(list(entries));
        changes
    }

    #[track_caller]
    fn assert_resolves(
        parent: &[&str],
        changes: &EnvChanges,
        pwd: Option<&str>,
        expected: &[&str],
    ) {
        assert_eq!(
            resolve(&list(parent), changes, pwd.map(OsStr::new)),
            (list(expected), false)
        );
    }

    // Statement 20.
    #[test]
    fn without_changes_the_parent_is_inherited() {
        let changes = EnvChanges::default();
        assert!(changes.is_inherited() && changes.is_unchanged());
        assert_resolves(
            &["HOME=/root", "LANG=C"],
            &changes,
            None,
            &["HOME=/root", "LANG=C"],
        );
        assert_resolves(&[], &changes, None, &[]);
    }

    #[test]
    fn cleared_environment_is_truly_empty() {
        let mut changes = EnvChanges::default();
        changes.set("LOST".into(), "1".into());
        changes.clear();
        assert!(!changes.is_inherited() && !changes.is_unchanged());
        assert_resolves(&["HOME=/root"], &changes, None, &[]);
        assert_resolves(&["HOME=/root"], &changes, Some("/srv"), &[]);

        changes.set("KEPT".into(), "2".into());
        assert_resolves(&["HOME=/root"], &changes, None, &["KEPT=2"]);
    }

    #[test]
    fn replace_forgets_the_parent_and_earlier_changes() {
        let mut changes = EnvChanges::default();
        changes.set("A".into(), "1".into());
        changes.remove("B".into());
        changes.replace(list(&["B=2", "bare"]));
        changes.set("C".into(), "3".into());
        assert!(!changes.is_inherited() && !changes.is_unchanged());
        assert_resolves(&["HOME=/root"], &changes, None, &["B=2", "bare", "C=3"]);
    }

    #[test]
    fn set_or_remove_alone_still_inherits() {
        let mut changes = EnvChanges::default();
        changes.remove("ABSENT".into());
        assert!(changes.is_inherited() && !changes.is_unchanged());
        assert_resolves(&["HOME=/root"], &changes, None, &["HOME=/root"]);
    }

    // Statement 21.
    #[test]
    fn directory_becomes_the_last_entry_of_an_inherited_environment() {
        let mut changes = EnvChanges::default();
        let parent = ["PWD=/old", "HOME=/root"];
        assert_resolves(&parent, &changes, Some("/srv"), &["HOME=/root", "PWD=/srv"]);
        changes.set("A".into(), "1".into());
        assert_resolves(
            &parent,
            &changes,
            Some("/srv"),
            &["HOME=/root", "A=1", "PWD=/srv"],
        );
        assert_resolves(&parent, &changes, None, &["PWD=/old", "HOME=/root", "A=1"]);
    }

    #[test]
    fn explicit_pwd_outranks_the_directory() {
        let mut changes = EnvChanges::default();
        changes.set("PWD".into(), "/mine".into());
        changes.set("A".into(), "1".into());
        assert_resolves(&["PWD=/old"], &changes, Some("/srv"), &["PWD=/mine", "A=1"]);

        let mut changes = EnvChanges::default();
        changes.remove("PWD".into());
        assert_resolves(&["PWD=/old", "B=2"], &changes, Some("/srv"), &["B=2"]);
    }

    #[test]
    fn replaced_environment_gets_no_pwd() {
        assert_resolves(&["PWD=/old"], &replaced(&["A=1"]), Some("/srv"), &["A=1"]);
        assert_resolves(
            &["PWD=/old"],
            &replaced(&["PWD=/mine"]),
            Some("/srv"),
            &["PWD=/mine"],
        );
    }

    // Statement 22.
    #[test]
    fn last_duplicate_wins_and_keeps_the_last_place() {
        let expected = ["Lang=de", "HOME=/b", "LANG=fr"];
        assert_resolves(
            &[],
            &replaced(&["LANG=C", "HOME=/a", "Lang=de", "HOME=/b", "LANG=fr"]),
            None,
            &expected,
        );

        let mut changes = EnvChanges::default();
        for (key, value) in [("LANG", "de"), ("NEW", "1"), ("LANG", "fr")] {
            changes.set(key.into(), value.into());
        }
        assert_resolves(
            &["LANG=C", "HOME=/a"],
            &changes,
            None,
            &["HOME=/a", "NEW=1", "LANG=fr"],
        );
    }

    #[test]
    fn value_may_be_empty_or_hold_equals() {
        assert_resolves(&[], &replaced(&["A=1", "A="]), None, &["A="]);
        assert_resolves(
            &[],
            &replaced(&["A=x=1", "A=y=2", "AA=3"]),
            None,
            &["A=y=2", "AA=3"],
        );
    }

    #[test]
    fn remove_deletes_what_came_before_and_nothing_after() {
        let mut changes = EnvChanges::default();
        changes.set("A".into(), "2".into());
        changes.remove("A".into());
        changes.remove("B".into());
        changes.set("B".into(), "3".into());
        assert_resolves(
            &["A=1", "B=1", "a=1", "A=0"],
            &changes,
            None,
            &["a=1", "B=3"],
        );
    }

    #[test]
    fn bytes_that_are_not_text_pass_through() {
        let entry = OsStr::from_bytes(b"K\xff=\xfe\x80").to_os_string();
        let mut changes = EnvChanges::default();
        changes.set(
            OsStr::from_bytes(b"K\xff").into(),
            OsStr::from_bytes(b"\xfe\x80").into(),
        );
        assert_eq!(resolve(&[], &changes, None), (vec![entry.clone()], false));
        changes.remove(OsStr::from_bytes(b"K\xff").into());
        assert_eq!(resolve(&[entry], &changes, None), (vec![], false));
    }

    // Statement 23.
    #[test]
    fn entries_without_equals_stay_and_empty_ones_go() {
        assert_resolves(
            &[],
            &replaced(&["bare", "", "A=1", "bare", ""]),
            None,
            &["bare", "A=1", "bare"],
        );
        let mut changes = replaced(&["bare"]);
        changes.remove("bare".into());
        assert_resolves(&[], &changes, None, &["bare"]);
    }

    #[test]
    fn leading_equals_belongs_to_the_key() {
        assert_resolves(&[], &replaced(&["=one", "=two"]), None, &["=two"]);
        assert_resolves(
            &[],
            &replaced(&["=C:=/x", "=D:=/y", "=C:=/z"]),
            None,
            &["=D:=/y", "=C:=/z"],
        );
        let mut changes = replaced(&["=C:=/x", "=one", "="]);
        changes.remove("=C:".into());
        assert_resolves(&[], &changes, None, &["="]);
    }

    // Statement 24.
    #[test]
    fn entry_with_nul_is_dropped_and_reported() {
        let changes = replaced(&["A=1", "A=2\0", "\0", "B=3"]);
        assert_eq!(resolve(&[], &changes, None), (list(&["A=1", "B=3"]), true));

        let mut changes = EnvChanges::default();
        changes.set("K\0".into(), "v".into());
        assert_eq!(
            resolve(&list(&["A=1"]), &changes, None),
            (list(&["A=1"]), true)
        );
        let unchanged = EnvChanges::default();
        assert_eq!(
            resolve(&[], &unchanged, Some(OsStr::new("/a\0b"))),
            (list(&[]), true)
        );
    }

    #[test]
    fn entry_with_nul_that_was_removed_is_not_reported() {
        let mut changes = EnvChanges::default();
        changes.set("A".into(), "2\0".into());
        changes.remove("A".into());
        assert_eq!(resolve(&list(&["A=1"]), &changes, None), (list(&[]), false));
        changes.set("A".into(), "3\0".into());
        assert_eq!(resolve(&[], &changes, None), (list(&[]), true));
    }

    // Statement 25.
    #[test]
    fn same_changes_resolve_to_the_same_list_again() {
        let mut changes = EnvChanges::default();
        changes.set("A".into(), "1".into());
        let copy = changes.clone();
        let parent = list(&["B=2", "A=0"]);
        let first = resolve(&parent, &changes, Some(OsStr::new("/srv")));
        assert_eq!(first.0, list(&["B=2", "A=1", "PWD=/srv"]));
        assert_eq!(first, resolve(&parent, &changes, Some(OsStr::new("/srv"))));
        assert_eq!(first, resolve(&parent, &copy, Some(OsStr::new("/srv"))));
    }
}
