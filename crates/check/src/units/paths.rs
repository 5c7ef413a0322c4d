//! Paths as text.

use std::path::{Component, Path, PathBuf};

/// A path without `.`, and without `..` after a name. Links are not followed.
pub(super) fn normalized(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(normalized.components().next_back(), Some(Component::Normal(_))) =>
            {
                normalized.pop();
            }
            part => normalized.push(part),
        }
    }
    normalized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_without_dots() {
        for (path, expected) in
            [("./a/../b", "b"), ("../a/./b", "../a/b"), ("/a/../../b", "/../b"), (".", "")]
        {
            assert_eq!(normalized(Path::new(path)), Path::new(expected), "{path}");
        }
    }
}
