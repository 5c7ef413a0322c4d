//! Parses an AdmissionReview: its envelope, and those parts of its objects that rules check.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use crm_core::api::{CrmKind, policy};
use crm_core::rules::Record;
use k8s_openapi::api::authentication::v1::UserInfo;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::json;

/// The API group of AdmissionReviews.
const REVIEW_GROUP: &str = "admission.k8s.io/";
/// The name of the body in messages.
const THE_BODY: &str = "the body";

/// The maximum length of a string that the answer repeats, in bytes. A uid is a UUID. If longer ones were repeated,
/// unread answers would take as much memory as their bodies without being counted.
const LONGEST_ECHO: usize = 256;

/// Why a body cannot be answered. The message says what is wrong and repeats nothing of the body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON.
    #[error("the body is not JSON: error at line {line}, column {column}")]
    NotJson {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A field has a wrong type or appears twice.
    #[error("not an AdmissionReview that can be read: {path} is missing or has a wrong type")]
    WrongType {
        /// The path, from the top of the body or of the named object.
        path: String,
    },
    /// A part is JSON but cannot be parsed.
    #[error("{0} cannot be read: it is nested too deep, or has a number that is too large")]
    BeyondLimits(&'static str),
    /// A required field is missing.
    #[error("not an AdmissionReview that can be answered: {0} is missing")]
    Missing(&'static str),
    /// A field that the answer repeats is longer than an API server writes it.
    #[error("not an AdmissionReview that can be answered: {0} is longer than {LONGEST_ECHO} bytes")]
    TooLong(&'static str),
    /// It is a document of another kind.
    #[error("not an AdmissionReview: apiVersion must be admission.k8s.io/v1 and kind AdmissionReview")]
    OtherDocument,
}

/// The envelope of one request, whose objects are parsed as `O`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Object<'de>"))]
struct Envelope<'a, O> {
    #[serde(borrow, default)]
    api_version: Cow<'a, str>,
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "only_an_object")]
    request: Option<Request<'a, O>>,
}

/// One request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "O: Object<'de>"))]
struct Request<'a, O> {
    #[serde(borrow)]
    uid: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "only_an_object")]
    kind: Option<GroupVersionKind<'a>>,
    #[serde(borrow)]
    sub_resource: Option<Text<'a>>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    operation: Option<Text<'a>>,
    #[serde(default, deserialize_with = "only_an_object")]
    user_info: Option<User>,
    #[serde(default, deserialize_with = "O::in_field")]
    object: Option<O>,
    #[serde(default, deserialize_with = "O::in_field")]
    old_object: Option<O>,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(borrow, default, deserialize_with = "only_an_object")]
    options: Option<Options<'a>>,
}

/// How the objects of a request are parsed.
trait Object<'de>: Sized {
    /// Parses the field of the object; null means no object.
    fn in_field<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error>;

    /// Its parts; `place` is its name in messages.
    fn parts(self, place: &'static str) -> Result<ObjectParts<'de>, Unreadable>;
}

/// Parsed together with the envelope.
impl<'de> Object<'de> for ObjectParts<'de> {
    fn in_field<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        only_an_object(deserializer)
    }

    fn parts(self, _place: &'static str) -> Result<ObjectParts<'de>, Unreadable> {
        Ok(self)
    }
}

/// Parsed separately, once it is known to matter.
impl<'de> Object<'de> for &'de RawValue {
    fn in_field<D: Deserializer<'de>>(deserializer: D) -> Result<Option<Self>, D::Error> {
        Option::deserialize(deserializer)
    }

    fn parts(self, place: &'static str) -> Result<ObjectParts<'de>, Unreadable> {
        read(self.get(), place)
    }
}

/// A string, borrowed from the body if it has no escapes.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A `userInfo`. Go writes an empty list as null.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    username: Option<String>,
    uid: Option<String>,
    groups: Option<Vec<String>>,
    #[serde(deserialize_with = "extra")]
    extra: Option<BTreeMap<String, Vec<String>>>,
}

