//! Reads everything from the cluster at once, so that the examinations need no further requests.

use crm_core::api::installation::CONDITIONS_LEASE;
use crm_core::api::policy;
use futures::future::join_all;
use kube::api::ListParams;
use serde_json::Value;

use super::questions::{Answer, Questions, Resource, Scope};
use super::shipped::{CERTIFICATE_ROLES, FLOOR_NAME, GUARD_NAME, NAME, SERVICE_ACCOUNT};
use super::target::Settings;

const CRDS: Resource = Resource {
    group: "apiextensions.k8s.io",
    version: "v1",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
};
const SECRETS: Resource = Resource { group: "", version: "v1", kind: "Secret", plural: "secrets" };
const DEPLOYMENTS: Resource =
    Resource { group: "apps", version: "v1", kind: "Deployment", plural: "deployments" };
const SERVICES: Resource = Resource { group: "", version: "v1", kind: "Service", plural: "services" };
const SERVICE_ACCOUNTS: Resource =
    Resource { group: "", version: "v1", kind: "ServiceAccount", plural: "serviceaccounts" };
const ENDPOINT_SLICES: Resource =
    Resource { group: "discovery.k8s.io", version: "v1", kind: "EndpointSlice", plural: "endpointslices" };
const CERTIFICATES: Resource =
    Resource { group: "cert-manager.io", version: "v1", kind: "Certificate", plural: "certificates" };
const ISSUERS: Resource =
    Resource { group: "cert-manager.io", version: "v1", kind: "Issuer", plural: "issuers" };
const CLUSTER_ROLE_BINDINGS: Resource = Resource {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
};
const ROLE_BINDINGS: Resource = Resource {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "RoleBinding",
    plural: "rolebindings",
};
const LEASES: Resource =
    Resource { group: "coordination.k8s.io", version: "v1", kind: "Lease", plural: "leases" };
const POLICIES: Resource = Resource {
    group: policy::GROUP,
    version: policy::VERSION,
    kind: policy::KIND,
    plural: "admissionpolicies",
};

/// One of the two kinds of webhook configurations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Registration {
    Mutating,
    Validating,
}

impl Registration {
    pub(super) const ALL: [Self; 2] = [Self::Mutating, Self::Validating];

    const fn resource(self) -> Resource {
        let (kind, plural) = match self {
            Self::Mutating => ("MutatingWebhookConfiguration", "mutatingwebhookconfigurations"),
            Self::Validating => ("ValidatingWebhookConfiguration", "validatingwebhookconfigurations"),
        };
        Resource { group: "admissionregistration.k8s.io", version: "v1", kind, plural }
    }

    pub(super) const fn kind(self) -> &'static str {
        self.resource().kind
    }

    /// The name that kubectl accepts.
    pub(super) const fn singular(self) -> &'static str {
        match self {
            Self::Mutating => "mutatingwebhookconfiguration",
            Self::Validating => "validatingwebhookconfiguration",
        }
    }
}

/// One of the two objects of a ValidatingAdmissionPolicy that is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyPart {
    Policy,
    Binding,
}

impl PolicyPart {
    pub(super) const ALL: [Self; 2] = [Self::Policy, Self::Binding];

    const fn resource(self) -> Resource {
        let (kind, plural) = match self {
            Self::Policy => ("ValidatingAdmissionPolicy", "validatingadmissionpolicies"),
            Self::Binding => ("ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings"),
        };
        Resource { group: "admissionregistration.k8s.io", version: "v1", kind, plural }
    }

    pub(super) const fn kind(self) -> &'static str {
        self.resource().kind
    }
}

/// The objects that were read. The Secret contains a private key, so this is never printed.
#[derive(Clone)]
pub(super) struct Snapshot {
    /// In the order of [`Settings::definitions`].
    pub(super) definitions: Vec<Answer<Value>>,
    pub(super) registrations: [Answer<Value>; 2],
    /// Used only if each write is one call.
    pub(super) floor: [Answer<Value>; 2],
    /// Used only if the service account may patch webhook configurations.
    pub(super) guard: [Answer<Value>; 2],
    pub(super) service: Answer<Value>,
    pub(super) endpoint_slices: Answer<Vec<Value>>,
    pub(super) secret: Answer<Value>,
    /// Used only to find out how the program is started.
    pub(super) deployment: Answer<Value>,
    pub(super) service_account: Answer<Value>,
    pub(super) policies: Answer<Vec<Value>>,
    /// The Certificates of cert-manager in the namespace; absent without cert-manager.
    pub(super) certificates: Answer<Vec<Value>>,
    /// The Issuers of cert-manager in the namespace.
    pub(super) issuers: Answer<Vec<Value>>,
    /// The ClusterRoleBinding and the RoleBinding for self-managed certificates.
    pub(super) bindings: [Answer<Value>; 2],
    /// The Lease of the replica that writes conditions.
    pub(super) lease: Answer<Value>,
}

