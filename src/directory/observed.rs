//! A directory that reports the outcome of every question.

use std::time::Duration;

use crm_core::api::{ResourceKind, Target};
use crm_core::existence::Presence;
use crm_core::links::{Dependents, Tally};
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::authentication::v1::UserInfo;

use super::{CountDependents, Found, LookUp, LookupError, PartStatus};

/// The outcome of a question about an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The local copy has the object.
    Cached,
    /// The API server has it.
    Found,
    /// The API server has it, and it is being deleted.
    Terminating,
    /// There is no such object.
    Missing,
    /// The request to the API server failed.
    Failed,
    /// The API server did not answer in time.
    Late,
    /// Too many such questions were in progress.
    Busy,
}

impl Outcome {
    /// The outcome as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Found => "found",
            Self::Terminating => "terminating",
            Self::Missing => "missing",
            Self::Failed => "failed",
            Self::Late => "late",
            Self::Busy => "busy",
        }
    }
}

impl From<Presence> for Outcome {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Exists => Self::Found,
            Presence::Terminating => Self::Terminating,
            Presence::Missing => Self::Missing,
        }
    }
}

impl From<&Result<Presence, LookupError>> for Outcome {
    fn from(answer: &Result<Presence, LookupError>) -> Self {
        match answer {
            Ok(presence) => (*presence).into(),
            Err(error) => error.into(),
        }
    }
}

impl From<&Result<Found, LookupError>> for Outcome {
    fn from(answer: &Result<Found, LookupError>) -> Self {
        match answer {
            Ok(found) => found.presence.into(),
            Err(error) => error.into(),
        }
    }
}

impl From<&Result<Tally, LookupError>> for Outcome {
    fn from(answer: &Result<Tally, LookupError>) -> Self {
        match answer {
            Ok(tally) if tally.count.is_none() && tally.owned.is_none() => Self::Missing,
            Ok(_) => Self::Found,
            Err(error) => error.into(),
        }
    }
}

impl From<&LookupError> for Outcome {
    fn from(error: &LookupError) -> Self {
        match error {
            LookupError::Failed(_) | LookupError::TooLarge(_) | LookupError::NoUid => Self::Failed,
            LookupError::Late(_) => Self::Late,
            LookupError::Busy => Self::Busy,
        }
    }
}

/// Receives the outcome of every question.
pub trait Observer: Send + Sync + 'static {
    /// Reports the outcome of a question about an object of `kind`. A question that the local copy cannot answer is
    /// reported when the API server has been asked. Questions that share a call are reported separately. A question
    /// about dependents is reported with the kind of the dependents.
    fn looked_up(&self, kind: &ResourceKind, outcome: Outcome);
}

/// A directory that reports every outcome to an observer.
pub struct Observed<D, O> {
    directory: D,
    observer: O,
}

impl<D, O> Observed<D, O> {
    /// `directory`, observed by `observer`.
    pub fn new(directory: D, observer: O) -> Self {
        Self { directory, observer }
    }
}

impl<D: LookUp, O: Observer> LookUp for Observed<D, O> {
    fn recall(&self, target: &Target) -> Option<Presence> {
        let known = self.directory.recall(target)?;
        self.observer.looked_up(&target.kind, Outcome::Cached);
        Some(known)
    }

    fn confirm<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Presence, LookupError>> {
        let answer = self.directory.confirm(target, limit);
        answer.inspect(|answer| self.observer.looked_up(&target.kind, answer.into())).boxed()
    }

    fn identify<'a>(
        &'a self,
        target: &'a Target,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Found, LookupError>> {
        let answer = self.directory.identify(target, limit);
        answer.inspect(|answer| self.observer.looked_up(&target.kind, answer.into())).boxed()
    }

    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Option<String>> {
        self.directory.suggest(target, user, limit)
    }

    fn status(&self) -> Vec<PartStatus> {
        self.directory.status()
    }
}