impl From<User> for UserInfo {
    fn from(user: User) -> Self {
        let User { username, uid, groups, extra } = user;
        Self { username, uid, groups, extra }
    }
}

/// Parses `userInfo.extra` into the type of [`UserInfo`], so that no map has to be built again.
fn extra<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, Vec<String>>>, D::Error> {
    struct Extra;

    impl<'de> Visitor<'de> for Extra {
        type Value = Option<BTreeMap<String, Vec<String>>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or null")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut extra = BTreeMap::new();
            while let Some((key, values)) = map.next_entry::<String, Option<Vec<String>>>()? {
                extra.insert(key, values.unwrap_or_default());
            }
            Ok(Some(extra))
        }
    }

    deserializer.deserialize_any(Extra)
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GroupVersionKind<'a> {
    #[serde(borrow)]
    group: Cow<'a, str>,
    #[serde(borrow)]
    version: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options<'a> {
    #[serde(borrow)]
    field_manager: Option<Text<'a>>,
    /// Of a deletion.
    #[serde(borrow)]
    propagation_policy: Option<Text<'a>>,
    /// Of a deletion by an older client.
    orphan_dependents: Option<bool>,
}

impl Options<'_> {
    /// Whether the objects that the deleted one owns stay.
    fn orphan(&self) -> bool {
        self.orphan_dependents == Some(true)
            || self.propagation_policy.as_ref().is_some_and(|policy| policy.0 == "Orphan")
    }
}

/// The operation of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Update,
    Delete,
    Connect,
    /// An operation of a later API server.
    Other,
}

impl Verb {
    fn of(operation: &str) -> Self {
        match operation {
            "CREATE" => Self::Create,
            "UPDATE" => Self::Update,
            "DELETE" => Self::Delete,
            "CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// The name in metrics and logs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Other => "other",
        }
    }
}

/// A kind that the webhook decides about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// A kind of records.
    Record(CrmKind),
    /// The policy for them.
    Policy,
}

impl Judged {
    fn of(kind: &GroupVersionKind<'_>) -> Option<Self> {
        let GroupVersionKind { group, version, kind } = kind;
        if (group.as_ref(), version.as_ref(), kind.as_ref()) == (policy::GROUP, policy::VERSION, policy::KIND)
        {
            return Some(Self::Policy);
        }
        CrmKind::of(group, version, kind).map(Self::Record)
    }

    /// The API group.
    pub(super) const fn group(self) -> &'static str {
        match self {
            Self::Record(kind) => kind.group(),
            Self::Policy => policy::GROUP,
        }
    }

    /// The kind as it is written in manifests.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Record(kind) => kind.as_str(),
            Self::Policy => policy::KIND,
        }
    }

    /// The kind as a label of metrics.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Record(kind) => kind.label(),
            Self::Policy => policy::KIND,
        }
    }
}

/// A valid request. Its strings are borrowed from the body.
#[derive(Debug)]
pub(super) struct Review<'a> {
    pub(super) api_version: Cow<'a, str>,
    pub(super) uid: Cow<'a, str>,
    pub(super) verb: Verb,
    /// One of our kinds, if the request is about the object and not a subresource.
    pub(super) kind: Option<Judged>,
    /// The name, or its prefix if the API server will generate it.
    pub(super) name: Cow<'a, str>,
    pub(super) user: UserInfo,
    pub(super) dry_run: bool,
    pub(super) field_manager: Option<Cow<'a, str>>,
    /// Whether the request deletes a record, and what that record owns stays.
    pub(super) orphans: bool,
    pub(super) matter: Matter,
}

/// What to decide.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "each review has one, and most are writes")]
pub(super) enum Matter {
    /// Nothing: the request is allowed unchanged.
    Nothing,
    /// A record to store.
    Write(Write),
    /// A record of this kind to delete.
    Deletion(CrmKind),
    /// A policy to store, with another spec than before.
    Policy {
        /// The new spec.
        spec: Value,
    },
}

