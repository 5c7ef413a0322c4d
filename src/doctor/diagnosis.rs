//! What can be wrong: a closed list of ids, with what each means and what to do about it.

use std::fmt;

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Nothing is wrong.
    Ok,
    /// It could not be looked at, or need not be.
    Skipped,
    /// It works, but should be looked at.
    Warning,
    /// It does not work.
    Failure,
}

impl Level {
    /// The word for it in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// The parts of an installation, in the order in which they are examined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Examination {
    /// The version of the API server.
    ApiServer,
    /// The custom resource definitions.
    Crds,
    /// The webhook configurations.
    Registration,
    /// The Service and its endpoints.
    Service,
    /// The port on which the webhook serves.
    Port,
    /// The certificate that is served, the Secret it is from, and who trusts it.
    Certificates,
    /// What the service account may do.
    Access,
    /// The policies.
    Policy,
    /// Dry runs through the API server.
    Canary,
}

impl Examination {
    /// Its name in reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiServer => "api-server",
            Self::Crds => "crds",
            Self::Registration => "registration",
            Self::Service => "service",
            Self::Port => "port",
            Self::Certificates => "certificates",
            Self::Access => "access",
            Self::Policy => "policy",
            Self::Canary => "canary",
        }
    }
}

macro_rules! ids {
    ($($id:ident $text:literal $meaning:literal $remedy:literal)*) => {
        /// What was found. The ids are stable.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Id {
            $(#[doc = $meaning] $id,)*
        }

        impl Id {
            /// All of them, in the order of the examinations.
            pub const ALL: &'static [Self] = &[$(Self::$id),*];

            /// The id as reports spell it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$id => $text),* }
            }

            /// What it means.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$id => $meaning),* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$id => $remedy),* }
            }
        }
    };
}

