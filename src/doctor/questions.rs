//! Sends requests to the API server, each with a deadline, and distinguishes the ways in which they fail.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::api::{Api, ApiResource, DynamicObject, ListParams, PostParams};
use kube::core::{GroupVersionKind, Status};
use kube::{Client, Error};
use serde_json::Value;
use tokio::time::timeout;

use super::diagnosis::{Diagnosis, Id};
use crate::cluster::RequestError;
use crate::invocation::invocation;

/// Why the cluster could not be examined.
#[derive(Debug, thiserror::Error)]
pub enum NoCluster {
    /// The API server did not answer in time.
    #[error("the API server does not answer within {0:?}")]
    Late(Duration),
    /// It cannot be reached, does not accept the credentials, or returns another error.
    #[error("{0}")]
    Unreachable(#[source] RequestError),
    /// The user lacks permission to read any part of the installation.
    #[error("the current user lacks permission to read any part of the installation")]
    NothingReadable,
}

/// The answer of the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer<T> {
    /// The object, list or result.
    Found(T),
    /// It does not exist.
    Absent,
    /// The user lacks permission, with the message of the API server.
    Forbidden(String),
    /// There is no usable answer, with the reason.
    Failed(String),
}

impl<T> Answer<T> {
    pub(super) fn found(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Absent | Self::Forbidden(_) | Self::Failed(_) => None,
        }
    }

    /// The object; `None` if it does not exist; or a finding if this is unknown.
    pub(super) fn known(&self, subject: &str) -> Result<Option<&T>, Diagnosis> {
        match self {
            Self::Found(found) => Ok(Some(found)),
            Self::Absent => Ok(None),
            Self::Forbidden(message) => Err(not_permitted(subject, message)),
            Self::Failed(why) => Err(unanswered(subject, why)),
        }
    }
}

/// The finding for a missing permission of the user.
pub(super) fn not_permitted(subject: &str, message: &str) -> Diagnosis {
    let text = format!("not examined, because the current user lacks permission: {message}");
    Diagnosis::skipped(
        Id::NotPermitted,
        subject,
        text,
        format!("{} doctor --kubeconfig /path/to/admin.kubeconfig", invocation()),
    )
}

/// The finding for a request without a usable answer.
pub(super) fn unanswered(subject: &str, why: &str) -> Diagnosis {
    Diagnosis::failure(Id::Unanswered, subject, why, "kubectl get --raw '/readyz?verbose'")
}

/// A kind whose objects are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) kind: &'static str,
    pub(super) plural: &'static str,
}

impl Resource {
    fn api_resource(self) -> ApiResource {
        let identity = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&identity, self.plural)
    }
}

/// Where to look up objects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Scope<'a> {
    Cluster,
    Namespace(&'a str),
}

/// A client of the API server with a deadline for each request.
pub(super) struct Questions {
    client: Client,
    limit: Duration,
}

impl Questions {
    pub(super) fn new(client: Client, limit: Duration) -> Self {
        Self { client, limit }
    }

    /// The version of the API server. This is the first request, and shows whether the API server answers.
    pub(super) async fn version(&self) -> Result<Answer<Info>, NoCluster> {
        match timeout(self.limit, self.client.apiserver_version()).await {
            Err(_) => Err(NoCluster::Late(self.limit)),
            Ok(Ok(info)) => Ok(Answer::Found(info)),
            Ok(Err(Error::Api(status))) if status.code == 403 => Ok(Answer::Forbidden(status.message)),
            Ok(Err(error)) => Err(NoCluster::Unreachable(error.into())),
        }
    }

    pub(super) async fn get(&self, resource: Resource, scope: Scope<'_>, name: &str) -> Answer<Value> {
        let objects = self.objects(resource, scope);
        self.ask(async { value(objects.get(name).await?) }).await
    }

    pub(super) async fn list(
        &self,
        resource: Resource,
        scope: Scope<'_>,
        selector: &ListParams,
    ) -> Answer<Vec<Value>> {
        let objects = self.objects(resource, scope);
        self.ask(async { objects.list(selector).await?.items.into_iter().map(value).collect() }).await
    }

    /// Like [`Questions::list`], for a kind that many clusters do not have. A user who may not list it gets the same
    /// answer with and without the kind, so this asks for the group.
    pub(super) async fn list_of_others(
        &self,
        resource: Resource,
        scope: Scope<'_>,
        selector: &ListParams,
    ) -> Answer<Vec<Value>> {
        let answer = self.list(resource, scope, selector).await;
        if !matches!(answer, Answer::Forbidden(_)) {
            return answer;
        }
        let group = format!("{}/{}", resource.group, resource.version);
        match timeout(self.limit, self.client.list_api_group_resources(&group)).await {
            Ok(Err(Error::Api(status))) if status.code == 404 => Answer::Absent,
            _ => answer,
        }
    }

    /// Creates a review or, as a dry run, an object. `Err` is the denial of the API server.
    pub(super) async fn create(
        &self,
        resource: Resource,
        object: &DynamicObject,
        params: &PostParams,
    ) -> Answer<Result<Value, Box<Status>>> {
        let objects = self.objects(resource, Scope::Cluster);
        let create = async {
            match objects.create(params, object).await {
                Ok(created) => Ok(Ok(value(created)?)),
                Err(Error::Api(status)) => Ok(Err(status)),
                Err(error) => Err(error),
            }
        };
        self.ask(create).await
    }

    fn objects(&self, resource: Resource, scope: Scope<'_>) -> Api<DynamicObject> {
        match scope {
            Scope::Cluster => Api::all_with(self.client.clone(), &resource.api_resource()),
            Scope::Namespace(name) => {
                Api::namespaced_with(self.client.clone(), name, &resource.api_resource())
            }
        }
    }

    async fn ask<T>(&self, question: impl Future<Output = kube::Result<T>>) -> Answer<T> {
        match timeout(self.limit, question).await {
            Err(_) => Answer::Failed(format!("the API server did not answer within {:?}", self.limit)),
            Ok(Ok(found)) => Answer::Found(found),
            Ok(Err(Error::Api(status))) => match status.code {
                404 => Answer::Absent,
                403 => Answer::Forbidden(status.message),
                code => Answer::Failed(format!("the API server answered {code}: {}", status.message)),
            },
            Ok(Err(error)) => Answer::Failed(RequestError::from(error).to_string()),
        }
    }
}

fn value(object: DynamicObject) -> kube::Result<Value> {
    serde_json::to_value(object).map_err(Error::SerdeError)
}