/// A create or update of one of our kinds.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) kind: CrmKind,
    pub(super) object: Record,
    /// The object before an update.
    pub(super) stored: Option<Record>,
}

/// The parsed fields of an object.
#[derive(Debug, Deserialize)]
struct ObjectParts<'a> {
    #[serde(borrow, default, deserialize_with = "only_an_object")]
    metadata: Option<Metadata<'a>>,
    #[serde(default)]
    spec: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    #[serde(borrow)]
    generate_name: Option<Text<'a>>,
    #[serde(borrow)]
    namespace: Option<Text<'a>>,
    labels: Option<BTreeMap<String, String>>,
    #[serde(borrow)]
    owner_references: Option<Vec<Owner<'a>>>,
}

/// An entry of `metadata.ownerReferences`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Owner<'a> {
    #[serde(borrow)]
    uid: Option<Text<'a>>,
}

/// Parses a field that is an object or null: serde alone would accept a list for a struct.
///
/// Fields that are not in `T` are skipped and take no memory, however many there are.
fn only_an_object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct OnlyAnObject<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyAnObject<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or null")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(OnlyAnObject(PhantomData))
}

/// Parses a body.
pub(super) fn parse(body: &[u8]) -> Result<Review<'_>, Unreadable> {
    // Checked once for the whole body. Otherwise, every string would be checked separately.
    let body = std::str::from_utf8(body).map_err(|_| not_utf8(body))?;
    // Nearly every body is valid and read in one pass. For another one, it matters which part is wrong and whether that
    // part is needed.
    match json::read::<Envelope<'_, ObjectParts<'_>>>(body) {
        Some(envelope) => review(envelope),
        None => review(read::<Envelope<'_, &RawValue>>(body, THE_BODY)?),
    }
}

