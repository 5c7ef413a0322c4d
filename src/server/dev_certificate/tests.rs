//! Tests when development certificates are created, kept and not overwritten.

use std::collections::BTreeMap;

use rcgen::{CertificateParams, KeyPair};
use rstest::rstest;
use tempfile::TempDir;

use super::*;

const FILES: [&str; 3] = ["ca.crt", "tls.crt", "tls.key"];

/// A directory on which `ensure` ran once.
fn made() -> TempDir {
    let dir = TempDir::new().unwrap();
    assert_eq!(ensure(dir.path()).unwrap().outcome, Outcome::Made);
    dir
}

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Creates the files as they are when so many seconds of their lifetime are left.
fn make_ending_in(dir: &Path, seconds: i64) {
    make(&Paths::of(dir), seconds).unwrap();
}

/// A certificate and key of another origin.
fn foreign() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

#[track_caller]
fn assert_left_alone(dir: &Path, foreign: &str) {
    let before = contents(dir);
    let error = ensure(dir).unwrap_err().to_string();
    let expected =
        format!("{} was not created by crm-admission and is not overwritten", dir.join(foreign).display());
    assert!(error.starts_with(&expected), "{error}");
    assert_eq!(contents(dir), before);
}

#[test]
fn three_files_are_created_that_only_their_owner_can_read() {
    let parent = TempDir::new().unwrap();
    let dir = parent.path().join("new/certs");
    let certificate = ensure(&dir).unwrap();
    assert_eq!(certificate.outcome, Outcome::Made);
    assert_eq!(contents(&dir).into_keys().collect::<Vec<_>>(), FILES);
    for path in [&certificate.ca, &certificate.certificate, &certificate.key] {
        assert_eq!(mode(path), 0o600, "{}", path.display());
    }
    assert_eq!(mode(&dir), 0o700);
}

#[test]
fn an_existing_directory_keeps_its_mode() {
    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    ensure(dir.path()).unwrap();
    assert_eq!(mode(dir.path()), 0o755);
}

#[test]
fn the_certificate_is_for_this_machine_and_a_year() {
    let dir = made();
    let chain = certificates(&fs::read(dir.path().join("tls.crt")).unwrap());
    let Facts { names, validity, .. } = Facts::of(&chain[0]).unwrap();
    assert_eq!(names, ["localhost", "127.0.0.1", "::1"]);
    assert_eq!((validity.not_after - validity.not_before) / DAY, 366);
}

#[test]
fn valid_files_are_kept_unchanged() {
    let dir = made();
    fs::set_permissions(dir.path().join("ca.crt"), Permissions::from_mode(0o644)).unwrap();
    let before = contents(dir.path());
    assert_eq!(ensure(dir.path()).unwrap().outcome, Outcome::Kept);
    assert_eq!(contents(dir.path()), before);
    assert_eq!(mode(&dir.path().join("ca.crt")), 0o644);
}

#[test]
fn each_directory_gets_a_ca_of_its_own() {
    let (one, other) = (contents(made().path()), contents(made().path()));
    assert!(FILES.iter().all(|name| one[*name] != other[*name]));
}

#[rstest]
#[case::expired(0)]
#[case::seven_days_left(RENEWAL)]
fn expiring_files_are_created_again(#[case] left: i64) {
    let dir = TempDir::new().unwrap();
    make_ending_in(dir.path(), left - 1);
    let before = contents(dir.path());
    assert_eq!(ensure(dir.path()).unwrap().outcome, Outcome::Made);
    let after = contents(dir.path());
    assert!(FILES.iter().all(|name| before[*name] != after[*name]), "all three are replaced together");
    assert_eq!(ensure(dir.path()).unwrap().outcome, Outcome::Kept);
}

#[test]
fn files_that_are_not_due_are_kept() {
    let dir = TempDir::new().unwrap();
    make_ending_in(dir.path(), RENEWAL + 60);
    assert_eq!(ensure(dir.path()).unwrap().outcome, Outcome::Kept);
}

#[rstest]
fn after_a_missing_file_all_three_are_created_again(#[values("ca.crt", "tls.crt", "tls.key")] missing: &str) {
    let dir = made();
    fs::remove_file(dir.path().join(missing)).unwrap();
    assert_eq!(ensure(dir.path()).unwrap().outcome, Outcome::Made);
    assert_eq!(ensure(dir.path()).unwrap().outcome, Outcome::Kept);
}

#[rstest]
fn after_a_damaged_file_all_three_are_created_again(#[values("ca.crt", "tls.crt", "tls.key")] broken: &str) {
    let dir = made();
    fs::write(dir.path().join(broken), "-----BEGIN").unwrap();
    assert_eq!(ensure(dir.path()).unwrap().outcome, Outcome::Made);
    assert_eq!(mode(&dir.path().join(broken)), 0o600);
}

#[rstest]
fn files_that_do_not_match_are_replaced(#[values("ca.crt", "tls.crt", "tls.key")] other: &str) {
    let (dir, another) = (made(), made());
    fs::copy(another.path().join(other), dir.path().join(other)).unwrap();
    assert_eq!(ensure(dir.path()).unwrap().outcome, Outcome::Made);
}

#[test]
fn a_certificate_of_somebody_else_is_not_overwritten() {
    let dir = TempDir::new().unwrap();
    let (certificate, key) = foreign();
    fs::write(dir.path().join("tls.crt"), certificate).unwrap();
    fs::write(dir.path().join("tls.key"), key).unwrap();
    assert_left_alone(dir.path(), "tls.crt");
}

#[test]
fn a_ca_of_somebody_else_is_not_overwritten() {
    let dir = made();
    fs::write(dir.path().join("ca.crt"), foreign().0).unwrap();
    assert_left_alone(dir.path(), "ca.crt");
}

#[test]
fn a_key_without_a_certificate_is_not_overwritten() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("tls.key"), foreign().1).unwrap();
    assert_left_alone(dir.path(), "tls.key");
}

#[test]
fn of_many_processes_one_creates_the_files_and_the_others_keep_them() {
    let dir = TempDir::new().unwrap();
    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..8).map(|_| scope.spawn(|| ensure(dir.path()).unwrap().outcome)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Made).count(), 1);
}

#[test]
fn a_file_in_place_of_the_directory_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("certs");
    fs::write(&file, "").unwrap();
    let error = ensure(&file).unwrap_err().to_string();
    let expected = format!("cannot create the directory {}: ", file.display());
    assert!(error.starts_with(&expected), "{error}");
    assert!(error.ends_with("; give a directory that you may write to"), "{error}");
}
