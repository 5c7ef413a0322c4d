//! Checks whether the API server has the features that the installation needs.

use k8s_openapi::apimachinery::pkg::version::Info;

use super::diagnosis::{Check, Diagnosis, Examination, Id};
use super::questions::Answer;

/// The oldest supported minor version of Kubernetes 1: `selectableFields` of definitions are on by default from 1.31
/// on (KEP-4358), and stable `matchConditions` (KEP-3716) and ValidatingAdmissionPolicies (KEP-3488) came with 1.30.
const OLDEST_MINOR: u32 = 31;

pub(super) fn judge(version: &Answer<Info>) -> Check {
    const SUBJECT: &str = "API server";
    let (summary, finding) = match version.known(SUBJECT) {
        Err(finding) => (String::new(), Some(finding)),
        Ok(None) => (String::new(), None),
        Ok(Some(info)) => (info.git_version.clone(), too_old(info)),
    };
    Check { examination: Examination::ApiServer, summary, findings: finding.into_iter().collect() }
}

fn too_old(info: &Info) -> Option<Diagnosis> {
    // Some providers write `31+`. A version without a number is not checked.
    let number = |text: &str| text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse::<u32>().ok();
    let (major, minor) = (number(&info.major)?, number(&info.minor)?);
    let old = (major, minor) < (1, OLDEST_MINOR);
    old.then(|| {
        let text = format!(
            "{} is older than 1.{OLDEST_MINOR}: people and notes cannot be selected by their references, \
             and it may not support the shipped webhook configurations",
            info.git_version
        );
        Diagnosis::failure(Id::ApiServerTooOld, "API server", text, "kubectl version")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(major: &str, minor: &str) -> Answer<Info> {
        let git_version = format!("v{major}.{minor}.0");
        Answer::Found(Info {
            major: major.to_owned(),
            minor: minor.to_owned(),
            git_version,
            ..Info::default()
        })
    }

    #[test]
    fn an_api_server_before_1_31_is_too_old() {
        for minor in ["30", "30+", "9"] {
            let check = judge(&info("1", minor));
            assert_eq!(check.findings[0].id, Id::ApiServerTooOld, "{minor}");
            assert!(check.findings[0].text.contains(&format!("v1.{minor}.0 is older than 1.31")));
        }
    }

    #[test]
    fn an_api_server_from_1_31_on_is_supported() {
        for (major, minor) in [("1", "31"), ("1", "37"), ("1", "31+"), ("2", "0"), ("", "")] {
            assert_eq!(judge(&info(major, minor)).findings, [], "{major}.{minor}");
        }
    }
}
