//! Tests of replicas in a simulated cluster with resource versions.

use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::advance;

use super::*;
use crate::pki::{Authority, Validity};

const SECRET: &str = "/api/v1/namespaces/crm/secrets/crm-admission-tls";
const CONFIGURATIONS: [&str; 2] = [
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/crm-admission",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/crm-admission",
];

/// The stored objects, by path.
#[derive(Clone, Default)]
struct Cluster {
    objects: Arc<Mutex<std::collections::HashMap<String, Value>>>,
    version: Arc<std::sync::atomic::AtomicU64>,
}

impl Cluster {
    /// A cluster with both configurations, as shipped.
    fn with_configurations() -> Self {
        let cluster = Self::default();
        let hook = json!({
            "name": "mutate.crm.milo.io",
            "clientConfig": {"service": {"name": "crm-admission", "namespace": "crm", "path": "/"}},
        });
        for path in CONFIGURATIONS {
            cluster.put(path, json!({"metadata": {"name": "crm-admission"}, "webhooks": [hook]}));
        }
        cluster
    }

    fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned()
    }

    fn put(&self, path: &str, mut object: Value) -> Value {
        let version = self.version.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.insert(path.to_owned(), object.clone());
        object
    }

    fn answer(&self, method: &Method, path: &str, body: &Value) -> Result<Value, StatusCode> {
        let stored = self.get(path);
        match *method {
            Method::GET => stored.ok_or(StatusCode::NOT_FOUND),
            Method::POST => match self.get(SECRET) {
                Some(_) => Err(StatusCode::CONFLICT),
                None => Ok(self.put(SECRET, body.clone())),
            },
            Method::PUT => match stored.ok_or(StatusCode::NOT_FOUND)? {
                stored if stored["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"] => {
                    Err(StatusCode::CONFLICT)
                }
                _ => Ok(self.put(path, body.clone())),
            },
            Method::PATCH => {
                let mut object = stored.ok_or(StatusCode::NOT_FOUND)?;
                let patch: json_patch::Patch = serde_json::from_value(body.clone()).unwrap();
                json_patch::patch(&mut object, &patch).map_err(|_| StatusCode::UNPROCESSABLE_ENTITY)?;
                Ok(self.put(path, object))
            }
            _ => Err(StatusCode::METHOD_NOT_ALLOWED),
        }
    }

    /// A client of the cluster. Each call waits for `before` before it is answered.
    fn client(
        &self,
        before: impl Fn(Method) -> BoxFuture<'static, Option<StatusCode>> + Clone + Send + 'static,
    ) -> Client {
        let cluster = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (cluster, before) = (cluster.clone(), before.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice(&body).unwrap_or_default();
                let answer = match before(head.method.clone()).await {
                    Some(status) => Err(status),
                    None => cluster.answer(&head.method, head.uri.path(), &body),
                };
                let (status, body) = match answer {
                    Ok(object) => (StatusCode::OK, object),
                    Err(status) => (
                        status,
                        json!({"status": "Failure", "message": "no", "reason": reason(status), "code": status.as_u16()}),
                    ),
                };
                let response =
                    Response::builder().status(status).body(Body::from(body.to_string().into_bytes()));
                Ok::<_, std::convert::Infallible>(response.unwrap())
            }
        });
        Client::new(service, "crm")
    }

    /// A replica without interference.
    fn replica(&self) -> Keeper<Served> {
        keeper(&self.client(|_| Box::pin(async { None })))
    }

    fn cas(&self) -> Vec<CertificateDer<'static>> {
        let secret = self.get(SECRET).unwrap();
        certificates(&STANDARD.decode(secret["data"]["ca.crt"].as_str().unwrap()).unwrap())
    }

    fn bundle(&self, path: &str) -> Vec<CertificateDer<'static>> {
        let object = self.get(path).unwrap();
        let text = object["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap_or_default().to_owned();
        certificates(&STANDARD.decode(text).unwrap())
    }

    /// Writes this to the existing Secret.
    fn store(&self, contents: &Contents) {
        let mut secret = self.get(SECRET).unwrap();
        secret["data"] = json!({
            "tls.crt": STANDARD.encode(&contents.certificate),
            "tls.key": STANDARD.encode(&contents.key),
            "ca.crt": STANDARD.encode(&contents.cas),
            "ca.key": STANDARD.encode(&contents.ca_key),
        });
        self.put(SECRET, secret);
    }

    fn lose_secret(&self) -> Option<Value> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner).remove(SECRET)
    }
}

