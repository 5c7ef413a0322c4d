//! Asks the API server what a user may do.

use std::collections::BTreeMap;
use std::io;

use crm_core::api::ResourceKind;
use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview};
use kube::Resource;
use kube::api::PostParams;
use kube::core::{Request, request};
use serde::{Deserialize, Serialize};

use crate::cluster::{ReadError, Reader};

/// The question. It borrows the user, whose fields may have megabytes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Question<'u> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'u>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'u> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'u str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<&'u str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<&'u [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra: Option<&'u BTreeMap<String, Vec<String>>>,
    resource_attributes: ResourceAttributes,
}

/// The fields of the answer, which repeats the question.
#[derive(Deserialize)]
struct Verdict {
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    allowed: bool,
    #[serde(default)]
    denied: bool,
}

/// Whether `user` may list the objects of a kind, in that namespace if the kind is namespaced.
///
/// The answer is not cached: it is needed only when a name is missing or a record is deleted, and a removed permission
/// must take effect at once.
pub(super) async fn may_list(
    reader: &Reader,
    user: &UserInfo,
    kind: &ResourceKind,
    namespace: Option<&str>,
) -> Result<bool, ReadError> {
    let question = Question {
        api_version: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: Spec {
            user: user.username.as_deref(),
            uid: user.uid.as_deref(),
            groups: user.groups.as_deref(),
            extra: user.extra.as_ref(),
            resource_attributes: ResourceAttributes {
                verb: Some("list".to_owned()),
                group: Some(kind.group.clone()),
                version: Some(kind.version.clone()),
                resource: Some(kind.plural.clone()),
                namespace: namespace.filter(|_| kind.namespaced).map(str::to_owned),
                ..ResourceAttributes::default()
            },
        },
    };
    // A large question waits for its turn before it takes memory.
    let mut claim = reader.claim();
    claim.grow(length(&question)?).await?;
    let body = serde_json::to_vec(&question).map_err(request::Error::SerializeBody)?;
    let path = SubjectAccessReview::url_path(&(), None);
    let answer = reader.read_under(claim, Request::new(path).create(&PostParams::default(), body)?).await?;
    let verdict: Verdict = answer.parse()?;
    Ok(verdict.status.is_some_and(|status| status.allowed && !status.denied))
}

/// The length of the question as JSON.
fn length(question: &Question<'_>) -> Result<usize, ReadError> {
    struct Length(usize);
    impl io::Write for Length {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0 += text.len();
            Ok(text.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut length = Length(0);
    serde_json::to_writer(&mut length, question).map_err(request::Error::SerializeBody)?;
    Ok(length.0)
}
