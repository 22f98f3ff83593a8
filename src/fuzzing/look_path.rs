//! `look_path` against a walk over the text of `PATH`, in a world where the bytes decide which files are executable.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::Bytes;
use crate::lookpath::{LookPathError, search};

/// The first byte tells which of the candidates are executable and whether there is a `PATH`; then a name, `\n`, and
/// the `PATH`.
pub fn look_path(data: &[u8]) {
    let mut bytes = Bytes(data);
    let world = bytes.next();
    let mut parts = bytes.0.splitn(2, |byte| *byte == b'\n');
    let name = parts.next().unwrap_or_default();
    let path = parts.next();
    // An executable at every place, at one, or nowhere.
    let usable_at = |place: usize| match world % 16 {
        0 => true,
        1 => false,
        at => place + 2 == usize::from(at),
    };

    let mut asked: Vec<Vec<u8>> = Vec::new();
    let found = search(
        OsStr::from_bytes(name),
        path.map(OsStr::from_bytes),
        &mut |file| {
            asked.push(file.as_os_str().as_bytes().to_vec());
            match asked.len() - 1 {
                place if usable_at(place) => Ok(()),
                place if place % 2 == 0 => Err(io::ErrorKind::NotFound.into()),
                _ => Err(io::Error::from_raw_os_error(13)),
            }
        },
    );

    let has_slash = name.contains(&b'/');
    let candidates = if has_slash {
        vec![name.to_vec()]
    } else {
        candidates(name, path)
    };
    let chosen = (0..candidates.len()).find(|place| usable_at(*place));
    let asked_len = chosen.map_or(candidates.len(), |place| place + 1);
    assert_eq!(asked, candidates[..asked_len]);

    if let Err(error) = &found {
        assert_eq!(error.name().as_bytes(), name);
        assert_eq!(error.again().to_string(), error.to_string());
        assert_eq!(error.again().path(), error.path());
    }
    match (found, chosen.map(|place| candidates[place].as_slice())) {
        (Ok(file), Some(chosen)) => {
            assert_eq!(file.as_os_str().as_bytes(), chosen);
            assert!(has_slash || chosen.starts_with(b"/"));
        }
        (Err(LookPathError::Dot { path, .. }), Some(chosen)) => {
            assert_eq!(path.as_os_str().as_bytes(), chosen);
            assert!(!has_slash && !chosen.starts_with(b"/"));
            // Whoever names what was refused gets it, and nothing is searched for.
            let again = search(path.as_os_str(), None, &mut |_: &Path| Ok(()));
            assert!(again.is_ok_and(|again| again.as_os_str() == path.as_os_str()));
        }
        (Err(LookPathError::Io { .. }), None) => assert!(has_slash),
        (Err(LookPathError::NotFound { .. }), None) => assert!(!has_slash),
        (found, chosen) => panic!("{found:?} in place of {chosen:?}"),
    }
}

/// What a name without a slash may mean, byte by byte.
fn candidates(name: &[u8], path: Option<&[u8]>) -> Vec<Vec<u8>> {
    let mut candidates = Vec::new();
    let is_no_file = name.is_empty() || name == b"." || name == b"..";
    let Some(path) = path.filter(|path| !path.is_empty() && !is_no_file) else {
        return candidates;
    };
    let mut entry = Vec::new();
    for byte in path.iter().chain(b":") {
        if *byte != b':' {
            entry.push(*byte);
            continue;
        }
        if entry.is_empty() {
            entry.push(b'.');
        }
        if !entry.ends_with(b"/") {
            entry.push(b'/');
        }
        entry.extend_from_slice(name);
        candidates.push(std::mem::take(&mut entry));
    }
    candidates
}
