//! Converts between URIs of files and paths.

use std::path::{Path, PathBuf};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const SCHEME: &str = "file://";
/// What a path in a URI may contain as it is.
const ESCAPED: AsciiSet = NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The path of a file. A document that is no file, such as one that was never saved, has its URI as its path.
pub(super) fn path(uri: &str) -> PathBuf {
    let Some(rest) = uri.strip_prefix(SCHEME) else {
        return PathBuf::from(uri);
    };
    // What comes before the path is the name of this machine, if anything.
    let path = rest.find('/').map_or("", |start| &rest[start..]);
    PathBuf::from(percent_decode_str(path).decode_utf8_lossy().into_owned())
}

/// The URI of a file.
pub(super) fn uri(path: &Path) -> String {
    if !path.is_absolute() {
        return path.to_string_lossy().into_owned();
    }
    format!("{SCHEME}{}", utf8_percent_encode(&path.to_string_lossy(), &ESCAPED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_both_conversions() {
        for file in ["/a/b c.yaml", "/é/%41.yaml", "/a#b?c.yaml"] {
            assert_eq!(path(&uri(Path::new(file))), Path::new(file));
        }
        assert_eq!(uri(Path::new("/a b/é.yaml")), "file:///a%20b/%C3%A9.yaml");
        assert_eq!(path("file://localhost/a%2Bb.yaml"), Path::new("/a+b.yaml"));
    }

    #[test]
    fn a_document_without_a_file_keeps_its_uri() {
        assert_eq!(uri(&path("untitled:Untitled-1")), "untitled:Untitled-1");
    }
}
