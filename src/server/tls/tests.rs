//! Tests how certificates are served, rejected and replaced.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rstest::rstest;
use tempfile::TempDir;
use time::OffsetDateTime;

use super::watch::Watch;
use super::*;

/// A self-signed certificate and its key, in PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

impl Pair {
    fn new() -> Self {
        Self::valid_until(OffsetDateTime::now_utc() + 30 * DAY)
    }

    fn valid_until(not_after: OffsetDateTime) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_before = OffsetDateTime::now_utc() - 60 * DAY;
        params.not_after = not_after;
        let certificate = params.self_signed(&key).unwrap().pem();
        Self { certificate, key: key.serialize_pem() }
    }

    fn expired() -> Self {
        Self::valid_until(OffsetDateTime::now_utc() - DAY)
    }

    fn material(&self) -> TlsMaterial {
        TlsMaterial {
            certificate: Pem::new("tls.crt", self.certificate.as_str()),
            key: Pem::new("tls.key", self.key.as_str()),
            client_ca: None,
        }
    }

    fn der(&self) -> Vec<u8> {
        certificates(Role::Certificate, &self.material().certificate).unwrap().remove(0).to_vec()
    }
}

fn served(pair: &Pair) -> Tls {
    Tls::new(pair.material(), Metrics::new()).unwrap()
}

fn error(material: TlsMaterial) -> String {
    Tls::new(material, Metrics::new()).unwrap_err().to_string()
}

#[test]
fn a_valid_pair_is_served_with_http_1_1_only() {
    let tls = served(&Pair::new());
    assert_eq!(tls.rustls().get_inner().alpn_protocols, [b"http/1.1"]);
    assert_eq!(tls.report().state, PartState::Ready);
}

#[test]
fn without_a_certificate_the_server_is_not_ready() {
    let tls = Tls::waiting(Metrics::new()).unwrap();
    assert_eq!(tls.report().state, PartState::NotReady("not created yet".to_owned()));
    tls.replace(Pair::new().material()).unwrap();
    assert_eq!(tls.report().state, PartState::Ready);
}

#[test]
fn a_file_without_pem_is_not_a_certificate() {
    let material = TlsMaterial { certificate: Pem::new("tls.crt", "hello"), ..Pair::new().material() };
    let expected = "the certificate tls.crt contains no such PEM block; \
                    it must begin with -----BEGIN CERTIFICATE----- (is it DER, or are the files swapped?)";
    assert_eq!(error(material), expected);
}

#[test]
fn swapped_files_are_reported() {
    let TlsMaterial { certificate, key, .. } = Pair::new().material();
    let material = TlsMaterial { certificate: key, key: certificate, client_ca: None };
    let message = error(material);
    assert!(message.starts_with("the certificate tls.key contains no such PEM block"), "{message}");
    assert!(message.contains("are the files swapped?"), "{message}");
}

#[test]
fn a_key_file_without_a_key_is_rejected() {
    let pair = Pair::new();
    let material = TlsMaterial { key: Pem::new("tls.key", pair.certificate.as_str()), ..pair.material() };
    let message = error(material);
    assert!(message.starts_with("the private key tls.key contains no such PEM block"), "{message}");
    assert!(message.contains("-----BEGIN PRIVATE KEY-----"), "{message}");
}

#[rstest]
#[case::pkcs8("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")]
#[case::older(
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"
)]
fn an_encrypted_key_is_rejected_with_how_to_decrypt_it(#[case] key: &str) {
    let material = TlsMaterial { key: Pem::new("tls.key", key), ..Pair::new().material() };
    let message = error(material);
    assert!(
        message.starts_with("the private key tls.key is encrypted; decrypt it (openssl pkey"),
        "{message}"
    );
}

#[test]
fn a_truncated_certificate_is_damaged() {
    let pair = Pair::new();
    let half = &pair.certificate[..pair.certificate.len() / 2];
    let material = TlsMaterial { certificate: Pem::new("tls.crt", half), ..pair.material() };
    let message = error(material);
    assert!(message.starts_with("the certificate tls.crt is damaged: missing section end"), "{message}");
}

#[test]
fn a_certificate_block_with_invalid_content_cannot_be_used() {
    let block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let material = TlsMaterial { certificate: Pem::new("tls.crt", block), ..Pair::new().material() };
    let message = error(material);
    assert!(message.starts_with("the certificate tls.crt cannot be used: "), "{message}");
}

#[test]
fn a_key_block_with_invalid_content_cannot_be_used() {
    let block = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    let material = TlsMaterial { key: Pem::new("tls.key", block), ..Pair::new().material() };
    let message = error(material);
    assert!(message.starts_with("the private key tls.key cannot be used: "), "{message}");
}

#[test]
fn the_key_of_another_certificate_is_rejected() {
    let material = TlsMaterial { key: Pair::new().material().key, ..Pair::new().material() };
    let expected = "the private key tls.key does not belong to the certificate tls.crt; \
                    use a matching pair";
    assert_eq!(error(material), expected);
}

