//! Asks the API server what a user may do.

use k8s_openapi::api::authentication::v1::UserInfo;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kube::api::{Api, PostParams};

use crate::api::ResourceKind;

/// Whether `user` may list the objects of a kind, in that namespace if the kind has any.
///
/// The answer is not kept: it is asked for only when there is a name to tell, or somebody deletes a record, and a
/// right that is taken away must not go on for a while here.
pub(super) async fn may_list(
    client: &Client,
    user: &UserInfo,
    kind: &ResourceKind,
    namespace: Option<&str>,
) -> kube::Result<bool> {
    let attributes = ResourceAttributes {
        verb: Some("list".to_owned()),
        group: Some(kind.group.clone()),
        version: Some(kind.version.clone()),
        resource: Some(kind.plural.clone()),
        namespace: namespace.filter(|_| kind.namespaced).map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let review = SubjectAccessReview {
        spec: SubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            user: user.username.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
            ..SubjectAccessReviewSpec::default()
        },
        ..SubjectAccessReview::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
}
