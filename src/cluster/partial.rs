//! Objects of any kind of which only some fields are read.

use std::borrow::Cow;
use std::fmt::Debug;

use kube::Resource;
use kube::api::DynamicObject;
use kube::core::{ApiResource, ObjectMeta};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

/// What is read of an object.
pub trait Fields: Clone + Debug + Send + 'static {
    /// Whether requests ask for metadata only.
    const METADATA_ONLY: bool;
    /// The form in JSON. What it does not have is skipped, and not kept.
    type Shown: DeserializeOwned;

    /// The metadata, which must have the resource version for a watch, and the rest.
    fn split(shown: Self::Shown) -> (ObjectMeta, Self);
}

/// An object of any kind with some of its fields, like a [`DynamicObject`].
///
/// kube's `PartialObjectMeta` parses all metadata, including managed fields and annotations, and buffers every field
/// first: five times the work for each of a million objects.
#[derive(Clone, Debug)]
pub struct Partial<F> {
    /// Has only what [`Fields::split`] returns.
    ///
    /// Boxed, because an object is moved often on its way out of an event, and this is 400 bytes.
    pub metadata: Box<ObjectMeta>,
    /// The other fields.
    pub fields: F,
}

impl<'de, F: Fields> Deserialize<'de> for Partial<F> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (metadata, fields) = F::split(F::Shown::deserialize(deserializer)?);
        Ok(Self { metadata: Box::new(metadata), fields })
    }
}

impl<F: Fields> Resource for Partial<F> {
    type DynamicType = ApiResource;
    type Scope = <DynamicObject as Resource>::Scope;

    fn metadata_api() -> bool {
        F::METADATA_ONLY
    }

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::kind(resource)
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::group(resource)
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::version(resource)
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        DynamicObject::plural(resource)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
