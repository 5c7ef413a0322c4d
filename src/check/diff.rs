//! Shows what would be written to a file as a unified diff, which `git apply` and `patch -p1` take.

use similar::TextDiff;

/// How many unchanged lines are shown around each change.
const CONTEXT: usize = 3;

/// The change of one file, named with the prefixes `a/` and `b/` as git names it. Empty where nothing differs.
pub(super) fn unified(name: &str, before: &str, after: &str) -> String {
    let name = name.trim_start_matches('/');
    TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(CONTEXT)
        .header(&format!("a/{name}"), &format!("b/{name}"))
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::unified;

    #[test]
    fn a_change_is_shown_with_what_is_around_it() {
        let before = "1\n2\n3\n4\n5\n6\n7\n8\n";
        assert_eq!(
            unified("x/a.yaml", before, &before.replace("5\n", "five\n")),
            "--- a/x/a.yaml\n+++ b/x/a.yaml\n@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
        );
        assert_eq!(unified("a.yaml", before, before), "");
        assert!(unified("/tmp/a.yaml", "1\n", "2\n").starts_with("--- a/tmp/a.yaml\n+++ b/tmp/a.yaml\n"));
    }

    #[test]
    fn line_ends_and_an_end_without_one_are_kept() {
        assert_eq!(
            unified("a", "1\r\n2", "1\r\n3"),
            "--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n 1\r\n-2\n\\ No newline at end of file\n+3\n\\ No newline at end of file\n"
        );
    }
}