ids! {
    NotPermitted "not-permitted"
        "The current user may not read something, or not try the dry run; that part was not examined."
        "Run it as somebody who may; the message names the right that is lacking."
    Unanswered "unanswered"
        "The API server did not answer a question in time, or with an error."
        "Look at the API server; a slow one may need a larger `--timeout`."
    ApiServerTooOld "api-server-too-old"
        "The API server is older than 1.31, which is the first that selects people and notes by what they refer to. Before 1.30, `matchConditions` of webhooks and ValidatingAdmissionPolicies are not stable either."
        "Upgrade the control plane."
    CrdAbsent "crd-absent"
        "A custom resource definition is not there, so its kind does not exist."
        "Apply the definitions that the program prints."
    CrdOutdated "crd-outdated"
        "A custom resource definition lacks something that this version of the program ships. Fields that only the cluster has are not looked at: during an upgrade, definitions come before the program. Only a warning where it is about descriptions and printer columns."
        "Apply the definitions that the program prints."
    CrdNotEstablished "crd-not-established"
        "The API server does not serve a kind, though its definition is there: its names are taken, it is being deleted, or it has only just come."
        "See what the conditions of the definition say."
    CrdStoredVersion "crd-stored-version"
        "Records were once stored in a version that this version of the program does not have."
        "Migrate the stored records before that version goes."
    RegistrationAbsent "registration-absent"
        "A webhook configuration is not there, so the API server does not ask the webhook."
        "Apply the shipped configuration, and put the CA into it."
    RegistrationChanged "registration-changed"
        "A webhook configuration is not the shipped one. The message names each field. Only a warning where it is the timeout alone."
        "Apply the shipped configuration, and put the CA into it again; or keep the change if it was meant."
    FloorAbsent "floor-absent"
        "Each write is one call, so that the floor is the last guard, and a part of it is not there."
        "Apply the floor, or register for two calls again."
    FloorChanged "floor-changed"
        "Each write is one call, so that the floor is the last guard, and it is not the shipped one. The message names each field."
        "Apply the floor, or register for two calls again."
    CaBundleEmpty "ca-bundle-empty"
        "A webhook has no `caBundle`, so the API server does not trust the webhook's certificate. Only a warning where the webhook is called by a URL, since its certificate may be a public one."
        "Put the CA into the configuration."
    CaBundleUnreadable "ca-bundle-unreadable"
        "A `caBundle` holds no certificate, or one that cannot be read."
        "Put the CA into the configuration."
    ServiceAbsent "service-absent"
        "The Service by which the API server calls the webhook is not there."
        "Install the server, or name its Service by `--service` and `--namespace`."
    ServicePortAbsent "service-port-absent"
        "The Service does not have the port that the webhook configurations name."
        "Give the Service that port."
    ServiceWithoutEndpoints "service-without-endpoints"
        "No pod behind the Service is ready, so nobody answers the API server."
        "See what the pods wait for; `/readyz` of each lists it."
    PortNotProbed "port-not-probed"
        "The port was not tried: from here the name of a Service leads nowhere."
        "Forward the port, and run it again with `--connect`."
    PortUnreachable "port-unreachable"
        "There is no TLS connection to the webhook at this address. Where it is one to which `--connect` points, the forwarding may be what does not work."
        "See whether the program runs, what it logs, and whether a NetworkPolicy or a firewall is in the way."
    SecretAbsent "secret-absent"
        "The Secret with the certificate is not there."
        "Whoever makes it should have: see why not, make one of your own, or name it by `--tls-secret`."
    SecretUnusable "secret-unusable"
        "The Secret with the certificate lacks a part, or its parts cannot be read or do not belong together."
        "Make it anew."
    CertificateWrongName "certificate-wrong-name"
        "The certificate is not for the name by which the API server calls the webhook."
        "Make a certificate for that name; the program does so itself once it knows the name."
    CaBundleMismatch "ca-bundle-mismatch"
        "The certificate of the Secret, or the one that is served, is not one that the `caBundle` of a webhook vouches for. Every call fails with `x509: certificate signed by unknown authority`."
        "Put the CA by which the certificate is into the configuration."
    CertificateExpired "certificate-expired"
        "The certificate, or the CA in a `caBundle`, has expired or holds only from later on."
        "Renew it."
    CertificateExpiresSoon "certificate-expires-soon"
        "The certificate, or the CA in a `caBundle`, expires in less than 14 days, or than a fifth of its life where that is less, and nobody has renewed it yet."
        "Renew it, and see why that did not happen by itself."
    ServedDiffers "served-differs"
        "What is served is not the certificate of the Secret. After a renewal that is so for a minute or two, until the pods have it."
        "Wait two minutes; then restart the pods."
    ServiceAccountAbsent "service-account-absent"
        "The service account is not there, so that no pod can run as it."
        "Apply the shipped access rights."
    RbacMissing "rbac-missing"
        "The service account lacks a right that the program needs."
        "Apply the shipped access rights."
    GuardAbsent "guard-absent"
        "The service account may patch the webhook configurations, and a part of the guard that limits this right to `caBundle` is not there. With its token, somebody could register a server of their own for every kind of the cluster, and so become cluster admin."
        "Apply the guard, or take the right away."
    GuardChanged "guard-changed"
        "The service account may patch the webhook configurations, and the guard that limits this right to `caBundle` is not the shipped one, or its binding does not deny. The message names each field."
        "Apply the guard, or take the right away."
    PolicyNotAccepted "policy-not-accepted"
        "The AdmissionPolicy `default` does not hold together; the last good policy, or the built-in one, is in force. The message names every problem."
        "Correct the policy."
    PolicyNotUsed "policy-not-used"
        "An AdmissionPolicy has another name than `default`, and so has no effect."
        "Delete it, or give its content to the one named `default`."
    PolicyNotTaken "policy-not-taken"
        "No replica has said yet what it makes of the policy as it is now."
        "If it stays so for longer than a few seconds, see what the replicas log."
    CanaryRefused "canary-refused"
        "The API server refuses a good Company, though not by our rules: the webhook cannot be called, or somebody else refuses. The message is the API server's."
        "It depends on the message; the findings before it often say more."
    CanaryDenied "canary-denied"
        "The webhook works, but under the policy in force it refuses the Company that was tried, for this user."
        "Nothing, if such records of this user should be refused."
    CanaryNotMutated "canary-not-mutated"
        "Nobody completed a Company: the API server did not ask the mutating webhook. Only a warning where it could not be seen which policy is in force, as that may want it so."
        "Apply the shipped registration."
    CanaryAdmitted "canary-admitted"
        "A Company with a blank name got through: the API server did not ask the webhook. Only a warning where the policy has exemptions or a later date, or could not be seen."
        "Apply the shipped registration."
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// What it is.
    pub id: Id,
    /// How bad it is.
    pub level: Level,
    /// The object it is about, such as `secret crm-admission-system/crm-admission-tls`.
    pub subject: String,
    /// What is wrong with it.
    pub text: String,
    /// The command that mends it, or that shows more where no command can.
    pub fix: String,
}

impl Diagnosis {
    pub(super) fn failure(
        id: Id,
        subject: impl Into<String>,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { id, level: Level::Failure, subject: subject.into(), text: text.into(), fix: fix.into() }
    }

    pub(super) fn warning(
        id: Id,
        subject: impl Into<String>,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Warning, ..Self::failure(id, subject, text, fix) }
    }

    pub(super) fn skipped(
        id: Id,
        subject: impl Into<String>,
        text: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self { level: Level::Skipped, ..Self::failure(id, subject, text, fix) }
    }
}

/// What one examination found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Which one.
    pub examination: Examination,
    /// What there is, where nothing is wrong.
    pub summary: String,
    /// What is wrong.
    pub findings: Vec<Diagnosis>,
}

impl Check {
    /// The worst of what was found.
    #[must_use]
    pub fn level(&self) -> Level {
        self.findings.iter().map(|finding| finding.level).max().unwrap_or(Level::Ok)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_in_kebab_case() {
        let texts: HashSet<&str> = Id::ALL.iter().map(|id| id.as_str()).collect();
        assert_eq!(texts.len(), Id::ALL.len());
        for text in texts {
            assert!(text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{text}");
        }
    }

    #[test]
    fn every_finding_is_provoked_in_a_control_plane_or_cannot_be() {
        let provoked = include_str!("../../tests/e2e/doctor.rs");
        // Beside their code: there is one version of the control plane, and it always answers.
        let elsewhere = [Id::ApiServerTooOld, Id::Unanswered];
        for id in Id::ALL.iter().filter(|id| !elsewhere.contains(id)) {
            assert!(provoked.contains(&format!("{:?}", id.as_str())), "{id} is never provoked");
        }
    }
}
