//! Decides what is due for the contents of the Secret, and creates it: a CA, or a certificate from it.
//!
//! Pure except for the randomness of keys. All state is in the Secret, so a replica that starts at any time does what
//! is due.

use std::fmt;
use std::time::Duration;

use crm_core::api::installation::NAME;
use rustls::pki_types::CertificateDer;

use crate::pki::{
    self, Authority, CreateError, DAY, Facts, Identity, KeyError, Validity, certificates, date,
};

/// The lifetime of a CA.
const CA_LIFE: i64 = 5 * 365 * DAY;
/// The lifetime of a certificate.
const LEAF_LIFE: i64 = 90 * DAY;
/// The maximum number of other trusted CAs. More can only come from somebody who writes them there.
const MAX_OLDER: usize = 7;
/// The maximum number of names of a certificate. The list grows if replicas want different names.
const MAX_NAMES: usize = 32;

/// Problems of a CA that depend on the clock.
const EXPIRED: &str = "has expired";
const NOT_YET: &str = "is not valid yet";

/// The four keys of the Secret, empty if missing. Two are private keys, so they are never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// `tls.crt`: the certificate.
    pub certificate: Vec<u8>,
    /// `tls.key`: its key.
    pub key: Vec<u8>,
    /// `ca.crt`: the current CA, followed by older ones that must still be trusted.
    pub cas: Vec<u8>,
    /// `ca.key`: the key of the current CA.
    pub ca_key: Vec<u8>,
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

/// Whether callers trust the current CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CurrentCa {
    /// All callers do, and have had time to notice; or there are no callers.
    Trusted,
    /// Not yet, or unknown.
    NotYet,
}

/// The situation, besides what is stored.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The names that the certificate needs.
    pub names: &'a [String],
    /// The CAs that the webhook configurations trust now.
    pub live: &'a [CertificateDer<'static>],
    /// Whether all of them trust the current CA.
    pub current_ca: CurrentCa,
    /// The current time, in seconds of Unix time.
    pub now: i64,
}

/// Why something is created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no Secret.
    Absent,
    /// The current CA cannot be used.
    Ca(&'static str),
    /// Half of the current CA's lifetime has passed.
    CaHalf,
    /// The certificate cannot be used.
    Leaf(String),
    /// The certificate lacks a name.
    Name(String),
    /// Half of the certificate's lifetime has passed.
    LeafHalf,
    /// The certificate is from an older CA, and the current one is trusted now.
    Overlap,
    /// No certificate of an older CA can be in use any more.
    OlderCa,
}

impl Why {
    /// Whether the reason depends on the clock.
    pub fn is_about_time(&self) -> bool {
        matches!(self, Self::CaHalf | Self::Ca(EXPIRED | NOT_YET))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no Secret"),
            Self::Ca(fault) => write!(f, "the CA {fault}"),
            Self::CaHalf => f.write_str("half of the CA's lifetime has passed"),
            Self::Leaf(fault) => write!(f, "the certificate is invalid: {fault}"),
            Self::Name(name) => write!(f, "the certificate is not for {name}"),
            Self::LeafHalf => f.write_str("half of the certificate's lifetime has passed"),
            Self::Overlap => f.write_str("the new CA is trusted now"),
            Self::OlderCa => f.write_str("the older CAs are no longer needed"),
        }
    }
}

/// What to store.
#[derive(Clone, Debug)]
pub struct Due {
    /// The new contents.
    pub contents: Contents,
    /// Why.
    pub why: Why,
}

/// Why a certificate could not be created.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// A name is invalid.
    #[error("{name:?} is not a DNS name or IP address; fix --service, --namespace or --tls-san")]
    Name {
        /// The name.
        name: String,
    },
    /// Another error.
    #[error(transparent)]
    Create(CreateError),
}

impl From<CreateError> for RenewalError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Name { name } => Self::Name { name },
            error => Self::Create(error),
        }
    }
}