#[test]
fn a_client_ca_must_contain_certificates() {
    let material = TlsMaterial {
        client_ca: Some(ClientCa { cas: Pem::new("clients.crt", ""), names: Vec::new() }),
        ..Pair::new().material()
    };
    let message = error(material);
    assert!(message.starts_with("the client CA clients.crt contains no such PEM block"), "{message}");
}

#[test]
fn metrics_show_when_the_certificate_and_the_client_ca_expire() {
    let metrics = Metrics::new();
    let client_ca = Pair::valid_until(OffsetDateTime::from_unix_timestamp(1_900_000_000).unwrap());
    let material = TlsMaterial {
        client_ca: Some(ClientCa { cas: Pem::new("clients.crt", client_ca.certificate), names: Vec::new() }),
        ..Pair::valid_until(OffsetDateTime::from_unix_timestamp(1_950_000_000).unwrap()).material()
    };
    Tls::new(material, metrics.clone()).unwrap();
    let text = metrics.text().unwrap();
    let name = "crm_admission_certificate_expiry_timestamp_seconds";
    assert!(text.contains(&format!("{name}{{certificate=\"serving\"}} 1950000000")), "{text}");
    assert!(text.contains(&format!("{name}{{certificate=\"client-ca\"}} 1900000000")), "{text}");
}

#[test]
fn an_expired_certificate_is_served_from_the_start_but_is_not_ready() {
    let tls = served(&Pair::expired());
    let PartState::NotReady(reason) = tls.report().state else {
        panic!("{:?}", tls.report());
    };
    assert!(reason.starts_with("expired at 20"), "{reason}");
}

