//! One event of an audit log: who did what, when, with which object.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::hash::Hash;

use crm_core::api::group_of;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::UserInfo;
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The API group of audit events.
const GROUP: &str = "audit.k8s.io";
/// The stage at which the answer is known.
const COMPLETE: &str = "ResponseComplete";
/// How the API server begins the message of a denial by a webhook, before its name.
const DENIED_BY: &str = "admission webhook \"";
/// The endings of the names of our webhooks, and of their audit annotations.
const OUR_WEBHOOK: &str = ".crm.milo.io";
const OUR_DECISION: &str = ".crm.milo.io/decision";
/// The value of `dryRun` for a request that stores nothing.
const DRY_RUN: &str = "All";

/// What shows that a JSON object is an event, and when it happened.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    request_received_timestamp: Cow<'a, str>,
    #[serde(borrow, default)]
    stage_timestamp: Cow<'a, str>,
}

/// The fields of an event that a replay needs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default, rename = "auditID")]
    pub(super) audit_id: Cow<'a, str>,
    #[serde(borrow, default)]
    stage: Cow<'a, str>,
    #[serde(borrow, default, rename = "requestURI")]
    request_uri: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(super) verb: Cow<'a, str>,
    user: Option<UserInfo>,
    impersonated_user: Option<UserInfo>,
    #[serde(borrow)]
    pub(super) object_ref: Option<ObjectRef<'a>>,
    #[serde(borrow)]
    response_status: Option<ResponseStatus<'a>>,
    #[serde(borrow)]
    pub(super) request_object: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) response_object: Option<&'a RawValue>,
    #[serde(borrow, default)]
    request_received_timestamp: Cow<'a, str>,
    #[serde(borrow, default)]
    stage_timestamp: Cow<'a, str>,
    #[serde(borrow)]
    annotations: Option<BTreeMap<Text<'a>, Text<'a>>>,
}

/// The object of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ObjectRef<'a> {
    #[serde(borrow)]
    pub(super) api_group: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) resource: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) subresource: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) namespace: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
}

/// The answer. Go leaves out an empty field.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResponseStatus<'a> {
    code: Option<i32>,
    #[serde(borrow)]
    message: Cow<'a, str>,
}

/// A string, borrowed if it has no escapes.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What the API server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It did what was asked. `created` if the request stored a new object.
    Done { created: bool },
    /// Our webhook denied it.
    DeniedByUs,
    /// There is no object of that name.
    NotFound,
    /// It was denied, or failed, for another reason.
    Refused,
}

/// Whether an object is an event, and when it happened.
///
/// # Errors
/// The text says why it is none.
pub(super) fn head(json: &str) -> Result<Head<'_>, &'static str> {
    let head: Head<'_> = serde_json::from_str(json).map_err(|error| why(&error))?;
    if is_event(&head.api_version, &head.kind) { Ok(head) } else { Err(OTHER) }
}

/// Reads an event.
///
/// # Errors
/// The text says why it cannot be read, and repeats nothing of it.
pub(super) fn read(json: &str) -> Result<Event<'_>, &'static str> {
    let event: Event<'_> = serde_json::from_str(json).map_err(|error| why(&error))?;
    if is_event(&event.api_version, &event.kind) { Ok(event) } else { Err(OTHER) }
}

const OTHER: &str = "the object is no Event of audit.k8s.io";

fn is_event(api_version: &str, kind: &str) -> bool {
    kind == "Event" && group_of(api_version) == GROUP
}

/// The messages of serde repeat values.
fn why(error: &serde_json::Error) -> &'static str {
    if error.is_data() {
        "a field of the event has a wrong type or is there twice"
    } else {
        "the event is not JSON"
    }
}

impl Head<'_> {
    /// When the event was written.
    pub(super) fn time(&self) -> Option<Timestamp> {
        first_time([&self.stage_timestamp, &self.request_received_timestamp])
    }
}