/// What is due; `None` if nothing is.
///
/// A new CA comes first, next to the older ones, while the certificate stays. Once callers trust it, its certificate
/// follows. Only a certificate that nobody could serve is replaced at once.
pub fn due(stored: Option<&Contents>, situation: &Situation<'_>) -> Result<Option<Due>, RenewalError> {
    let Some(stored) = stored else {
        return renew_ca(&Contents::default(), situation, Why::Absent).map(Some);
    };
    let current = match CurrentAuthority::read(stored, situation.now) {
        Ok(current) => current,
        Err(fault) => return renew_ca(stored, situation, Why::Ca(fault)).map(Some),
    };
    if current.validity.past_half(situation.now) {
        return renew_ca(stored, situation, Why::CaHalf).map(Some);
    }
    if let Some(why) = leaf_is_due(stored, &current, situation) {
        let contents = renew_leaf(stored, &current, situation, &why)?;
        return Ok(Some(Due { contents, why }));
    }
    Ok(drop_older(stored, &current, situation))
}

fn leaf_is_due(stored: &Contents, current: &CurrentAuthority, situation: &Situation<'_>) -> Option<Why> {
    let bundle = certificates(&stored.cas);
    let leaf = match Leaf::read(stored, &bundle, situation.now) {
        Ok(leaf) => leaf,
        Err(fault) => return Some(Why::Leaf(fault)),
    };
    // Callers would not accept a leaf of a CA that they do not trust yet: a valid old one is better.
    if situation.current_ca == CurrentCa::NotYet && !leaf.is_by(current.der(), situation.now) {
        return None;
    }
    if !leaf.is_by(current.der(), situation.now) {
        return Some(Why::Overlap);
    }
    if let Some(missing) = situation.names.iter().find(|name| !leaf.facts.names.contains(name)) {
        return Some(Why::Name(missing.clone()));
    }
    leaf.facts.validity.past_half(situation.now).then_some(Why::LeafHalf)
}

/// A new CA next to all that are trusted now. The certificate stays if it can be served; otherwise the new CA issues
/// one.
fn renew_ca(stored: &Contents, situation: &Situation<'_>, why: Why) -> Result<Due, RenewalError> {
    let current = CurrentAuthority::create(situation.now)?;
    let mut bundle = vec![current.der().clone()];
    // What the configurations trust may be in use: by a replica with a lost Secret, or by another product that created
    // the certificates before.
    let known = certificates(&stored.cas).into_iter().chain(situation.live.iter().cloned());
    for der in known.filter(|der| Facts::of(der).is_some_and(|facts| facts.validity.covers(situation.now))) {
        if bundle.len() <= MAX_OLDER && !bundle.contains(&der) {
            bundle.push(der);
        }
    }
    let contents = Contents {
        cas: pki::write(&bundle).into_bytes(),
        ca_key: current.authority.key_pem().into_bytes(),
        ..stored.clone()
    };
    let contents = match Leaf::read(&contents, &bundle, situation.now) {
        Ok(_) => contents,
        Err(_) => renew_leaf(&contents, &current, situation, &why)?,
    };
    Ok(Due { contents, why })
}

fn renew_leaf(
    stored: &Contents,
    current: &CurrentAuthority,
    situation: &Situation<'_>,
    why: &Why,
) -> Result<Contents, RenewalError> {
    let mut names = situation.names.to_vec();
    if let Why::Name(_) = why {
        // Replicas that want different names, for example during a rollout, would replace each other's certificate
        // forever. Therefore the old names stay until the next renewal.
        let old = certificates(&stored.certificate);
        let old = old.first().and_then(Facts::of).map(|facts| facts.names).unwrap_or_default();
        for name in old {
            if names.len() < MAX_NAMES && !names.contains(&name) {
                names.push(name);
            }
        }
    }
    // Subjects are limited to 64 characters, which a name may exceed; the subject is not used.
    let validity = Validity::from_now(situation.now, LEAF_LIFE);
    let Identity { certificate, key } = current.authority.issue(NAME, &names, validity)?;
    Ok(Contents { certificate, key, ..stored.clone() })
}