impl Snapshot {
    pub(super) async fn take(questions: &Questions, settings: &Settings) -> Self {
        let here = Scope::Namespace(&settings.namespace);
        let of_service =
            ListParams::default().labels(&format!("kubernetes.io/service-name={}", settings.service));
        let all = ListParams::default();
        let shared = |resources, name| both(questions, resources, name);
        let (
            definitions,
            registrations,
            floor,
            guard,
            service,
            endpoint_slices,
            secret,
            deployment,
            service_account,
            policies,
            certificates,
            issuers,
            cluster_role_binding,
            role_binding,
            lease,
        ) = futures::join!(
            definitions(questions, settings),
            shared(Registration::ALL.map(Registration::resource), NAME),
            shared(PolicyPart::ALL.map(PolicyPart::resource), FLOOR_NAME),
            shared(PolicyPart::ALL.map(PolicyPart::resource), GUARD_NAME),
            questions.get(SERVICES, here, &settings.service),
            questions.list(ENDPOINT_SLICES, here, &of_service),
            questions.get(SECRETS, here, &settings.tls_secret),
            questions.get(DEPLOYMENTS, here, NAME),
            questions.get(SERVICE_ACCOUNTS, here, SERVICE_ACCOUNT),
            questions.list(POLICIES, Scope::Cluster, &all),
            questions.list_of_others(CERTIFICATES, here, &all),
            questions.list_of_others(ISSUERS, here, &all),
            questions.get(CLUSTER_ROLE_BINDINGS, Scope::Cluster, CERTIFICATE_ROLES),
            questions.get(ROLE_BINDINGS, here, CERTIFICATE_ROLES),
            questions.get(LEASES, here, CONDITIONS_LEASE),
        );
        Self {
            definitions,
            registrations,
            floor,
            guard,
            service,
            endpoint_slices,
            secret,
            deployment,
            service_account,
            policies,
            certificates,
            issuers,
            bindings: [cluster_role_binding, role_binding],
            lease,
        }
    }

    pub(super) fn registration(&self, registration: Registration) -> &Answer<Value> {
        let [mutating, validating] = &self.registrations;
        match registration {
            Registration::Mutating => mutating,
            Registration::Validating => validating,
        }
    }

    pub(super) fn floor(&self) -> impl Iterator<Item = (PolicyPart, &Answer<Value>)> {
        PolicyPart::ALL.into_iter().zip(&self.floor)
    }

    pub(super) fn guard(&self) -> impl Iterator<Item = (PolicyPart, &Answer<Value>)> {
        PolicyPart::ALL.into_iter().zip(&self.guard)
    }

    /// With their kinds.
    pub(super) fn bindings(&self) -> impl Iterator<Item = (&'static str, &Answer<Value>)> {
        [CLUSTER_ROLE_BINDINGS.kind, ROLE_BINDINGS.kind].into_iter().zip(&self.bindings)
    }

    pub(super) fn registrations(&self) -> impl Iterator<Item = (Registration, &Answer<Value>)> {
        Registration::ALL.into_iter().zip(&self.registrations)
    }
}

async fn definitions(questions: &Questions, settings: &Settings) -> Vec<Answer<Value>> {
    let names = settings.definitions.iter().map(|crd| crd.metadata.name.as_deref().unwrap_or_default());
    join_all(names.map(|name| questions.get(CRDS, Scope::Cluster, name))).await
}

/// The objects of this name, one of each kind.
async fn both(questions: &Questions, resources: [Resource; 2], name: &str) -> [Answer<Value>; 2] {
    let [one, other] = resources.map(|resource| questions.get(resource, Scope::Cluster, name));
    let (one, other) = futures::join!(one, other);
    [one, other]
}
