//! Reads an AdmissionReview: first the envelope, then, for our kinds only, the objects in it.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use k8s_openapi::api::authentication::v1::UserInfo;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::api::CrmKind;
use crate::rules::Record;

/// The group that AdmissionReviews are of.
const REVIEW_GROUP: &str = "admission.k8s.io/";
/// What messages call the whole.
const THE_BODY: &str = "the body";

/// Why a body cannot be answered. The text names what is wrong and repeats nothing of the body.
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
    /// A field has a type that it must not have, or is there twice.
    #[error("not an AdmissionReview that can be read: {path} is missing or has a wrong type")]
    WrongType {
        /// Where, from the top of the body or of the object that is named.
        path: String,
    },
    /// A part is JSON, and still cannot be read.
    #[error("{0} cannot be read: it is nested too deep, or has a number that is too large")]
    BeyondLimits(&'static str),
    /// A field that every request has is missing.
    #[error("not an AdmissionReview that can be answered: {0} is missing")]
    Missing(&'static str),
    /// It is a document of another kind.
    #[error("not an AdmissionReview: apiVersion must be admission.k8s.io/v1 and kind AdmissionReview")]
    OtherDocument,
}

/// The envelope of one request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(borrow, default, deserialize_with = "only_an_object")]
    request: Option<Request<'a>>,
}

/// One request, its objects not read yet.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    uid: Option<String>,
    #[serde(default, deserialize_with = "only_an_object")]
    kind: Option<GroupVersionKind>,
    sub_resource: Option<String>,
    name: Option<String>,
    operation: Option<String>,
    #[serde(default, deserialize_with = "only_an_object")]
    user_info: Option<User>,
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    #[serde(borrow)]
    old_object: Option<&'a RawValue>,
    #[serde(default)]
    dry_run: Option<bool>,
    #[serde(default, deserialize_with = "only_an_object")]
    options: Option<Options>,
}

/// A `userInfo`. Go writes a list without entries as null.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct User {
    username: Option<String>,
    uid: Option<String>,
    groups: Option<Vec<String>>,
    extra: Option<BTreeMap<String, Option<Vec<String>>>>,
}