#[test]
fn an_expired_certificate_does_not_replace_another() {
    let good = Pair::new();
    let tls = served(&good);
    let message = tls.replace(Pair::expired().material()).unwrap_err().to_string();
    assert!(message.starts_with("the certificate tls.crt is valid from 20"), "{message}");
    assert!(message.ends_with("and not now; renew it, or correct the clock"), "{message}");
    assert!(tls.serves(&good.material()));
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_not_ready() {
    let now = unix_now();
    let validity = Validity { not_before: now + 60, not_after: now + 120 };
    assert!(
        matches!(state_at(validity, now), PartState::NotReady(reason) if reason.starts_with("not valid before"))
    );
    assert_eq!(state_at(validity, now + 60), PartState::Ready);
    assert_eq!(state_at(validity, now + 120), PartState::Ready);
    assert!(matches!(state_at(validity, now + 121), PartState::NotReady(_)));
}

/// A directory like a mounted Secret: the files are symlinks through `..data`, which is replaced as a whole.
struct Mount {
    dir: TempDir,
    versions: usize,
}

impl Mount {
    fn new(pair: &Pair) -> Self {
        let mut mount = Self { dir: TempDir::new().unwrap(), versions: 0 };
        mount.swap(&pair.certificate, &pair.key);
        for name in ["tls.crt", "tls.key"] {
            std::os::unix::fs::symlink(Path::new("..data").join(name), mount.path(name)).unwrap();
        }
        mount
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn swap(&mut self, certificate: &str, key: &str) {
        self.versions += 1;
        let version = format!("..version-{}", self.versions);
        fs::create_dir(self.path(&version)).unwrap();
        fs::write(self.path(&version).join("tls.crt"), certificate).unwrap();
        fs::write(self.path(&version).join("tls.key"), key).unwrap();
        std::os::unix::fs::symlink(&version, self.path("..data_tmp")).unwrap();
        fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
    }

    fn files(&self) -> TlsFiles {
        let (certificate, key) = (self.path("tls.crt"), self.path("tls.key"));
        TlsFiles { certificate, key, client_ca: None }
    }

    async fn watch(&self, metrics: &Metrics) -> Watch {
        let tls = Tls::load(&self.files(), metrics.clone()).await.unwrap();
        Watch::new(Arc::new(tls), self.files())
    }
}

/// The certificate in use.
fn shown(watch: &Watch) -> Vec<u8> {
    let served = watch.tls().served.load();
    certificates(Role::Certificate, &served.as_ref().unwrap().material.certificate)
        .unwrap()
        .remove(0)
        .to_vec()
}

fn counted(metrics: &Metrics) -> (bool, bool) {
    let text = metrics.text().unwrap();
    let count =
        |name: &str, count| text.contains(&format!("crm_admission_certificate_{name}_total {count}\n"));
    (count("reloads", 1), count("reload_failures", 1))
}

/// Whether the metrics say that the files are invalid.
fn has_failed(metrics: &Metrics) -> bool {
    metrics.text().unwrap().contains("crm_admission_certificate_reload_failed 1\n")
}

#[tokio::test]
async fn a_replaced_mount_is_noticed() {
    let metrics = Metrics::new();
    let mut mount = Mount::new(&Pair::new());
    let mut watch = mount.watch(&metrics).await;
    let renewed = Pair::new();
    mount.swap(&renewed.certificate, &renewed.key);
    watch.look().await;
    assert_eq!(shown(&watch), renewed.der());
    assert_eq!(counted(&metrics), (true, false));
}

#[tokio::test]
async fn unchanged_files_are_not_loaded_again() {
    let metrics = Metrics::new();
    let pair = Pair::new();
    let mut mount = Mount::new(&pair);
    let mut watch = mount.watch(&metrics).await;
    mount.swap(&pair.certificate, &pair.key);
    watch.look().await;
    assert_eq!(counted(&metrics), (false, false));
}

#[tokio::test]
async fn an_invalid_pair_is_counted_once_and_the_last_valid_one_stays() {
    let metrics = Metrics::new();
    let good = Pair::new();
    let mut mount = Mount::new(&good);
    let mut watch = mount.watch(&metrics).await;
    mount.swap(&Pair::new().certificate, &Pair::new().key);
    for _ in 0..4 {
        watch.look().await;
    }
    assert_eq!(shown(&watch), good.der());
    assert_eq!(counted(&metrics), (false, true));
    assert!(has_failed(&metrics));
}

#[tokio::test]
async fn a_half_written_pair_is_not_a_failure() {
    let metrics = Metrics::new();
    let good = Pair::new();
    let mut mount = Mount::new(&good);
    let mut watch = mount.watch(&metrics).await;
    let renewed = Pair::new();
    mount.swap(&renewed.certificate, &good.key);
    watch.look().await;
    assert_eq!(shown(&watch), good.der());
    assert!(!has_failed(&metrics));
    mount.swap(&renewed.certificate, &renewed.key);
    watch.look().await;
    assert_eq!(shown(&watch), renewed.der());
    assert_eq!(counted(&metrics), (true, false));
}

#[tokio::test]
async fn a_valid_pair_after_an_invalid_one_is_served() {
    let metrics = Metrics::new();
    let mut mount = Mount::new(&Pair::new());
    let mut watch = mount.watch(&metrics).await;
    mount.swap("", "");
    watch.look().await;
    watch.look().await;
    let renewed = Pair::new();
    mount.swap(&renewed.certificate, &renewed.key);
    watch.look().await;
    assert_eq!(shown(&watch), renewed.der());
    assert_eq!(counted(&metrics), (true, true));
    assert!(!has_failed(&metrics));
}

#[tokio::test]
async fn each_new_invalid_pair_is_counted() {
    let metrics = Metrics::new();
    let mut mount = Mount::new(&Pair::new());
    let mut watch = mount.watch(&metrics).await;
    mount.swap("one", "one");
    watch.look().await;
    watch.look().await;
    mount.swap("two", "two");
    watch.look().await;
    let text = metrics.text().unwrap();
    assert!(text.contains("crm_admission_certificate_reload_failures_total 2\n"), "{text}");
}

#[tokio::test]
async fn a_file_that_disappears_is_counted_and_its_return_is_not_a_reload() {
    let metrics = Metrics::new();
    let good = Pair::new();
    let mount = Mount::new(&good);
    let mut watch = mount.watch(&metrics).await;
    fs::rename(mount.path("tls.key"), mount.path("away")).unwrap();
    watch.look().await;
    watch.look().await;
    assert!(has_failed(&metrics));
    fs::rename(mount.path("away"), mount.path("tls.key")).unwrap();
    watch.look().await;
    assert_eq!(shown(&watch), good.der());
    assert_eq!(counted(&metrics), (false, true));
    assert!(!has_failed(&metrics));
}

#[tokio::test]
async fn a_missing_file_is_named() {
    let dir = TempDir::new().unwrap();
    let mount = Mount::new(&Pair::new());
    let key = dir.path().join("tls.key");
    let files = TlsFiles { key: key.clone(), ..mount.files() };
    let message = files.read().await.err().unwrap().to_string();
    let expected = format!("the private key {} cannot be read: No such file", key.display());
    assert!(message.starts_with(&expected), "{message}");
    assert!(message.ends_with("; check the path"), "{message}");
}

#[tokio::test]
async fn a_directory_in_place_of_a_file_is_named() {
    let mount = Mount::new(&Pair::new());
    let files = TlsFiles { certificate: mount.dir.path().to_owned(), ..mount.files() };
    let message = files.read().await.err().unwrap().to_string();
    assert!(message.starts_with("the certificate /"), "{message}");
    assert!(message.ends_with("; give the path of the file in it"), "{message}");
}

#[test]
fn a_file_without_read_permission_is_reported_with_the_fix() {
    let source = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
    let error = TlsError::Unreadable { role: Role::Key, origin: "tls.key".into(), source };
    let expected = "the private key tls.key cannot be read: permission denied; \
                    let this user read it (in a Pod: the volume's defaultMode and fsGroup)";
    assert_eq!(error.to_string(), expected);
}