/// kube recognizes a missing object by the reason.
fn reason(status: StatusCode) -> &'static str {
    if status == StatusCode::NOT_FOUND { "NotFound" } else { "" }
}

/// The certificate that a replica serves.
#[derive(Clone, Default)]
struct Served(Arc<Mutex<Vec<u8>>>);

impl Serve for Served {
    async fn serve(&self, identity: &Identity) -> Result<(), String> {
        *self.0.lock().unwrap() = identity.certificate.clone();
        Ok(())
    }
}

fn keeper(client: &Client) -> Keeper<Served> {
    keeper_for(client, &[])
}

fn keeper_for(client: &Client, further: &[&str]) -> Keeper<Served> {
    let settings = Settings {
        namespace: "crm".to_owned(),
        secret: "crm-admission-tls".to_owned(),
        service: "crm-admission".to_owned(),
        further: further.iter().map(|name| (*name).to_owned()).collect(),
    };
    Keeper::new(client, &settings, Served::default(), Metrics::new())
}

fn shown(keeper: &Keeper<Served>) -> Vec<CertificateDer<'static>> {
    certificates(&keeper.serve.0.lock().unwrap())
}

/// Whether all callers accept what the replica serves.
#[track_caller]
fn assert_accepted(cluster: &Cluster, keeper: &Keeper<Served>) {
    for path in CONFIGURATIONS {
        let bundle = cluster.bundle(path);
        pki::verify(&shown(keeper), &bundle, "crm-admission.crm.svc", unix_now()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_ca_is_published_and_settles_before_its_certificate_is_served() {
    let cluster = Cluster::with_configurations();
    let mut replica = cluster.replica();
    replica.turn().await.unwrap();
    assert_eq!(replica.state()(), State::Fine);
    let before = shown(&replica);
    cluster.lose_secret();
    replica.turn().await.unwrap();
    assert_eq!(cluster.bundle(CONFIGURATIONS[1]), cluster.cas());
    assert_eq!(shown(&replica), before, "not every API server knows the new CA yet");
    advance(SETTLING - Duration::from_millis(1)).await;
    replica.turn().await.unwrap();
    assert_eq!(shown(&replica), before);
    advance(Duration::from_millis(1)).await;
    replica.turn().await.unwrap();
    assert_ne!(shown(&replica), before);
    assert_accepted(&cluster, &replica);
}

#[tokio::test(start_paused = true)]
async fn a_new_replica_waits_until_a_new_ca_has_settled() {
    let cluster = Cluster::with_configurations();
    let mut first = cluster.replica();
    first.turn().await.unwrap();
    assert_eq!(first.state()(), State::Fine, "nobody trusted another CA before");
    cluster.lose_secret();
    first.turn().await.unwrap();
    let mut started = cluster.replica();
    started.turn().await.unwrap();
    assert_eq!(shown(&started), []);
    let State::NotReady(why) = started.state()() else { panic!("{:?}", started.state()()) };
    assert!(why.contains("created a moment ago"), "{why}");
    assert_accepted(&cluster, &first);
    advance(SETTLING).await;
    started.turn().await.unwrap();
    assert_eq!(started.state()(), State::Fine);
    assert_accepted(&cluster, &started);
}

#[tokio::test(start_paused = true)]
async fn a_new_replica_does_not_wait_while_an_older_ca_is_trusted_too() {
    let cluster = Cluster::with_configurations();
    cluster.replica().turn().await.unwrap();
    let live = cluster.cas();
    let names = ["crm-admission.crm.svc".to_owned()];
    let now = unix_now() - 120;
    let situation = Situation { names: &names, live: &live, current_ca: CurrentCa::NotYet, now };
    let made = renewal::due(None, &situation).unwrap().unwrap().contents;
    cluster.store(&made);
    let mut started = cluster.replica();
    started.turn().await.unwrap();
    assert_eq!(cluster.bundle(CONFIGURATIONS[0]).len(), 2);
    assert_accepted(&cluster, &started);
}

#[tokio::test(start_paused = true)]
async fn a_bundle_that_the_api_server_cannot_parse_is_not_trusted() {
    let cluster = Cluster::with_configurations();
    cluster.replica().turn().await.unwrap();
    let block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let mut object = cluster.get(CONFIGURATIONS[0]).unwrap();
    let text = pki::write(&cluster.cas()) + block;
    object["webhooks"][0]["clientConfig"]["caBundle"] = STANDARD.encode(text).into();
    cluster.put(CONFIGURATIONS[0], object);
    let reads_only = cluster
        .client(|method| Box::pin(async move { (method != Method::GET).then_some(StatusCode::FORBIDDEN) }));
    let mut replica = keeper(&reads_only);
    replica.turn().await.unwrap_err();
    let State::NotReady(why) = replica.state()() else { panic!("{:?}", replica.state()()) };
    assert!(why.contains("none of it is trusted"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_replica_does_not_remove_a_new_ca() {
    let cluster = Cluster::with_configurations();
    let faster = Arc::new(tokio::sync::Mutex::new(cluster.replica()));
    faster.lock().await.turn().await.unwrap();
    // The slow replica sees an empty bundle to fill in; before its patch arrives, another replica creates and publishes
    // a new CA.
    let mut object = cluster.get(CONFIGURATIONS[0]).unwrap();
    object["webhooks"][0]["clientConfig"].as_object_mut().unwrap().remove("caBundle");
    cluster.put(CONFIGURATIONS[0], object);
    let new = Arc::new(Mutex::new(None));
    let (world, other, seen) = (cluster.clone(), Arc::clone(&faster), Arc::clone(&new));
    let mut late = keeper(&cluster.client(move |method| {
        let (world, other, seen) = (world.clone(), Arc::clone(&other), Arc::clone(&seen));
        Box::pin(async move {
            let known: Option<CertificateDer<'static>> = seen.lock().unwrap().clone();
            match known {
                Some(new) => {
                    assert!(world.bundle(CONFIGURATIONS[0]).contains(&new), "the new CA was removed")
                }
                None if method == Method::PATCH => {
                    world.lose_secret();
                    other.lock().await.turn().await.unwrap();
                    *seen.lock().unwrap() = Some(world.cas().remove(0));
                }
                None => {}
            }
            None
        })
    }));
    late.turn().await.unwrap();
    advance(SETTLING).await;
    late.turn().await.unwrap();
    let new = new.lock().unwrap().take().unwrap();
    for path in CONFIGURATIONS {
        assert!(cluster.bundle(path).contains(&new));
    }
    assert_accepted(&cluster, &late);
    assert_accepted(&cluster, &*faster.lock().await);
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_that_create_a_secret_the_slower_one_uses_the_secret_of_the_faster() {
    let cluster = Cluster::default();
    let (world, once) = (cluster.clone(), Arc::new(Mutex::new(Some(()))));
    let mut slower = keeper(&cluster.client(move |method| {
        let (world, once) = (world.clone(), Arc::clone(&once));
        Box::pin(async move {
            let first = method == Method::POST && once.lock().unwrap().take().is_some();
            if first {
                world.replica().turn().await.unwrap();
            }
            None
        })
    }));
    slower.turn().await.unwrap();
    assert_eq!(cluster.cas().len(), 1);
    let secret = cluster.get(SECRET).unwrap();
    let stored = STANDARD.decode(secret["data"]["tls.crt"].as_str().unwrap()).unwrap();
    assert_eq!(shown(&slower), certificates(&stored));
}

#[tokio::test(start_paused = true)]
async fn a_restored_older_secret_is_served_and_stays_trusted() {
    let cluster = Cluster::with_configurations();
    let mut replica = cluster.replica();
    replica.turn().await.unwrap();
    let old = cluster.get(SECRET).unwrap();
    cluster.lose_secret();
    replica.turn().await.unwrap();
    advance(SETTLING).await;
    replica.turn().await.unwrap();
    let newer = shown(&replica);
    // A restored backup: its bundle does not have the CA of the served certificate.
    cluster.put(SECRET, old);
    replica.turn().await.unwrap();
    assert_eq!(shown(&replica), newer);
    assert_accepted(&cluster, &replica);
    assert_eq!(cluster.bundle(CONFIGURATIONS[0]).len(), 2);
    advance(SETTLING).await;
    replica.turn().await.unwrap();
    assert_ne!(shown(&replica), newer);
    assert_accepted(&cluster, &replica);
    // Other CAs are removed when nobody can serve their certificates any more.
    advance(SURPLUS).await;
    replica.turn().await.unwrap();
    assert_eq!(cluster.bundle(CONFIGURATIONS[0]), cluster.cas());
    assert_eq!(cluster.cas().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn invalid_certificates_in_a_bundle_are_removed_at_once() {
    let cluster = Cluster::with_configurations();
    let mut replica = cluster.replica();
    replica.turn().await.unwrap();
    let mut object = cluster.get(CONFIGURATIONS[0]).unwrap();
    object["webhooks"][0]["clientConfig"]["caBundle"] = STANDARD.encode("hello").into();
    cluster.put(CONFIGURATIONS[0], object);
    replica.turn().await.unwrap();
    assert_accepted(&cluster, &replica);
    assert_eq!(cluster.bundle(CONFIGURATIONS[0]), cluster.cas());
}

#[tokio::test(start_paused = true)]
async fn a_turn_with_nothing_due_only_reads() {
    let cluster = Cluster::with_configurations();
    cluster.replica().turn().await.unwrap();
    let reads = |method: Method| -> BoxFuture<'static, Option<StatusCode>> {
        Box::pin(async move {
            assert_eq!(method, Method::GET);
            None
        })
    };
    keeper(&cluster.client(reads)).turn().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_replica_without_write_permission_serves_a_valid_certificate_and_names_the_permission() {
    let cluster = Cluster::with_configurations();
    cluster.replica().turn().await.unwrap();
    let reads_only = cluster
        .client(|method| Box::pin(async move { (method != Method::GET).then_some(StatusCode::FORBIDDEN) }));
    // The Secret must be renewed for another name; then a bundle gets another CA.
    let mut replica = keeper_for(&reads_only, &["webhook.example.com"]);
    let error = replica.turn().await.unwrap_err().to_string();
    assert!(error.starts_with("no permission to update Secret crm/crm-admission-tls"), "{error}");
    assert_accepted(&cluster, &replica);
    replica.fails(&error);
    assert_eq!(replica.state()(), State::Impaired(error));
    let mut object = cluster.get(CONFIGURATIONS[0]).unwrap();
    let text = pki::write(&cluster.cas()) + "hello";
    object["webhooks"][0]["clientConfig"]["caBundle"] = STANDARD.encode(text).into();
    cluster.put(CONFIGURATIONS[0], object);
    let mut replica = keeper(&reads_only);
    let error = replica.turn().await.unwrap_err().to_string();
    assert!(
        error.starts_with("no permission to patch MutatingWebhookConfiguration crm-admission"),
        "{error}"
    );
    assert_accepted(&cluster, &replica);
    // A failure to update does not replace a working certificate.
    let good = shown(&replica);
    let mut secret = cluster.get(SECRET).unwrap();
    secret["data"]["tls.crt"] = STANDARD.encode("hello").into();
    cluster.put(SECRET, secret);
    replica.turn().await.unwrap_err();
    assert_eq!(shown(&replica), good);
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_never_worked_is_not_ready_and_one_that_did_continues() {
    let cluster = Cluster::with_configurations();
    let down = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let seen = Arc::clone(&down);
    let mut replica = keeper(&cluster.client(move |_| {
        let down = seen.load(std::sync::atomic::Ordering::Relaxed);
        Box::pin(async move { down.then_some(StatusCode::FORBIDDEN) })
    }));
    let error = replica.turn().await.unwrap_err().to_string();
    let expected = "no permission to get MutatingWebhookConfiguration crm-admission: no; the ClusterRole and the \
                    ClusterRoleBinding crm-admission-certificates grant it to the webhook";
    assert_eq!(error, expected);
    replica.fails(&error);
    assert_eq!(replica.state()(), State::NotReady(error.clone()));
    down.store(false, std::sync::atomic::Ordering::Relaxed);
    replica.turn().await.unwrap();
    replica.fails(&error);
    assert_eq!(replica.state()(), State::Impaired(error));
}

#[tokio::test(start_paused = true)]
async fn a_replica_whose_certificate_has_the_wrong_name_is_not_ready() {
    let cluster = Cluster::with_configurations();
    let mut object = cluster.get(CONFIGURATIONS[1]).unwrap();
    object["webhooks"][0]["clientConfig"] = json!({"url": "https://webhook.example.com:9443/validate"});
    cluster.put(CONFIGURATIONS[1], object);
    let mut replica = cluster.replica();
    replica.turn().await.unwrap();
    let State::NotReady(why) = replica.state()() else { panic!("{:?}", replica.state()()) };
    let start =
        "mutate.crm.milo.io of ValidatingWebhookConfiguration would not accept it for webhook.example.com: ";
    assert!(why.starts_with(start) && why.contains("not valid for name"), "{why}");
}

#[tokio::test(start_paused = true)]
async fn replicas_with_different_clocks_do_not_keep_replacing_each_others_ca() {
    let cluster = Cluster::default();
    let mut replica = cluster.replica();
    replica.turn().await.unwrap();
    let ahead = |cluster: &Cluster| {
        let names = ["crm-admission.crm.svc".to_owned()];
        let now = unix_now() + 10 * 365 * 24 * 60 * 60;
        let situation = Situation { names: &names, live: &[], current_ca: CurrentCa::Trusted, now };
        let contents = renewal::due(None, &situation).unwrap().unwrap().contents;
        cluster.store(&contents);
    };
    ahead(&cluster);
    let error = replica.turn().await.unwrap_err().to_string();
    assert_eq!(
        error,
        "the CA is not valid yet, although it was created a moment ago; do the clocks of the replicas agree?"
    );
    advance(LEFT_ALONE).await;
    replica.turn().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_somebody_else_is_left_unchanged_and_the_replica_is_not_ready() {
    let cluster = Cluster::with_configurations();
    let validity = Validity::from_now(unix_now(), pki::DAY);
    let authority = Authority::create("Acme CA", validity).unwrap();
    let Identity { certificate, key } =
        authority.issue("acme", &["acme.example".to_owned()], validity).unwrap();
    let secret = json!({
        "metadata": {"name": "crm-admission-tls"},
        "data": {"tls.crt": STANDARD.encode(&certificate), "tls.key": STANDARD.encode(&key)},
    });
    let before = cluster.put(SECRET, secret);
    let mut replica = cluster.replica();
    let error = replica.turn().await.unwrap_err().to_string();
    assert_eq!(cluster.get(SECRET), Some(before));
    assert!(shown(&replica).is_empty() && cluster.bundle(CONFIGURATIONS[0]).is_empty());
    let expected = "Secret crm/crm-admission-tls was left unchanged: it has a certificate that CN=Acme CA issued, not \
                    crm-admission; to use this certificate, serve with --tls-cert and --tls-key";
    assert!(error.starts_with(expected), "{error}");
    replica.fails(&error);
    assert_eq!(replica.state()(), State::NotReady(error));
}

#[tokio::test(start_paused = true)]
async fn a_replica_with_a_certificate_continues_if_somebody_takes_its_secret_over() {
    let cluster = Cluster::with_configurations();
    let mut replica = cluster.replica();
    replica.turn().await.unwrap();
    let served = shown(&replica);
    let mut secret = cluster.get(SECRET).unwrap();
    secret["metadata"]["annotations"] = json!({"cert-manager.io/certificate-name": "webhook"});
    let taken = cluster.put(SECRET, secret);
    let error = replica.turn().await.unwrap_err().to_string();
    assert!(error.contains("cert-manager manages it for the Certificate webhook"), "{error}");
    replica.fails(&error);
    assert_eq!(replica.state()(), State::Impaired(error));
    assert_eq!((shown(&replica), cluster.get(SECRET)), (served, Some(taken)));
}

#[tokio::test(start_paused = true)]
async fn an_empty_secret_is_filled_and_one_without_its_label_is_labelled() {
    let cluster = Cluster::with_configurations();
    cluster.put(
        SECRET,
        json!({"metadata": {"name": "crm-admission-tls"}, "data": {"tls.crt": "", "tls.key": ""}}),
    );
    let mut replica = cluster.replica();
    replica.turn().await.unwrap();
    assert_accepted(&cluster, &replica);
    let filled = cluster.get(SECRET).unwrap();
    let mut unlabelled = filled.clone();
    unlabelled["metadata"]["labels"] = json!({});
    cluster.put(SECRET, unlabelled);
    replica.turn().await.unwrap();
    let labelled = cluster.get(SECRET).unwrap();
    assert_eq!(labelled["metadata"]["labels"]["app.kubernetes.io/managed-by"], "crm-admission");
    assert_eq!(labelled["data"], filled["data"]);
}