fn review<'a, O: Object<'a>>(envelope: Envelope<'a, O>) -> Result<Review<'a>, Unreadable> {
    let Envelope { api_version, kind, request } = envelope;
    if !api_version.starts_with(REVIEW_GROUP) || kind != "AdmissionReview" {
        return Err(Unreadable::OtherDocument);
    }
    if api_version.len() > LONGEST_ECHO {
        return Err(Unreadable::TooLong("apiVersion"));
    }
    let request = request.ok_or(Unreadable::Missing("request"))?;
    let uid = request.uid.filter(|uid| !uid.0.is_empty()).ok_or(Unreadable::Missing("request.uid"))?.0;
    if uid.len() > LONGEST_ECHO {
        return Err(Unreadable::TooLong("request.uid"));
    }
    let user = request.user_info.ok_or(Unreadable::Missing("request.userInfo"))?.into();
    let verb = Verb::of(&request.operation.ok_or(Unreadable::Missing("request.operation"))?.0);
    let about_subresource = request.sub_resource.is_some_and(|name| !name.0.is_empty());
    let kind = Judged::of(&request.kind.unwrap_or_default()).filter(|_| !about_subresource);
    let mut name = request.name.map(|name| name.0).unwrap_or_default();
    let mut matter = Matter::Nothing;
    if let (Some(kind), Verb::Create | Verb::Update) = (kind, verb) {
        let object = request.object.ok_or(Unreadable::Missing("request.object"))?;
        let (metadata, object) = object.parts("request.object")?.into_record();
        if name.is_empty() {
            let given = metadata.name.filter(|name| !name.0.is_empty());
            name = given.or(metadata.generate_name).map(|name| name.0).unwrap_or_default();
        }
        let stored = match verb {
            Verb::Update => {
                let stored = request.old_object.ok_or(Unreadable::Missing("request.oldObject"))?;
                Some(stored.parts("request.oldObject")?.into_record().1)
            }
            _ => None,
        };
        matter = match kind {
            Judged::Record(kind) => Matter::Write(Write { kind, object, stored }),
            // Also for those of an invalid policy, so that its finalizers can be removed.
            Judged::Policy if stored.is_some_and(|stored| stored.spec == object.spec) => Matter::Nothing,
            Judged::Policy => Matter::Policy { spec: object.spec },
        };
    } else if let (Some(Judged::Record(kind)), Verb::Delete) = (kind, verb) {
        // The request for a collection has no name, and comes once for every object in it.
        if let (true, Some(stored)) = (name.is_empty(), request.old_object) {
            let (metadata, _) = stored.parts("request.oldObject")?.into_record();
            name = metadata.name.map(|name| name.0).unwrap_or_default();
        }
        matter = Matter::Deletion(kind);
    }
    Ok(Review {
        api_version,
        uid,
        verb,
        kind,
        name,
        user,
        dry_run: request.dry_run.unwrap_or_default(),
        orphans: request.options.as_ref().is_some_and(Options::orphan),
        field_manager: request.options.and_then(|options| options.field_manager).map(|manager| manager.0),
        matter,
    })
}

impl<'a> ObjectParts<'a> {
    fn into_record(self) -> (Metadata<'a>, Record) {
        let mut metadata = self.metadata.unwrap_or_default();
        let labels = metadata.labels.take().unwrap_or_default();
        let namespace = metadata.namespace.take().map(|namespace| namespace.0.into_owned());
        let owners = metadata.owner_references.take().map(|owners| {
            owners.into_iter().filter_map(|owner| owner.uid.map(|uid| uid.0.into_owned())).collect()
        });
        (metadata, Record { labels, spec: self.spec, namespace, owners })
    }
}

/// Serde would accept a list for a struct.
fn check_is_object(json: &str, place: &'static str) -> Result<(), Unreadable> {
    if json.trim_ascii_start().starts_with('[') {
        return Err(Unreadable::WrongType { path: place.to_owned() });
    }
    Ok(())
}

/// Parses one JSON object; `place` is its name in messages.
fn read<'de, T: Deserialize<'de>>(json: &'de str, place: &'static str) -> Result<T, Unreadable> {
    check_is_object(json, place)?;
    // Tracking the path allocates for every key, so it is done only for invalid objects.
    serde_json::from_str(json).or_else(|_| read_with_paths(json, place))
}

fn read_with_paths<'de, T: Deserialize<'de>>(json: &'de str, place: &'static str) -> Result<T, Unreadable> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        unreadable(error.inner(), place, &path)
    })?;
    deserializer.end().map_err(|error| unreadable(&error, place, "."))?;
    Ok(value)
}

fn not_utf8(body: &[u8]) -> Unreadable {
    let before = body.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let line_before = before.rsplit('\n').next().unwrap_or_default();
    Unreadable::NotJson { line: before.matches('\n').count() + 1, column: line_before.len() + 1 }
}

fn unreadable(error: &serde_json::Error, place: &'static str, path: &str) -> Unreadable {
    if error.is_data() {
        return Unreadable::WrongType { path: named(place, path) };
    }
    if place != THE_BODY {
        // The body was parsed to its end before, so this part is JSON.
        return Unreadable::BeyondLimits(place);
    }
    Unreadable::NotJson { line: error.line(), column: error.column() }
}

/// The name of a field at a path in `place` for messages. Below the fields of this file there may be keys of maps,
/// which are not repeated.
fn named(place: &'static str, path: &str) -> String {
    // The path library returns a dot for the top.
    if path == "." {
        return place.to_owned();
    }
    let mut fields = path.split('.');
    match (place, fields.next().unwrap_or_default(), fields.next()) {
        (THE_BODY, field, None) => field.to_owned(),
        (THE_BODY, field, Some(below)) => format!("{field}.{below}"),
        (_, field, _) => format!("{place}.{field}"),
    }
}

#[cfg(test)]
mod tests;
