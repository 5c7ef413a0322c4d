//! Shows a change of a file as a unified diff for `git apply` and `patch -p1`.

use similar::TextDiff;

/// The number of unchanged lines around each change.
const CONTEXT: usize = 3;

/// The change of one file, with git's prefixes `a/` and `b/` before its name. Empty if nothing changed.
pub fn unified_diff(name: &str, before: &str, after: &str) -> String {
    let name = name.trim_start_matches('/');
    TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&quoted(&format!("a/{name}")), &quoted(&format!("b/{name}")))
        .to_string()
}

/// The name of a file, quoted as git does if it contains control characters or quotes.
fn quoted(name: &str) -> String {
    let must_be_escaped = |c: char| c.is_control() || matches!(c, '"' | '\\');
    if !name.contains(must_be_escaped) {
        return name.to_owned();
    }
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => {
                let mut bytes = [0; 4];
                let octal = c.encode_utf8(&mut bytes).bytes().map(|byte| format!("\\{byte:03o}"));
                quoted.extend(octal);
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::unified_diff;

    #[test]
    fn a_change_is_shown_with_its_context() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n";
        assert_eq!(
            unified_diff("x/a.yaml", before, &before.replace("5\n", "five\n")),
            "--- a/x/a.yaml\n+++ b/x/a.yaml\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
        );
        assert_eq!(unified_diff("a.yaml", before, before), "");
        assert!(
            unified_diff("/tmp/a.yaml", "1\n", "2\n").starts_with("--- a/tmp/a.yaml\n+++ b/tmp/a.yaml\n")
        );
    }

    #[test]
    fn a_name_cannot_break_its_line() {
        let diff = unified_diff("a\n+++ b/\"x\u{1b}\\é.yaml", "1\n", "2\n");
        let (headers, _) = diff.split_once("@@").unwrap();
        let name = "a\\n+++ b/\\\"x\\033\\\\é.yaml";
        assert_eq!(headers, format!("--- \"a/{name}\"\n+++ \"b/{name}\"\n"));
    }

    #[test]
    fn line_ends_and_a_missing_last_one_are_kept() {
        assert_eq!(
            unified_diff("a", "1\r\n2", "1\r\n3"),
            "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n 1\r\n-2\n\\ No newline at end of file\n+3\n\\ No newline at end of file\n"
        );
    }
}
