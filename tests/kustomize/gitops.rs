//! What is found in a repository as GitOps teams have it, when its overlays are built.

use crate::builds::check;
use crate::gitops_fixture::{BUILT, PLAIN, fixture};

// The patches of the overlays neither make nor repair a mistake, so the same ten are found as without a build.
#[test]
fn exactly_the_ten_mistakes_are_found_in_their_places() {
    for mode in ["auto", "build"] {
        let ended = check(&fixture(), ".", &["--kustomize", mode, "--format", "json"]);
        assert_eq!(ended.ends_with(1).findings(), [&PLAIN[..], &BUILT].concat());
        let summary = &ended.json()["summary"];
        let counts =
            ["checked", "encrypted", "notJudged", "errors"].map(|count| summary[count].as_u64().unwrap());
        // Each of the two overlays has the four records of the base.
        assert_eq!(counts, [304, 2, 0, 0]);
        assert_eq!(ended.err, "");
    }
}