impl From<User> for UserInfo {
    fn from(user: User) -> Self {
        let User { username, uid, groups, extra } = user;
        let extra = extra
            .map(|extra| extra.into_iter().map(|(key, values)| (key, values.unwrap_or_default())).collect());
        Self { username, uid, groups, extra }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct GroupVersionKind {
    group: String,
    version: String,
    kind: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    field_manager: Option<String>,
}

/// What is done with the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Create,
    Update,
    Delete,
    Connect,
    /// One that a later API server has.
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

    /// The verb as metrics and logs spell it.
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

/// A request that can be answered.
#[derive(Debug)]
pub(super) struct Review {
    pub(super) api_version: String,
    pub(super) uid: String,
    pub(super) verb: Verb,
    /// One of our kinds, for requests about the object itself and not about a subresource.
    pub(super) kind: Option<CrmKind>,
    /// The name, or the prefix of the name that is yet to be made.
    pub(super) name: String,
    pub(super) user: UserInfo,
    pub(super) dry_run: bool,
    pub(super) field_manager: Option<String>,
    pub(super) matter: Matter,
}

/// What is to be decided.
#[derive(Debug)]
pub(super) enum Matter {
    /// Nothing: the request is allowed untouched.
    Nothing,
    /// A record that is to be stored.
    Write(Write),
    /// A record of that kind, which is to be deleted.
    Deletion(CrmKind),
}

/// A create or update of one of our kinds.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) kind: CrmKind,
    pub(super) object: Record,
    /// The object that an update replaces.
    pub(super) stored: Option<Record>,
}

#[derive(Debug, Deserialize)]
struct ObjectParts {
    #[serde(default, deserialize_with = "only_an_object")]
    metadata: Option<Metadata>,
    #[serde(default)]
    spec: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    generate_name: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

/// Reads a field that is an object or null. By itself serde would take a list for a struct.
///
/// What `T` does not name is passed over and takes up nothing, however much of it there is.
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

/// Reads a body.
pub(super) fn parse(body: &[u8]) -> Result<Review, Unreadable> {
    // Checked once as a whole: read as bytes, every text would be checked by itself, and those of objects twice.
    let body = std::str::from_utf8(body).map_err(|_| not_utf8(body))?;
    let envelope: Envelope<'_> = read(body, THE_BODY)?;
    if !envelope.api_version.starts_with(REVIEW_GROUP) || envelope.kind != "AdmissionReview" {
        return Err(Unreadable::OtherDocument);
    }
    let request = envelope.request.ok_or(Unreadable::Missing("request"))?;
    review(envelope.api_version, request)
}

fn review(api_version: String, request: Request<'_>) -> Result<Review, Unreadable> {
    let uid = request.uid.filter(|uid| !uid.is_empty()).ok_or(Unreadable::Missing("request.uid"))?;
    let user = request.user_info.ok_or(Unreadable::Missing("request.userInfo"))?.into();
    let verb = Verb::of(&request.operation.ok_or(Unreadable::Missing("request.operation"))?);
    let GroupVersionKind { group, version, kind } = request.kind.unwrap_or_default();
    let about_subresource = request.sub_resource.is_some_and(|name| !name.is_empty());
    let kind = CrmKind::of(&group, &version, &kind).filter(|_| !about_subresource);
    let mut name = request.name.unwrap_or_default();
    let mut matter = Matter::Nothing;
    if let (Some(kind), Verb::Create | Verb::Update) = (kind, verb) {
        let object = request.object.ok_or(Unreadable::Missing("request.object"))?;
        let (metadata, object) = object_parts(object, "request.object")?;
        if name.is_empty() {
            let given = metadata.name.filter(|name| !name.is_empty());
            name = given.or(metadata.generate_name).unwrap_or_default();
        }
        let stored = match verb {
            Verb::Update => {
                let stored = request.old_object.ok_or(Unreadable::Missing("request.oldObject"))?;
                Some(object_parts(stored, "request.oldObject")?.1)
            }
            _ => None,
        };
        matter = Matter::Write(Write { kind, object, stored });
    } else if let (Some(kind), Verb::Delete) = (kind, verb) {
        // The request of a collection has no name, and is shown once for every object in it.
        if let (true, Some(stored)) = (name.is_empty(), request.old_object) {
            name = object_parts(stored, "request.oldObject")?.0.name.unwrap_or_default();
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
        field_manager: request.options.and_then(|options| options.field_manager),
        matter,
    })
}

fn object_parts(object: &RawValue, place: &'static str) -> Result<(Metadata, Record), Unreadable> {
    let parts: ObjectParts = read(object.get(), place)?;
    let mut metadata = parts.metadata.unwrap_or_default();
    let labels = metadata.labels.take().unwrap_or_default();
    Ok((metadata, Record { labels, spec: parts.spec }))
}

/// Reads one JSON object; `place` is what messages call it.
fn read<'de, T: Deserialize<'de>>(json: &'de str, place: &'static str) -> Result<T, Unreadable> {
    if json.trim_ascii_start().starts_with('[') {
        return Err(Unreadable::WrongType { path: place.to_owned() });
    }
    // Keeping track of the path allocates for every key, so only what cannot be read is read in that way.
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
        // The body was read up to its end before, so this part of it is JSON.
        return Unreadable::BeyondLimits(place);
    }
    Unreadable::NotJson { line: error.line(), column: error.column() }
}

/// What a message calls the field at a path in `place`. Below the fields that this file names there may be keys of maps,
/// which are not repeated.
fn named(place: &'static str, path: &str) -> String {
    // A dot is the path library's word for the top.
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