/// Removes older CAs once nobody can serve their certificates any more.
///
/// Their keys were lost when the current CA was created, because the Secret has only one. So all their certificates are
/// older than the current CA, and have expired when the current CA is older than the lifetime of a certificate.
fn drop_older(stored: &Contents, current: &CurrentAuthority, situation: &Situation<'_>) -> Option<Due> {
    let bundle = certificates(&stored.cas);
    let over =
        situation.now > current.validity.created() + LEAF_LIFE && situation.current_ca == CurrentCa::Trusted;
    let kept: Vec<_> = bundle
        .iter()
        .filter(|der| {
            **der == *current.der()
                || (!over && Facts::of(der).is_some_and(|facts| facts.validity.not_after >= situation.now))
        })
        .cloned()
        .collect();
    (kept.len() < bundle.len()).then(|| {
        let contents = Contents { cas: pki::write(&kept).into_bytes(), ..stored.clone() };
        Due { contents, why: Why::OlderCa }
    })
}

/// The name of our CAs, without the date that each of them has.
pub(super) fn ca_name() -> String {
    format!("{NAME} CA")
}

/// How long ago one of our CAs was created; clocks may differ a little.
pub fn age_of_ca(ca: &CertificateDer<'_>, now: i64) -> Option<Duration> {
    Facts::of(ca).map(|facts| Duration::from_secs(now.abs_diff(facts.validity.created())))
}

/// The CA that signs.
struct CurrentAuthority {
    authority: Authority,
    validity: Validity,
}

impl CurrentAuthority {
    fn read(stored: &Contents, now: i64) -> Result<Self, &'static str> {
        let der = certificates(&stored.cas).into_iter().next().ok_or("is missing or damaged")?;
        let Facts { is_ca, validity, .. } = Facts::of(&der).ok_or("is damaged")?;
        if !is_ca {
            return Err("is not a CA certificate");
        }
        if now < validity.not_before {
            return Err(NOT_YET);
        }
        if now > validity.not_after {
            return Err(EXPIRED);
        }
        let authority = Authority::stored(der, &stored.ca_key).map_err(|error| match error {
            KeyError::Damaged => "has a key that is missing or damaged",
            KeyError::Foreign => "has the key of another certificate",
        })?;
        Ok(Self { authority, validity })
    }

    fn create(now: i64) -> Result<Self, CreateError> {
        let validity = Validity::from_now(now, CA_LIFE);
        // With the date, so that people can distinguish them.
        let authority = Authority::create(&format!("{} {}", ca_name(), date(now)), validity)?;
        Ok(Self { authority, validity })
    }

    fn der(&self) -> &CertificateDer<'static> {
        self.authority.certificate()
    }
}

/// A certificate that can be served to callers that trust a bundle.
struct Leaf {
    chain: Vec<CertificateDer<'static>>,
    facts: Facts,
}

impl Leaf {
    fn read(stored: &Contents, bundle: &[CertificateDer<'static>], now: i64) -> Result<Self, String> {
        let chain = certificates(&stored.certificate);
        let facts = chain.first().and_then(Facts::of).ok_or("tls.crt is missing or damaged")?;
        pki::key_fits(&chain, &stored.key).map_err(|why| format!("tls.key: {why}"))?;
        let name = facts.names.first().ok_or("it has no name")?;
        pki::verify(&chain, bundle, name, now).map_err(|why| why.to_string())?;
        Ok(Self { chain, facts })
    }

    fn is_by(&self, ca: &CertificateDer<'static>, now: i64) -> bool {
        let name = self.facts.names.first();
        name.is_some_and(|name| pki::verify(&self.chain, std::slice::from_ref(ca), name, now).is_ok())
    }
}

#[cfg(test)]
mod tests;