fn first_time(times: [&str; 2]) -> Option<Timestamp> {
    times.into_iter().find_map(|time| time.parse().ok())
}

impl Event<'_> {
    /// What only copies of an event have in common, besides its object: the id, the request, and when it was at which
    /// stage.
    pub(super) fn identity(&self) -> impl Hash {
        let request = (&*self.audit_id, &*self.verb, &*self.request_uri);
        // Without a stage, it is about the answer, too.
        let stage = if self.stage.is_empty() { COMPLETE } else { &*self.stage };
        (request, stage, &*self.request_received_timestamp, &*self.stage_timestamp)
    }

    /// Whether the answer is known. Other events are about the same request at an earlier stage.
    pub(super) fn is_complete(&self) -> bool {
        self.stage == COMPLETE || self.stage.is_empty()
    }

    /// When the request arrived.
    pub(super) fn time(&self) -> Option<Timestamp> {
        first_time([&self.request_received_timestamp, &self.stage_timestamp])
    }

    /// The user whom admission sees: the impersonated one, if there is one.
    pub(super) fn take_user(&mut self) -> UserInfo {
        self.impersonated_user.take().or_else(|| self.user.take()).unwrap_or_default()
    }

    /// The field manager that admission sees. Without the parameter, it sees none: only the managed fields then name
    /// the client.
    pub(super) fn field_manager(&self) -> Option<String> {
        self.parameter("fieldManager").filter(|manager| !manager.is_empty())
    }

    /// Whether the request stores nothing.
    pub(super) fn is_dry_run(&self) -> bool {
        self.parameter("dryRun").is_some_and(|mode| mode == DRY_RUN) || self.options_say_dry_run()
    }

    /// The options of a deletion may be its body.
    fn options_say_dry_run(&self) -> bool {
        #[derive(Default, Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Options {
            dry_run: Option<Vec<String>>,
        }
        let options =
            self.request_object.filter(|_| self.verb == "delete" || self.verb == "deletecollection");
        let options = options.and_then(|options| serde_json::from_str::<Options>(options.get()).ok());
        options
            .and_then(|options| options.dry_run)
            .is_some_and(|modes| modes.iter().any(|mode| mode == DRY_RUN))
    }

    /// A parameter of the request.
    fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.request_uri.split_once('?')?;
        let mut parameters = query.split('&').filter_map(|parameter| parameter.split_once('='));
        let (_, value) = parameters.find(|(key, _)| *key == name)?;
        let value = value.replace('+', " ");
        Some(percent_decode_str(&value).decode_utf8_lossy().into_owned())
    }

    /// What the API server answered. An event without a code is one that succeeded.
    pub(super) fn answer(&self) -> Answer {
        let code = self.response_status.as_ref().and_then(|status| status.code).unwrap_or(200);
        match code {
            200..=299 => Answer::Done { created: code == 201 },
            _ if self.is_denied_by_us() => Answer::DeniedByUs,
            404 => Answer::NotFound,
            _ => Answer::Refused,
        }
    }

    fn is_denied_by_us(&self) -> bool {
        let message = self.response_status.as_ref().map_or("", |status| &status.message);
        let name =
            message.strip_prefix(DENIED_BY).and_then(|rest| rest.split_once('"')).map(|(name, _)| name);
        name.is_some_and(|name| name.ends_with(OUR_WEBHOOK)) || self.is_annotated_as_denied()
    }

    /// The annotations of a webhook that allowed the request may be there, too.
    fn is_annotated_as_denied(&self) -> bool {
        let annotations = self.annotations.iter().flatten();
        let mut decisions = annotations.filter(|(key, _)| key.0.ends_with(OUR_DECISION));
        decisions.any(|(_, decision)| decision.0 == "denied")
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn with(fields: Value) -> String {
        let mut event =
            json!({"kind": "Event", "apiVersion": "audit.k8s.io/v1", "stage": "ResponseComplete"});
        event.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        event.to_string()
    }

    #[rstest]
    #[case::missing("/apis/x", None)]
    #[case::given("/apis/x?fieldManager=kubectl-create&dryRun=All", Some("kubectl-create"))]
    #[case::escaped("/apis/x?force=true&fieldManager=a%2Fb+c", Some("a/b c"))]
    #[case::empty("/apis/x?fieldManager=", None)]
    #[case::of_another_name("/apis/x?xfieldManager=a", None)]
    fn field_manager(#[case] uri: &str, #[case] expected: Option<&str>) {
        let json = with(json!({"requestURI": uri}));
        assert_eq!(read(&json).unwrap().field_manager().as_deref(), expected);
    }

    #[rstest]
    #[case::of_a_write(json!({"requestURI": "/x?dryRun=All"}), true)]
    #[case::off(json!({"requestURI": "/x?dryRun="}), false)]
    #[case::in_the_options_of_a_deletion(json!({"verb": "delete", "requestObject": {"dryRun": ["All"]}}), true)]
    #[case::in_an_object(json!({"verb": "create", "requestObject": {"dryRun": ["All"]}}), false)]
    fn dry_run(#[case] fields: Value, #[case] expected: bool) {
        assert_eq!(read(&with(fields)).unwrap().is_dry_run(), expected);
    }

    fn answer_of(status: Value, annotations: Value) -> Answer {
        let json = with(json!({"responseStatus": status, "annotations": annotations}));
        read(&json).unwrap().answer()
    }

    #[rstest]
    #[case::updated(json!({"code": 200}), Answer::Done { created: false })]
    #[case::created(json!({"code": 201}), Answer::Done { created: true })]
    #[case::without_a_code(json!({}), Answer::Done { created: false })]
    #[case::by_our_webhook(
        json!({"code": 422, "message": "admission webhook \"mutate.crm.milo.io\" denied the request: no"}),
        Answer::DeniedByUs
    )]
    #[case::by_another_webhook(
        json!({"code": 422, "message": "admission webhook \"mutate.example.com\" denied the request: x.crm.milo.io"}),
        Answer::Refused
    )]
    #[case::by_the_schema(json!({"code": 422, "message": "Company.crm.milo.io \"a\" is invalid"}), Answer::Refused)]
    #[case::missing(json!({"code": 404}), Answer::NotFound)]
    #[case::by_rbac(json!({"code": 403}), Answer::Refused)]
    fn answer(#[case] status: Value, #[case] expected: Answer) {
        assert_eq!(answer_of(status, json!(null)), expected);
    }

    #[test]
    fn the_annotation_of_our_webhook_shows_a_denial() {
        let denied =
            json!({"validate.crm.milo.io/decision": "denied", "mutate.crm.milo.io/decision": "allowed"});
        assert_eq!(answer_of(json!({"code": 422}), denied), Answer::DeniedByUs);
        let allowed = json!({"mutate.crm.milo.io/decision": "allowed"});
        assert_eq!(answer_of(json!({"code": 422}), allowed), Answer::Refused);
    }

    #[test]
    fn admission_sees_the_impersonated_user() {
        let json = with(json!({"user": {"username": "admin"}, "impersonatedUser": {"username": "alice"}}));
        assert_eq!(read(&json).unwrap().take_user().username.as_deref(), Some("alice"));
        let json = with(json!({"user": {"username": "admin", "groups": null}}));
        assert_eq!(read(&json).unwrap().take_user().username.as_deref(), Some("admin"));
    }

    #[rstest]
    #[case::not_json("{\"kind\":", "the event is not JSON")]
    #[case::of_another_kind(r#"{"kind":"Company","apiVersion":"crm.milo.io/v1alpha1"}"#, OTHER)]
    #[case::of_a_wrong_type(
        r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","verb":["secret"]}"#,
        "a field of the event has a wrong type or is there twice"
    )]
    fn what_cannot_be_read_is_not_repeated(#[case] json: &str, #[case] expected: &str) {
        assert_eq!(read(json).unwrap_err(), expected);
    }
}
