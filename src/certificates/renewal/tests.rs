//! Tests what is due in every situation that a replica can find.

use super::*;
use crate::pki::Untrusted;

/// A fixed time; these tests do not use the clock.
const TODAY: i64 = 1_900_000_000;

fn names() -> Vec<String> {
    ["crm-admission.crm-admission-system.svc", "127.0.0.1"].map(str::to_owned).into()
}

/// The situation when nothing is due.
fn situation(names: &[String], now: i64) -> Situation<'_> {
    Situation { names, live: &[], current_ca: CurrentCa::Trusted, now }
}

/// The result of a first start.
fn first() -> Contents {
    due(None, &situation(&names(), TODAY)).unwrap().unwrap().contents
}

fn due_at(stored: &Contents, now: i64) -> Option<Due> {
    due(Some(stored), &situation(&names(), now)).unwrap()
}

fn leaf(contents: &Contents) -> Facts {
    Facts::of(&certificates(&contents.certificate)[0]).unwrap()
}

fn cas(contents: &Contents) -> Vec<CertificateDer<'static>> {
    certificates(&contents.cas)
}

/// Whether a caller with this bundle accepts the certificate for every name.
fn accepted(contents: &Contents, bundle: &[CertificateDer<'static>], now: i64) -> Result<(), Untrusted> {
    let chain = certificates(&contents.certificate);
    names().iter().try_for_each(|name| pki::verify(&chain, bundle, name, now))
}

#[test]
fn without_a_secret_a_ca_for_five_years_and_a_certificate_for_ninety_days_are_created() {
    let made = due(None, &situation(&names(), TODAY)).unwrap().unwrap();
    assert_eq!(made.why, Why::Absent);
    let contents = made.contents;
    let [ca] = &cas(&contents)[..] else { panic!("not one CA") };
    let ca = Facts::of(ca).unwrap();
    assert!(ca.is_ca && !leaf(&contents).is_ca);
    assert_eq!(ca.validity.not_after, TODAY + 5 * 365 * DAY);
    assert_eq!(leaf(&contents).validity.not_after, TODAY + 90 * DAY);
    assert_eq!(leaf(&contents).names, names());
    accepted(&contents, &cas(&contents), TODAY).unwrap();
    // An API server whose clock is slow accepts it too.
    accepted(&contents, &cas(&contents), TODAY - DAY / 2).unwrap();
    assert!(due_at(&contents, TODAY).is_none(), "due again right after it was created");
}

#[test]
fn after_half_of_its_lifetime_the_certificate_is_renewed_by_the_same_ca() {
    let before = first();
    assert!(due_at(&before, TODAY + 44 * DAY).is_none());
    let after = due_at(&before, TODAY + 45 * DAY).unwrap();
    assert_eq!(after.why, Why::LeafHalf);
    assert_eq!((&after.contents.cas, &after.contents.ca_key), (&before.cas, &before.ca_key));
    assert_ne!(after.contents.key, before.key);
    accepted(&after.contents, &cas(&before), TODAY + 45 * DAY).unwrap();
}

#[test]
fn after_half_of_its_lifetime_a_ca_is_replaced_in_three_steps() {
    let half = TODAY + 5 * 365 * DAY / 2;
    let before = renewed_at(&first(), half - DAY);
    assert!(due_at(&before, half - DAY).is_none());

    // First: the new CA is trusted beside the old one.
    let overlap = due_at(&before, half).unwrap();
    assert_eq!(overlap.why, Why::CaHalf);
    let overlap = overlap.contents;
    assert_eq!((&overlap.certificate, &overlap.key), (&before.certificate, &before.key));
    assert_eq!(cas(&overlap).len(), 2);
    assert_eq!(cas(&overlap)[1], cas(&before)[0]);
    let names = names();
    let not_yet = Situation { current_ca: CurrentCa::NotYet, ..situation(&names, half) };
    assert!(due(Some(&overlap), &not_yet).unwrap().is_none(), "a certificate that nobody trusts yet");

    // Second: a certificate of the new CA.
    let served = due_at(&overlap, half).unwrap();
    assert_eq!(served.why, Why::Overlap);
    let served = served.contents;
    assert_eq!(served.cas, overlap.cas);
    accepted(&served, &cas(&served)[..1], half).unwrap();

    // Third: when the last certificate of the old CA has expired, the old CA is removed.
    let last = renewed_at(&renewed_at(&served, half + 46 * DAY), half + 90 * DAY);
    assert_eq!(cas(&last).len(), 2);
    let end = due_at(&renewed_at(&last, half + 91 * DAY), half + 91 * DAY).unwrap();
    assert_eq!(end.why, Why::OlderCa);
    assert_eq!(cas(&end.contents), cas(&served)[..1]);
    assert!(due_at(&renewed_at(&end.contents, half + 91 * DAY), half + 91 * DAY).is_none());
}

/// Renews only certificates, if due.
fn renewed_at(contents: &Contents, now: i64) -> Contents {
    match due_at(contents, now) {
        Some(due) if due.why == Why::LeafHalf || matches!(due.why, Why::Leaf(_)) => due.contents,
        _ => contents.clone(),
    }
}

#[test]
fn a_due_certificate_waits_until_the_new_ca_is_trusted_but_not_until_it_expires() {
    let half = TODAY + 5 * 365 * DAY / 2;
    let before = renewed_at(&first(), half - 50 * DAY);
    let overlap = due_at(&before, half).unwrap().contents;
    let names = names();
    let not_yet = |now| Situation { current_ca: CurrentCa::NotYet, ..situation(&names, now) };
    assert!(due(Some(&overlap), &not_yet(half)).unwrap().is_none());
    let ended = due(Some(&overlap), &not_yet(half + 41 * DAY)).unwrap().unwrap();
    assert!(matches!(ended.why, Why::Leaf(_)), "{:?}", ended.why);
}

#[test]
fn after_everything_has_expired_everything_is_created_again() {
    let late = TODAY + 6 * 365 * DAY;
    let made = due_at(&first(), late).unwrap();
    assert_eq!(made.why, Why::Ca(EXPIRED));
    assert_eq!(cas(&made.contents).len(), 1, "the old CA stays trusted");
    accepted(&made.contents, &cas(&made.contents), late).unwrap();
    assert!(due_at(&made.contents, late).is_none());
}

#[test]
fn after_the_clock_went_back_a_ca_that_is_valid_now_is_created() {
    let past = TODAY - 30 * DAY;
    let made = due_at(&first(), past).unwrap();
    assert_eq!(made.why, Why::Ca(NOT_YET));
    assert!(made.why.is_about_time());
    accepted(&made.contents, &cas(&made.contents), past).unwrap();
}

#[test]
fn trusted_cas_stay_trusted_when_the_secret_is_lost() {
    let lost = first();
    let live = cas(&lost);
    let names = names();
    let found = Situation { live: &live, current_ca: CurrentCa::NotYet, ..situation(&names, TODAY + DAY) };
    let made = due(None, &found).unwrap().unwrap().contents;
    assert_eq!(cas(&made)[1..], live[..]);
    // The lost one is still accepted, and the new one too.
    accepted(&lost, &cas(&made), TODAY + DAY).unwrap();
    accepted(&made, &cas(&made)[..1], TODAY + DAY).unwrap();
    // Ninety days later, nobody can serve the lost one any more.
    let after = renewed_at(&made, TODAY + 93 * DAY);
    assert_eq!(due_at(&after, TODAY + 93 * DAY).unwrap().why, Why::OlderCa);
}

#[test]
fn the_number_of_old_cas_is_limited() {
    let live: Vec<_> = (0..20).map(|_| cas(&first()).remove(0)).collect();
    let names = names();
    let found = Situation { live: &live, ..situation(&names, TODAY) };
    assert_eq!(cas(&due(None, &found).unwrap().unwrap().contents).len(), 1 + MAX_OLDER);
}

#[test]
fn a_damaged_certificate_key_renews_the_certificate_and_not_the_ca() {
    let good = first();
    for key in [Vec::new(), b"hello".to_vec(), good.ca_key.clone()] {
        let made = due_at(&Contents { key, ..good.clone() }, TODAY).unwrap();
        assert!(matches!(made.why, Why::Leaf(_)), "{:?}", made.why);
        assert_eq!((&made.contents.cas, &made.contents.ca_key), (&good.cas, &good.ca_key));
        accepted(&made.contents, &cas(&good), TODAY).unwrap();
    }
}

#[test]
fn a_damaged_certificate_or_one_from_another_ca_is_created_again() {
    let (good, other) = (first(), first());
    let foreign = Contents { certificate: other.certificate, key: other.key, ..good.clone() };
    let half = good.certificate[..good.certificate.len() / 2].to_vec();
    for contents in [foreign, Contents { certificate: half, ..good.clone() }] {
        let made = due_at(&contents, TODAY).unwrap();
        assert!(matches!(made.why, Why::Leaf(_)), "{:?}", made.why);
        accepted(&made.contents, &cas(&good), TODAY).unwrap();
    }
}

#[test]
fn a_ca_without_its_key_is_replaced_while_its_certificate_stays_in_use() {
    let (good, other) = (first(), first());
    for (ca_key, why) in [
        (Vec::new(), "has a key that is missing or damaged"),
        (b"-----BEGIN PRIVATE KEY-----".to_vec(), "has a key that is missing or damaged"),
        (other.ca_key, "has the key of another certificate"),
    ] {
        let made = due_at(&Contents { ca_key, ..good.clone() }, TODAY).unwrap();
        assert_eq!(made.why, Why::Ca(why));
        assert_eq!(made.contents.certificate, good.certificate);
        assert_eq!(cas(&made.contents)[1..], cas(&good)[..]);
    }
}

#[test]
fn a_damaged_ca_is_replaced_together_with_its_certificate() {
    let good = first();
    let made = due_at(&Contents { cas: b"hello".to_vec(), ..good.clone() }, TODAY).unwrap();
    assert_eq!(made.why, Why::Ca("is missing or damaged"));
    assert_ne!(made.contents.certificate, good.certificate);
    accepted(&made.contents, &cas(&made.contents), TODAY).unwrap();
}

#[test]
fn the_certificate_of_another_product_is_served_until_ours_is_trusted() {
    let theirs = Contents { ca_key: Vec::new(), ..first() };
    let names = names();
    let not_yet = Situation { current_ca: CurrentCa::NotYet, ..situation(&names, TODAY) };
    let overlap = due(Some(&theirs), &not_yet).unwrap().unwrap().contents;
    assert_eq!(overlap.certificate, theirs.certificate);
    assert!(due(Some(&overlap), &not_yet).unwrap().is_none());
    assert_eq!(due_at(&overlap, TODAY).unwrap().why, Why::Overlap);
}

#[test]
fn a_certificate_with_a_missing_name_is_created_again_and_keeps_its_other_names() {
    let good = first();
    let renamed = ["webhook.crm-admission-system.svc".to_owned()];
    let made = due(Some(&good), &situation(&renamed, TODAY)).unwrap().unwrap();
    assert_eq!(made.why, Why::Name(renamed[0].clone()));
    let has = leaf(&made.contents).names;
    assert_eq!((has.len(), &has[0]), (3, &renamed[0]));
    assert!(due_at(&made.contents, TODAY).is_none(), "replicas would replace each other's certificate");
    // The next renewal drops them.
    let next = due(Some(&made.contents), &situation(&renamed, TODAY + 46 * DAY)).unwrap().unwrap();
    assert_eq!(leaf(&next.contents).names, renamed);
}

#[test]
fn an_invalid_name_is_reported() {
    let error = due(None, &situation(&["crm admission".to_owned()], TODAY)).unwrap_err().to_string();
    assert_eq!(
        error,
        "\"crm admission\" is not a DNS name or IP address; fix --service, --namespace or --tls-san"
    );
}

#[test]
fn a_clock_outside_the_range_of_certificates_is_reported() {
    let error = due(None, &situation(&names(), i64::MAX)).unwrap_err().to_string();
    assert_eq!(error, "the clock is outside the range of certificate dates; set it");
}