impl<D: CountDependents, O: Observer> CountDependents for Observed<D, O> {
    fn dependents<'a>(
        &'a self,
        question: &'a Dependents,
        user: &'a UserInfo,
        limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>> {
        let answer = self.directory.dependents(question, user, limit);
        answer.inspect(|answer| self.observer.looked_up(&question.kind.resource(), answer.into())).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::cluster::ReadError;
    use crm_core::existence::Objects;

    #[derive(Default)]
    struct Log(Mutex<Vec<(String, &'static str)>>);

    impl Observer for Arc<Log> {
        fn looked_up(&self, kind: &ResourceKind, outcome: Outcome) {
            self.0.lock().unwrap().push((kind.kind.clone(), outcome.as_str()));
        }
    }

    /// A directory that knows nothing and fails in the way that the name says.
    struct Failing;

    impl LookUp for Failing {
        fn recall(&self, _target: &Target) -> Option<Presence> {
            None
        }

        fn confirm<'a>(
            &'a self,
            target: &'a Target,
            limit: Duration,
        ) -> BoxFuture<'a, Result<Presence, LookupError>> {
            let answer = match target.name.as_str() {
                "terminating" => Ok(Presence::Terminating),
                "late" => Err(LookupError::Late(limit)),
                "large" => Err(LookupError::TooLarge(Arc::new(ReadError::TooLarge))),
                "busy" => Err(LookupError::Busy),
                _ => Err(LookupError::Failed(Arc::new(std::fmt::Error))),
            };
            futures::future::ready(answer).boxed()
        }

        fn identify<'a>(
            &'a self,
            _target: &'a Target,
            limit: Duration,
        ) -> BoxFuture<'a, Result<Found, LookupError>> {
            futures::future::ready(Err(LookupError::Late(limit))).boxed()
        }

        fn suggest<'a>(
            &'a self,
            _target: &'a Target,
            _user: &'a UserInfo,
            _limit: Duration,
        ) -> BoxFuture<'a, Option<String>> {
            futures::future::ready(None).boxed()
        }

        fn status(&self) -> Vec<PartStatus> {
            Vec::new()
        }
    }

    impl CountDependents for Failing {
        fn dependents<'a>(
            &'a self,
            _question: &'a Dependents,
            _user: &'a UserInfo,
            limit: Duration,
        ) -> BoxFuture<'a, Result<Tally, LookupError>> {
            futures::future::ready(Err(LookupError::Late(limit))).boxed()
        }
    }

    fn company(name: &str) -> Target {
        Target {
            kind: Arc::new(ResourceKind::crm("Company", "companies")),
            namespace: None,
            name: name.into(),
        }
    }

    async fn ask(directory: impl LookUp, names: &[&str]) -> Vec<&'static str> {
        let log = Arc::new(Log::default());
        let directory = Observed::new(directory, log.clone());
        for name in names {
            if directory.recall(&company(name)).is_none() {
                let _ = directory.confirm(&company(name), Duration::from_secs(1)).await;
            }
        }
        let log = log.0.lock().unwrap();
        assert!(log.iter().all(|(kind, _)| kind == "Company"));
        log.iter().map(|(_, outcome)| *outcome).collect()
    }

    #[tokio::test]
    async fn every_question_is_reported_once() {
        let mut memory = Objects::default();
        memory.add("crm.milo.io", "Company", None, "acme", Presence::Exists);
        assert_eq!(ask(memory, &["acme", "globex"]).await, ["cached", "missing"]);
        let names = ["terminating", "late", "busy", "large", "reset"];
        assert_eq!(ask(Failing, &names).await, ["terminating", "late", "busy", "failed", "failed"]);
    }

    #[tokio::test]
    async fn a_question_about_dependents_is_reported_with_their_kind() {
        let memory = Objects::new(&[serde_json::json!({
            "apiVersion": "crm.milo.io/v1alpha1", "kind": "Person", "metadata": {"name": "ada"},
            "spec": {"companyRef": {"name": "acme"}},
        })]);
        let log = Arc::new(Log::default());
        let nobody = UserInfo::default();
        let found = Observed::new(memory, log.clone());
        for question in Dependents::of(crm_core::api::CrmKind::Company, "acme") {
            found.dependents(&question, &nobody, Duration::from_secs(1)).await.unwrap();
        }
        let failing = Observed::new(Failing, log.clone());
        let question = Dependents::of(crm_core::api::CrmKind::Person, "ada").remove(0);
        failing.dependents(&question, &nobody, Duration::from_secs(1)).await.unwrap_err();
        let expected =
            [("Person", "found"), ("Note", "missing"), ("ClusterNote", "missing"), ("Note", "late")];
        assert_eq!(
            log.0.lock().unwrap().as_slice(),
            expected.map(|(kind, outcome)| (kind.to_owned(), outcome))
        );
    }

    #[tokio::test]
    async fn a_live_answer_is_reported_even_if_the_local_copy_has_the_object() {
        let mut memory = Objects::default();
        memory.add("crm.milo.io", "Company", None, "acme", Presence::Exists);
        let log = Arc::new(Log::default());
        let directory = Observed::new(Arc::new(memory), log.clone());
        directory.confirm(&company("acme"), Duration::from_secs(1)).await.unwrap();
        assert_eq!(log.0.lock().unwrap().as_slice(), [("Company".to_owned(), "found")]);
    }
}
