//! The directory of objects that are known in advance. All other objects are missing, and everyone may list everything.

use std::time::Duration;

use crm_core::api::Target;
use crm_core::existence::{Objects, Presence};
use crm_core::links::{Dependents, Tally};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use k8s_openapi::api::authentication::v1::UserInfo;

use super::{CountDependents, Found, LookUp, LookupError, PartStatus};

impl LookUp for Objects {
    fn recall(&self, target: &Target) -> Option<Presence> {
        self.presence(target)
    }

    fn confirm<'a>(
        &'a self,
        target: &'a Target,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<Presence, LookupError>> {
        ready(Ok(self.presence(target).unwrap_or(Presence::Missing))).boxed()
    }

    fn identify<'a>(
        &'a self,
        target: &'a Target,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<Found, LookupError>> {
        let presence = self.presence(target).unwrap_or(Presence::Missing);
        let uid = self.uid(target).map(str::to_owned);
        let answer = match (presence, &uid) {
            (Presence::Exists, None) => Err(LookupError::NoUid),
            _ => Ok(Found { presence, uid }),
        };
        ready(answer).boxed()
    }

    fn suggest<'a>(
        &'a self,
        target: &'a Target,
        _user: &'a UserInfo,
        _limit: Duration,
    ) -> BoxFuture<'a, Option<String>> {
        ready(self.nearest(target)).boxed()
    }

    fn status(&self) -> Vec<PartStatus> {
        let part =
            |(kind, objects)| PartStatus { kind, objects, not_ready: None, required: false, restarts: 0 };
        self.kinds().into_iter().map(part).collect()
    }
}

impl CountDependents for Objects {
    fn dependents<'a>(
        &'a self,
        question: &'a Dependents,
        _user: &'a UserInfo,
        _limit: Duration,
    ) -> BoxFuture<'a, Result<Tally, LookupError>> {
        ready(Ok(Objects::dependents(self, question))).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crm_core::api::ResourceKind;
    use serde_json::json;

    use super::*;

    fn company(name: &str) -> Target {
        Target {
            kind: Arc::new(ResourceKind::crm("Company", "companies")),
            namespace: None,
            name: name.into(),
        }
    }

    #[tokio::test]
    async fn everyone_gets_answers_and_suggestions() {
        let acme = json!({"apiVersion": "crm.milo.io/v1alpha1", "kind": "Company", "metadata": {"name": "acme-corp"}});
        let objects = Objects::new([&acme]);
        let (limit, nobody) = (Duration::from_secs(1), UserInfo::default());
        assert_eq!(objects.confirm(&company("acme-corp"), limit).await.unwrap(), Presence::Exists);
        assert_eq!(objects.confirm(&company("acme-crop"), limit).await.unwrap(), Presence::Missing);
        let suggested = objects.suggest(&company("acme-crop"), &nobody, limit).await;
        assert_eq!(suggested.as_deref(), Some("acme-corp"));
    }
}
