//! The environment's rules against a list that is really edited, call by call, and then searched for duplicates.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::Bytes;
use crate::env::{EnvChanges, resolve};

/// Changes an environment by any calls.
///
/// The first byte says how many entries the parent has and whether there is a directory; then come strings, each a
/// length (or the number of a common one) and its bytes, and calls, each a number and its strings.
pub fn env(data: &[u8]) {
    let mut bytes = Bytes(data);
    let shape = bytes.next();
    let parent: Vec<_> = (0..shape % 8).map(|_| string(&mut bytes)).collect();
    let pwd = (shape & 8 != 0).then(|| string(&mut bytes));

    let mut changes = EnvChanges::default();
    let mut model = Model {
        entries: parent
            .iter()
            .map(|entry| entry.as_bytes().to_vec())
            .collect(),
        is_inherited: true,
        mentions_pwd: false,
        is_unchanged: true,
        has_odd_name: false,
    };
    while !bytes.is_used_up() {
        match bytes.next() % 16 {
            0..=8 => {
                let (key, value) = (string(&mut bytes), string(&mut bytes));
                model.has_odd_name |= key.is_empty() || key.as_bytes().contains(&b'=');
                model.set(key.as_bytes(), value.as_bytes());
                changes.set(key, value);
            }
            9..=13 => {
                let key = string(&mut bytes);
                model.remove(key.as_bytes());
                changes.remove(key);
            }
            14 => {
                changes.clear();
                model.replace(Vec::new());
            }
            _ => {
                let len = bytes.next() % 8;
                let entries: Vec<_> = (0..len).map(|_| string(&mut bytes)).collect();
                model.replace(
                    entries
                        .iter()
                        .map(|entry| entry.as_bytes().to_vec())
                        .collect(),
                );
                changes.replace(entries);
            }
        }
        assert_eq!(changes.is_inherited(), model.is_inherited);
        assert_eq!(changes.is_unchanged(), model.is_unchanged);
        assert_eq!(changes.has_odd_name(), model.has_odd_name);
    }
    let (found, has_nul) = resolve(&parent, &changes, pwd.as_deref());
    let (expected, must_have_nul) = model.finish(pwd.as_deref());
    let found: Vec<_> = found.into_iter().map(into_vec).collect();
    assert_eq!(found, expected, "{parent:?} {changes:?} {pwd:?}");
    assert_eq!(has_nul, must_have_nul, "{parent:?} {changes:?} {pwd:?}");

    // What was resolved is settled: doing it once more changes nothing.
    let mut again = EnvChanges::default();
    again.replace(found.iter().cloned().map(OsString::from_vec).collect());
    let (twice, has_nul) = resolve(&[], &again, None);
    let twice: Vec<_> = twice.into_iter().map(into_vec).collect();
    assert_eq!((twice, has_nul), (found, false));
}

fn into_vec(entry: Cow<'_, OsStr>) -> Vec<u8> {
    entry.into_owned().into_vec()
}

fn string(bytes: &mut Bytes<'_>) -> OsString {
    let text = match bytes.next() {
        len @ 0..16 => bytes.take(usize::from(len)),
        number => {
            let common = ["PWD", "A", "=A", "A=1", "PWD=/", "B", "=", "=A=2"];
            common[usize::from(number) % common.len()].as_bytes()
        }
    };
    OsStr::from_bytes(text).to_os_string()
}

/// The environment as a list in the order of the calls.
struct Model {
    entries: Vec<Vec<u8>>,
    is_inherited: bool,
    mentions_pwd: bool,
    is_unchanged: bool,
    has_odd_name: bool,
}

impl Model {
    fn set(&mut self, key: &[u8], value: &[u8]) {
        let entry = [key, b"=", value].concat();
        self.mentions_pwd |= key_of(&entry) == Some(b"PWD".to_vec());
        self.is_unchanged = false;
        self.entries.push(entry);
    }

    fn remove(&mut self, key: &[u8]) {
        self.mentions_pwd |= key == b"PWD";
        self.is_unchanged = false;
        self.entries
            .retain(|entry| key_of(entry).as_deref() != Some(key));
    }

    fn replace(&mut self, entries: Vec<Vec<u8>>) {
        self.has_odd_name = false;
        self.entries = entries;
        self.is_inherited = false;
        self.is_unchanged = false;
    }

    fn finish(mut self, pwd: Option<&OsStr>) -> (Vec<Vec<u8>>, bool) {
        if let Some(pwd) = pwd
            && self.is_inherited
            && !self.mentions_pwd
        {
            self.set(b"PWD", pwd.as_bytes());
        }
        let len = self.entries.len();
        self.entries.retain(|entry| !entry.contains(&0));
        let has_nul = self.entries.len() < len;
        let mut kept = Vec::new();
        for (place, entry) in self.entries.iter().enumerate() {
            let key = key_of(entry);
            let later = &self.entries[place + 1..];
            let is_outdone = key.is_some() && later.iter().any(|other| key_of(other) == key);
            if !is_outdone && !entry.is_empty() {
                kept.push(entry.clone());
            }
        }
        (kept, has_nul)
    }
}

/// Up to the `=` that isn't the first byte; an entry whose only `=` is its first byte has an empty key.
fn key_of(entry: &[u8]) -> Option<Vec<u8>> {
    let mut key = Vec::new();
    for (place, byte) in entry.iter().enumerate() {
        if *byte == b'=' && place > 0 {
            return Some(key);
        }
        key.push(*byte);
    }
    entry.starts_with(b"=").then(Vec::new)
}
